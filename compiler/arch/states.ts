// States: what ops along time keep of earlier tokens. A program that begins with the first token has none; one that goes
// on takes them and gives their successors.
import type { Expression, NamedArgument } from "../config/expression.ts";
import { counted, didYouMean, fail, invariant, type Span } from "../diag.ts";
import { dtypes, findDType } from "../dtype.ts";
import { value as newValue, node } from "../ir/build.ts";
import { tensor } from "../ir/shape.ts";
import type { Attrs, Value } from "../ir/types.ts";
import { ops } from "../ops/index.ts";
import type { OpDef } from "../ops/op.ts";
import type { StateSlot } from "./context.ts";
import { dimsOf } from "./dims.ts";
import type { Frame } from "./frame.ts";
import type { StateSyntax } from "./syntax.ts";

/** Puts a `state` statement's state into scope, at the start of a sequence zero. */
export function declareState(frame: Frame, { name, dtype, dims: list }: StateSyntax, path: string): void {
  const { dims, options, states, declared } = frame.context;
  const named = dtype && findDType(dtype.text);
  if (dtype && !named)
    fail({
      code: "arch-type",
      message: `there is no dtype \`${dtype.text}\``,
      at: dtype.at,
      help: didYouMean(dtype.text, dtypes) ?? `the dtypes are ${dtypes.join(", ")}`,
    });
  const made = newValue(path, tensor(named ?? options.activationDType, dimsOf(list, dims)));
  const slot = { path, value: made, at: name.at };
  states.set(path, slot);
  declared.set(made, name.at);
  frame.scope.set(name.text, { kind: "state", slot });
}

/** The states that `keep=…` names, one or a list, which are this op's from here on. */
export function statesOf(frame: Frame, op: OpDef, { nameAt, value }: NamedArgument): readonly StateSlot[] {
  if (!op.resume)
    return fail({
      code: "arch-state",
      message: `\`${op.name}\` keeps nothing of earlier tokens`,
      at: nameAt,
      help: `ops that do: ${ops.flatMap((other) => (other.resume ? [other.name] : [])).join(", ")}`,
    });
  const { states } = op.resume;
  const items = value.kind === "list" ? value.items : [value];
  if (items.length !== states.length)
    fail({
      code: "arch-state",
      message: `\`${op.name}\` keeps ${states.join(" and ")}, got ${counted(items.length, "state")}`,
      at: value.at,
    });
  return items.map((item) => claimed(frame, item));
}

function claimed(frame: Frame, expression: Expression): StateSlot {
  const entity = frame.evaluate(expression);
  const { at } = expression;
  if (entity.kind !== "state")
    return fail({
      code: "arch-state",
      message: "a state is wanted",
      at,
      help: 'declare it: state name[dims] at "path"',
    });
  const { slot } = entity;
  if (slot.keptAt)
    fail({
      code: "arch-state",
      message: `the state ${slot.path} is kept by an op already`,
      at,
      notes: [{ message: "here", at: slot.keptAt }],
    });
  slot.keptAt = at;
  return slot;
}

/** The op after the tokens that the states have seen, if the program goes on from any. */
export function resume(
  frame: Frame,
  op: OpDef,
  ins: readonly Value[],
  attrs: Attrs,
  slots: readonly StateSlot[],
  at: Span,
): readonly Value[] {
  const { builder, cursor } = frame.context;
  const states = slots.map((slot) => slot.value);
  return frame.build(at, [...ins, ...states], () => {
    if (!cursor || !op.resume) return builder.k.apply(op.name, ins, attrs);
    // What the op does not take, it refuses in its own words.
    node(op, ins, { attrs });
    const made = op.resume.run(builder.k, ins, attrs, states, cursor);
    const { isRewindable } = op.resume;
    slots.forEach((slot, i) => {
      const next = made.states[i];
      invariant(next, "an op gives a successor for each state");
      slot.next = { value: next, isRewindable };
    });
    return made.outs;
  });
}
