// Statements of a block: parameters, definitions, choices, loops, and calls of other blocks.
import type { CallExpression, Expression } from "../config/expression.ts";
import { counted, didYouMean, fail } from "../diag.ts";
import { value as newValue } from "../ir/build.ts";
import { formatDims, tensor } from "../ir/shape.ts";
import type { Value } from "../ir/types.ts";
import { type Entity, type Scope, single } from "./context.ts";
import { dimsOf } from "./dims.ts";
import { Frame } from "./frame.ts";
import { initOf, layoutOf, type Origin, originOf, type Stacked } from "./param.ts";
import { declareState } from "./states.ts";
import type { BlockDef, OriginSyntax, ParamSyntax, Statement, Word } from "./syntax.ts";

const join = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join(".");

const stackedAt = (stack: Stacked | undefined, path: string): Stacked | undefined =>
  stack && { ...stack, path: join(stack.path, path) };

/** Runs statements; what they return, or nothing when they fall through. */
export function runStatements(frame: Frame, statements: readonly Statement[]): readonly Value[] | undefined {
  for (const statement of statements) {
    const returned = step(frame, statement);
    if (returned) return returned;
  }
  return undefined;
}

function step(frame: Frame, statement: Statement): readonly Value[] | undefined {
  switch (statement.kind) {
    case "param":
      declareParam(frame, statement);
      return undefined;
    case "state":
      declareState(frame, statement, ownPath(frame, "state", statement.path));
      return undefined;
    case "let":
      assign(frame, statement.names, statement.value);
      return undefined;
    case "sow":
      sow(frame, statement.name, statement.value);
      return undefined;
    case "when":
      return runStatements(
        frame,
        frame.condition(statement.condition) ? statement.then : statement.otherwise,
      );
    case "repeat":
      return repeat(frame, statement);
    case "return":
      return statement.values.flatMap((each) => frame.tensors(each));
  }
}

function repeat(
  frame: Frame,
  { variable, count, body }: Extract<Statement, { kind: "repeat" }>,
): readonly Value[] | undefined {
  const times = frame.number(count);
  if (!Number.isSafeInteger(times) || times < 0)
    fail({ code: "arch-type", message: `\`repeat\` takes a whole number, this is ${times}`, at: count.at });
  for (let i = 0; i < times; i++) {
    frame.scope.set(variable.text, { kind: "scalar", value: i });
    const returned = runStatements(frame, body);
    if (returned) return returned;
  }
  return undefined;
}

function assign(frame: Frame, names: readonly Word[], expression: Expression): void {
  const { builder } = frame.context;
  const outside = builder.hints;
  builder.hints = names.map(({ text }) => text);
  const result = frame.evaluate(expression);
  builder.hints = outside;
  const [only] = names;
  if (only && names.length === 1) {
    define(frame, only, result);
    return;
  }
  const values = result.kind === "tensors" ? result.values : [];
  if (values.length !== names.length)
    fail({
      code: "arch-arity",
      message: `${counted(names.length, "name")} for ${counted(values.length, "result")}`,
      at: expression.at,
    });
  names.forEach((name, i) => {
    const made = values[i];
    if (made) define(frame, name, { kind: "tensors", values: [made] });
  });
}

function define(frame: Frame, name: Word, entity: Entity): void {
  frame.scope.set(name.text, entity);
  if (entity.kind === "tensors") for (const x of entity.values) frame.context.declared.set(x, name.at);
}

function sow(frame: Frame, name: Word, expression: Expression): void {
  if (!frame.context.options.taps?.includes(name.text)) return;
  const values = frame.context.sown.get(name.text) ?? [];
  frame.context.sown.set(name.text, [...values, single(frame.evaluate(expression), expression.at)]);
}

/** The whole path of a parameter or a state, which no other has. */
function ownPath(frame: Frame, what: string, path: Word): string {
  const { params, states } = frame.context;
  const full = join(frame.place.path, interpolate(frame, path));
  if (!/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(full))
    fail({
      code: "arch-name",
      message: `a ${what}'s path is words with dots between, this is ${JSON.stringify(full)}`,
      at: path.at,
    });
  const earlier = params.get(full) ?? states.get(full);
  if (earlier)
    fail({
      code: "arch-name",
      message: `the ${what} ${full} is declared twice`,
      at: path.at,
      notes: [{ message: "first here", at: earlier.at }],
    });
  return full;
}

