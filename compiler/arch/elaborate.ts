// Syntax + sizes → module: runs a model's statements once, with tensors as IR values and everything else as numbers.
import type { Expression } from "../config/expression.ts";
import { fail, invariant } from "../diag.ts";
import { blockBuilder, value as newValue } from "../ir/build.ts";
import { dropDead } from "../ir/rewrite.ts";
import { formatType, tensor } from "../ir/shape.ts";
import type { Value } from "../ir/types.ts";
import type { Cursor } from "../ops/op.ts";
import type { Context, Elaborated, ElaborateOptions, Place, Scope } from "./context.ts";
import { dimsOf } from "./dims.ts";
import { Frame } from "./frame.ts";
import { callBlock, runStatements } from "./statements.ts";
import type { Architecture, BlockDef, Word } from "./syntax.ts";

/** Where a program's own parameters are. */
const TOP: Place = { path: "", origin: "", stack: undefined };

/** Elaborates the architecture's model, or its draft, at the sizes and dtypes of a configuration. */
export function elaborate(
  arch: Architecture,
  options: ElaborateOptions,
  kind: keyof typeof signatures = "model",
): Elaborated {
  const program = arch[kind];
  invariant(program, `${arch.name.text} has no ${kind}`);
  const builder = blockBuilder();
  const context: Context = {
    arch,
    options,
    dims: new Map(),
    tokens: [],
    builder,
    params: new Map(),
    states: new Map(),
    homes: new Map(),
    sown: new Map(),
    running: new Set(),
    declared: new Map(),
    callBlock,
  };
  checkNames(arch);
  const top = new Frame(context, new Map(), TOP);
  for (const { name, size } of arch.dims) declareDim(context, top, name, size);
  const inputs = program.formals.map(({ name, dims: list }) => {
    if (!list)
      return fail({ code: "arch-shape", message: `an input of the ${kind} needs dims`, at: name.at });
    const dtype = name.text === hidden.name ? options.activationDType : "i32";
    const made = newValue(name.text, tensor(dtype, dimsOf(list, context.dims)));
    context.declared.set(made, name.at);
    return { name: name.text, value: made };
  });
  context.tokens = inputs[0]?.value.type.dims ?? [];
  const cursor = options.isResumed ? cursorAt(inputs.map((input) => input.value)) : undefined;
  if (cursor) context.cursor = cursor;
  const scope: Scope = new Map(inputs.map(({ name, value }) => [name, { kind: "tensors", values: [value] }]));
  const results = runStatements(new Frame(context, scope, TOP), program.body);
  if (!results) fail({ code: "arch-arity", message: `the ${kind} returns nothing`, at: program.name.at });
  checkSignature(kind, program, results);
  const params = [...context.params.values()];
  const sown = (options.taps ?? []).map((tap) => [tap, context.sown.get(tap) ?? []] as const);
  const given = [...inputs.map((input) => input.value), ...(cursor ? [cursor.lengths] : [])];
  const states = [...context.states.values()].flatMap(({ next, ...slot }) =>
    next ? [{ ...slot, next }] : [],
  );
  const body = dropDead({
    params: [...given, ...params.map((param) => param.value), ...states.map((state) => state.value)],
    nodes: builder.nodes,
    results: [
      ...results,
      ...sown.flatMap(([, values]) => values),
      ...states.map((state) => state.next.value),
    ],
  });
  const roles = [
    ...given.map(() => "input" as const),
    ...params.map(() => "param" as const),
    ...states.map(() => "state" as const),
  ];
  return {
    module: { name: kind === "model" ? arch.name.text : `${arch.name.text}_${kind}`, roles, body },
    params,
    states: states.map(({ path, value, next: { isRewindable } }) => ({ path, value, isRewindable })),
    taps: new Map(sown.map(([tap, values]) => [tap, values.length])),
  };
}

/** Where the inputs tokens and positions stand in a program that goes on from earlier tokens. */
function cursorAt([, positions]: readonly Value[]): Cursor<Value> | undefined {
  const [batch] = positions?.type.dims ?? [];
  return positions && batch && { positions, lengths: newValue("lengths", tensor("i32", [batch])) };
}

const tokens = { name: "tokens", dims: ["batch", "seq"] };
const positions = { name: "positions", dims: ["batch", "seq"] };
/** The model's last hidden states, in the activation dtype; all other inputs are integers. */
const hidden = { name: "hidden", dims: ["batch", "seq", "embed"] };

/** What everything after elaboration builds on: these inputs, and logits out. */
const signatures = { model: [tokens, positions], draft: [tokens, positions, hidden] } as const;

function checkSignature(
  kind: keyof typeof signatures,
  { name, formals }: BlockDef,
  results: readonly Value[],
): void {
  const signature = signatures[kind];
  const fits =
    formals.length === signature.length &&
    signature.every((input, i) => {
      const formal = formals[i];
      return formal?.name.text === input.name && formal.dims?.items.length === input.dims.length;
    });
  if (!fits) {
    const inputs = signature.map((input) => `${input.name}[${input.dims.join(", ")}]`);
    fail({
      code: "arch-shape",
      message: `a ${kind} takes ${inputs.slice(0, -1).join(", ")} and ${inputs.at(-1)}`,
      at: name.at,
    });
  }
  const [logits] = results;
  if (results.length !== 1 || logits?.type.dims.length !== 3 || logits.type.dtype !== "f32")
    fail({
      code: "arch-shape",
      message: `a ${kind} returns logits, f32[batch, seq, vocab]; this returns ${results.map((x) => formatType(x.type)).join(", ") || "nothing"}`,
      at: name.at,
    });
}

/** No block has another's name, no operand another operand's. */
function checkNames({ blocks, model, draft }: Architecture): void {
  const distinct = (what: string, names: readonly Word[]): void => {
    const seen = new Map<string, Word>();
    for (const name of names) {
      const earlier = seen.get(name.text);
      if (earlier)
        fail({
          code: "arch-name",
          message: `the ${what} ${name.text} is declared twice`,
          at: name.at,
          notes: [{ message: "first here", at: earlier.at }],
        });
      seen.set(name.text, name);
    }
  };
  distinct(
    "block",
    blocks.map(({ name }) => name),
  );
  for (const { formals } of [...blocks, model, ...(draft ? [draft] : [])])
    distinct(
      "operand",
      formals.map(({ name }) => name),
    );
}

function declareDim(context: Context, frame: Frame, { text, at }: Word, size: Expression): void {
  const { sizes = {} } = context.options;
  const given = (Object.hasOwn(sizes, text) ? sizes[text] : undefined) ?? frame.number(size);
  const earlier = context.dims.get(text);
  if (earlier)
    fail({
      code: "arch-name",
      message: `the dim ${text} is declared twice`,
      at,
      notes: [{ message: "first here", at: earlier.at }],
    });
  if (!Number.isInteger(given) || given < 0)
    fail({ code: "arch-dim", message: `the dim ${text} is ${given}; a dim is a whole number`, at: size.at });
  context.dims.set(text, { size: given, at });
}