function declareParam(
  frame: Frame,
  { name, dims: list, path, origins, init, isStored, isFloat32 }: ParamSyntax,
): void {
  const { dims, options, params, builder, declared } = frame.context;
  const full = ownPath(frame, "parameter", path);
  const made = newValue(full, tensor(options.weightDType, dimsOf(list, dims)));
  const homes = origins.map((origin) =>
    originOf(origin, join(frame.place.origin, interpolate(frame, origin.name)), list, dims),
  );
  refuseSharedHomes(frame, homes, origins);
  params.set(full, {
    path: full,
    value: made,
    isFloat32,
    dims: layoutOf(list, dims),
    init: initOf(init, (argument) => frame.number(argument)),
    origins: homes,
    stack: stackedAt(frame.place.stack, interpolate(frame, path)),
    at: name.at,
  });
  builder.loc = { kind: "source", span: name.at };
  const outside = builder.hints;
  builder.hints = [name.text];
  const read = isStored ? made : builder.k.convert(made, options.activationDType);
  builder.hints = outside;
  frame.scope.set(name.text, { kind: "tensors", values: [read] });
  declared.set(read, name.at);
}

/** Two parameters that say they are the same tensor would overwrite each other when saved. */
function refuseSharedHomes(frame: Frame, homes: readonly Origin[], syntax: readonly OriginSyntax[]): void {
  for (const [i, { name, part }] of homes.entries()) {
    const at = syntax[i]?.name.at;
    const key = `${name}#${part?.index ?? ""}`;
    const earlier = frame.context.homes.get(key);
    if (earlier)
      fail({
        code: "arch-name",
        message: `another parameter already comes from \`${name}\``,
        at,
        notes: [{ message: "first here", at: earlier }],
      });
    if (at) frame.context.homes.set(key, at);
  }
}

/** `{i}` in a path becomes the loop variable's value; a dim stays a template. */
function interpolate(frame: Frame, { text }: Word): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const entity = frame.scope.get(name);
    return entity?.kind === "scalar" ? String(entity.value) : whole;
  });
}

/** What a block's call says about where its parameters live: their paths, unstacked and stacked, and their origins. */
const PLACES: readonly string[] = ["at", "stacked", "from"];

/** Elaborates a block's body in a scope of its own and gives what it returns. */
export function callBlock(
  frame: Frame,
  block: BlockDef,
  { args, named, at }: CallExpression,
): readonly Value[] {
  const text = (name: string): string => {
    const argument = named.find((each) => each.name === name);
    if (argument && (argument.value.kind !== "literal" || typeof argument.value.value !== "string"))
      return fail({ code: "arch-type", message: `\`${name}\` is a path in quotes`, at: argument.value.at });
    const written = argument?.value.kind === "literal" ? String(argument.value.value) : "";
    return interpolate(frame, { text: written, at });
  };
  for (const { name, nameAt } of named)
    if (!PLACES.includes(name))
      fail({
        code: "arch-name",
        message: `a block takes ${PLACES.map((place) => `\`${place}\``).join(", ")}, not \`${name}\``,
        at: nameAt,
        help: didYouMean(name, PLACES),
      });
  if (args.length !== block.formals.length)
    fail({
      code: "arch-arity",
      message: `\`${block.name.text}\` takes ${counted(block.formals.length, "operand")}, got ${args.length}`,
      at,
      notes: [{ message: "declared here", at: block.name.at }],
    });
  const scope: Scope = new Map();
  block.formals.forEach((formal, i) => {
    const arg = args[i];
    if (arg) scope.set(formal.name.text, bind(frame, formal, arg));
  });
  const stacked = text("stacked");
  const place = {
    path: join(frame.place.path, text("at")),
    origin: join(frame.place.origin, text("from")),
    stack: stacked === "" ? stackedAt(frame.place.stack, text("at")) : { block: stacked, path: stacked },
  };
  const { running } = frame.context;
  if (running.has(block))
    fail({
      code: "arch-recursion",
      message: `\`${block.name.text}\` ends up calling itself`,
      at,
      notes: [{ message: "declared here", at: block.name.at }],
    });
  running.add(block);
  const results = runStatements(new Frame(frame.context, scope, place), block.body);
  running.delete(block);
  return (
    results ??
    fail({ code: "arch-arity", message: `\`${block.name.text}\` returns nothing`, at: block.name.at })
  );
}

/** An argument checked against the dims its block declares. */
function bind(frame: Frame, { name, dims: list }: BlockDef["formals"][number], argument: Expression): Entity {
  const entity = frame.evaluate(argument);
  if (!list) return entity;
  const x = single(entity, argument.at);
  const wanted = dimsOf(list, frame.context.dims);
  const fits =
    wanted.length === x.type.dims.length &&
    wanted.every((d, i) => d.size === x.type.dims[i]?.size && (x.type.dims[i]?.label ?? "_") === d.label);
  if (fits) return { kind: "tensors", values: [x] };
  return fail({
    code: "arch-shape",
    message: `\`${name.text}\` is [${formatDims(wanted)}], got [${formatDims(x.type.dims)}]`,
    at: argument.at,
    notes: [{ message: "declared here", at: list.at }],
  });
}
