// Syntax + sizes → module: runs a model's statements once, with tensors as IR values and everything else as numbers.
import { type Expression, evaluate, type NamedArgument } from "../config/expression.ts";
import { type ConfigValue, describeValue, isList } from "../config/value.ts";
import { didYouMean, fail, invariant, Q3Error, type Span } from "../diag.ts";
import { type DType, isFloat } from "../dtype.ts";
import { type BlockBuilder, blockBuilder, value as newValue } from "../ir/build.ts";
import { dropDead } from "../ir/rewrite.ts";
import { formatDims, formatType, tensor } from "../ir/shape.ts";
import type { Attr, Dim, Module, Value } from "../ir/types.ts";
import { findOp, opNames } from "../ops/index.ts";
import type { OpDef } from "../ops/op.ts";
import { dimOf, dimsOf, productOf } from "./dims.ts";
import { align, forms } from "./forms.ts";
import { initOf, layoutOf, type Origin, originOf, type ParamDecl } from "./param.ts";
import type { Architecture, BlockDef, OriginSyntax, ParamSyntax, Statement, Word } from "./syntax.ts";

/** What a name or an expression stands for while elaborating. */
export type Entity =
  | { readonly kind: "scalar"; readonly value: ConfigValue }
  | { readonly kind: "tensors"; readonly values: readonly Value[] };

export type ElaborateOptions = {
  /** A configuration value, or nothing when there is no such key. */
  find(name: string): ConfigValue | undefined;
  readonly keys: readonly string[];
  readonly activationDType: DType;
  readonly weightDType: DType;
  /** Sizes that take the place of the declared ones: another batch or sequence length. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Names of `sow` statements whose values become results after the model's own. */
  readonly taps?: readonly string[];
};

export type Elaborated = {
  /** Parameters: the model's inputs, then the parameters in order of appearance. */
  readonly module: Module;
  readonly params: readonly ParamDecl[];
  /** How many results each tap has, in the order asked for. */
  readonly taps: ReadonlyMap<string, number>;
};

type Scope = Map<string, Entity>;
type Place = { readonly path: string; readonly origin: string };

/** Everything an elaboration carries around. */
export type Context = {
  readonly arch: Architecture;
  readonly options: ElaborateOptions;
  readonly dims: Map<string, { size: number; at: Span }>;
  readonly builder: BlockBuilder;
  readonly params: Map<string, ParamDecl>;
  /** Tensors that parameters come from, and where each was named. */
  readonly homes: Map<string, Span>;
  readonly sown: Map<string, Value[]>;
  /** The blocks whose calls are under way. */
  readonly running: Set<BlockDef>;
  /** Where a value got its name, for the second span of an error. */
  readonly declared: Map<Value, Span>;
};

/** Functions of numbers; elsewhere a word in front of parentheses is a form, a block or an op. */
const scalarFunctions = ["min", "max", "ceil", "floor", "round"];

const join = (...parts: readonly string[]): string => parts.filter((part) => part !== "").join(".");

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

const single = (x: Entity, at: Span): Value => {
  if (x.kind === "scalar")
    return fail({ code: "arch-type", message: `a tensor is wanted, this is ${describeValue(x.value)}`, at });
  const [only] = x.values;
  if (!only || x.values.length !== 1)
    return fail({ code: "arch-type", message: `one tensor is wanted, this gives ${x.values.length}`, at });
  return only;
};

/** An elaboration of one block call: its scope and where its parameters live. */
export class Frame {
  readonly context: Context;
  private readonly scope: Scope;
  private readonly place: Place;
  constructor(context: Context, scope: Scope, place: Place) {
    this.context = context;
    this.scope = scope;
    this.place = place;
  }

  /** Runs statements; what they return, or nothing when they fall through. */
  run(statements: readonly Statement[]): readonly Value[] | undefined {
    for (const statement of statements) {
      const returned = this.step(statement);
      if (returned) return returned;
    }
    return undefined;
  }

  private step(statement: Statement): readonly Value[] | undefined {
    switch (statement.kind) {
      case "param":
        this.declareParam(statement);
        return undefined;
      case "let":
        this.assign(statement.names, statement.value);
        return undefined;
      case "sow":
        this.sow(statement.name, statement.value);
        return undefined;
      case "when":
        return this.run(this.condition(statement.condition) ? statement.then : statement.otherwise);
      case "repeat":
        return this.repeat(statement);
      case "return":
        return statement.values.flatMap((each) => this.tensors(each));
    }
  }

  private repeat({
    variable,
    count,
    body,
  }: Extract<Statement, { kind: "repeat" }>): readonly Value[] | undefined {
    const times = this.number(count);
    if (!Number.isSafeInteger(times) || times < 0)
      fail({ code: "arch-type", message: `\`repeat\` takes a whole number, this is ${times}`, at: count.at });
    for (let i = 0; i < times; i++) {
      this.scope.set(variable.text, { kind: "scalar", value: i });
      const returned = this.run(body);
      if (returned) return returned;
    }
    return undefined;
  }

  private assign(names: readonly Word[], expression: Expression): void {
    const { builder } = this.context;
    const outside = builder.hints;
    builder.hints = names.map(({ text }) => text);
    const result = this.evaluate(expression);
    builder.hints = outside;
    const [only] = names;
    if (only && names.length === 1) {
      this.define(only, result);
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
      if (made) this.define(name, { kind: "tensors", values: [made] });
    });
  }

  private define(name: Word, entity: Entity): void {
    this.scope.set(name.text, entity);
    if (entity.kind === "tensors") for (const x of entity.values) this.context.declared.set(x, name.at);
  }

  private sow(name: Word, expression: Expression): void {
    if (!this.context.options.taps?.includes(name.text)) return;
    const values = this.context.sown.get(name.text) ?? [];
    this.context.sown.set(name.text, [...values, single(this.evaluate(expression), expression.at)]);
  }

  private declareParam({ name, dims: list, path, origins, init, isStored }: ParamSyntax): void {
    const { dims, options, params, builder, declared } = this.context;
    const full = join(this.place.path, this.interpolate(path));
    if (!/^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/.test(full))
      fail({
        code: "arch-name",
        message: `a parameter's path is words with dots between, this is ${JSON.stringify(full)}`,
        at: path.at,
      });
    const earlier = params.get(full);
    if (earlier)
      fail({
        code: "arch-name",
        message: `the parameter ${full} is declared twice`,
        at: path.at,
        notes: [{ message: "first here", at: earlier.at }],
      });
    const made = newValue(full, tensor(options.weightDType, dimsOf(list, dims)));
    const homes = origins.map((origin) =>
      originOf(origin, join(this.place.origin, this.interpolate(origin.name)), list, dims),
    );
    this.refuseSharedHomes(homes, origins);
    params.set(full, {
      path: full,
      value: made,
      dims: layoutOf(list, dims),
      init: initOf(init, (argument) => this.number(argument)),
      origins: homes,
      at: name.at,
    });
    builder.loc = { kind: "source", span: name.at };
    const outside = builder.hints;
    builder.hints = [name.text];
    const read = isStored ? made : builder.k.convert(made, options.activationDType);
    builder.hints = outside;
    this.scope.set(name.text, { kind: "tensors", values: [read] });
    declared.set(read, name.at);
  }

  /** Two parameters that say they are the same tensor would overwrite each other when saved. */
  private refuseSharedHomes(homes: readonly Origin[], syntax: readonly OriginSyntax[]): void {
    for (const [i, { name, part }] of homes.entries()) {
      const at = syntax[i]?.name.at;
      const key = `${name}#${part?.index ?? ""}`;
      const earlier = this.context.homes.get(key);
      if (earlier)
        fail({
          code: "arch-name",
          message: `\`${name}\` is already where another parameter comes from`,
          at,
          notes: [{ message: "first here", at: earlier }],
        });
      if (at) this.context.homes.set(key, at);
    }
  }

  /** `{i}` in a path becomes the loop variable's value; a dim stays a template. */
  private interpolate({ text }: Word): string {
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
      const entity = this.scope.get(name);
      return entity?.kind === "scalar" ? String(entity.value) : whole;
    });
  }

  // Expressions

  /** A scalar's value by name: the scope, then dims, then the configuration. */
  private lookup(name: string, at: Span): ConfigValue {
    const { dims, options } = this.context;
    const entity = this.scope.get(name);
    if (entity?.kind === "scalar") return entity.value;
    if (entity)
      return fail({
        code: "arch-type",
        message: `\`${name}\` is a tensor, whose numbers are not known here`,
        at,
      });
    const found = dims.get(name)?.size ?? options.find(name);
    if (found !== undefined) return found;
    const help = didYouMean(name, [...this.scope.keys(), ...dims.keys(), ...options.keys]);
    return fail({
      code: "arch-name",
      message: `\`${name}\` is neither defined here nor a dim nor a configuration key`,
      at,
      help,
    });
  }

  private isScalar(expression: Expression): boolean {
    switch (expression.kind) {
      case "literal":
        return true;
      case "name":
        return this.scope.get(expression.name)?.kind !== "tensors";
      case "list":
        return expression.items.every((item) => this.isScalar(item));
      case "unary":
        return this.isScalar(expression.operand);
      case "binary":
      case "logic":
        return this.isScalar(expression.left) && this.isScalar(expression.right);
      case "compare":
        return [expression.first, ...expression.rest.map(({ operand }) => operand)].every((x) =>
          this.isScalar(x),
        );
      case "conditional":
        return this.isScalar(expression.value) && this.isScalar(expression.otherwise);
      case "index":
        return this.isScalar(expression.target);
      case "call":
        return (
          scalarFunctions.includes(expression.callee) && expression.args.every((arg) => this.isScalar(arg))
        );
    }
  }

  scalar(expression: Expression): ConfigValue {
    return evaluate(expression, (name, at) => this.lookup(name, at));
  }

  number(expression: Expression): number {
    const found = this.scalar(expression);
    if (typeof found === "number") return found;
    return fail({
      code: "arch-type",
      message: `a number is wanted, this is ${describeValue(found)}`,
      at: expression.at,
    });
  }

  private condition(expression: Expression): boolean {
    const found = this.scalar(expression);
    if (typeof found === "boolean") return found;
    return fail({
      code: "arch-type",
      message: `true or false is wanted, this is ${describeValue(found)}`,
      at: expression.at,
    });
  }

  /** The dim an expression names. */
  dim(expression: Expression): Dim {
    return dimOf(productOf(expression, this.context.dims));
  }

  dimList(expression: Expression): readonly Dim[] {
    return expression.kind === "list"
      ? expression.items.map((item) => this.dim(item))
      : [this.dim(expression)];
  }

  tensor(expression: Expression): Value {
    return single(this.evaluate(expression), expression.at);
  }

  private tensors(expression: Expression): readonly Value[] {
    const entity = this.evaluate(expression);
    return entity.kind === "tensors" ? entity.values : [single(entity, expression.at)];
  }

  /** Builds at an expression's place; a broken constraint also shows where the operands were declared. */
  build<R>(at: Span, operands: readonly Value[], make: () => R): R {
    const { builder, declared } = this.context;
    const outside = builder.loc;
    builder.loc = { kind: "source", span: at };
    try {
      return make();
    } catch (error) {
      if (!(error instanceof Q3Error)) throw error;
      const notes = [...new Set(operands)].map((x) => ({
        message: `\`${x.hint}\` is ${formatType(x.type)}`,
        at: declared.get(x),
      }));
      throw new Q3Error(
        error.diagnostics.map((d) => ({ ...d, at: d.at ?? at, notes: [...(d.notes ?? []), ...notes] })),
      );
    } finally {
      builder.loc = outside;
    }
  }

  evaluate(expression: Expression): Entity {
    if (this.isScalar(expression)) return { kind: "scalar", value: this.scalar(expression) };
    const { builder } = this.context;
    switch (expression.kind) {
      case "name":
        return (
          this.scope.get(expression.name) ?? {
            kind: "scalar",
            value: this.lookup(expression.name, expression.at),
          }
        );
      case "conditional":
        return this.evaluate(this.condition(expression.condition) ? expression.value : expression.otherwise);
      case "unary": {
        const x = this.tensor(expression.operand);
        if (expression.op !== "-")
          return fail({
            code: "arch-type",
            message: `\`${expression.op}\` does not take a tensor`,
            at: expression.at,
          });
        return { kind: "tensors", values: [this.build(expression.at, [x], () => builder.k.neg(x))] };
      }
      case "binary":
        return { kind: "tensors", values: [this.arithmetic(expression)] };
      case "call":
        return { kind: "tensors", values: this.call(expression) };
      default:
        return fail({
          code: "arch-type",
          message: "tensors are combined with + - * / and by calling ops",
          at: expression.at,
        });
    }
  }

  /** `//` is for integers: on floats it would silently be an ordinary division. */
  private refuseFloorOfFloats(expression: Extract<Expression, { kind: "binary" }>, x: Value): void {
    if (expression.op === "//" && isFloat(x.type.dtype))
      fail({
        code: "arch-type",
        message: `\`//\` divides integers, \`${x.hint}\` is ${formatType(x.type)}`,
        at: expression.opAt,
        help: "use /",
      });
  }

  private arithmetic(expression: Extract<Expression, { kind: "binary" }>): Value {
    const op = (
      { "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "//": "divide" } as Partial<
        Record<string, string>
      >
    )[expression.op];
    if (!op)
      return fail({
        code: "arch-type",
        message: `\`${expression.op}\` does not take tensors`,
        at: expression.opAt,
      });
    const { k } = this.context.builder;
    const [left, right] = [this.evaluate(expression.left), this.evaluate(expression.right)];
    const operands = [left, right].flatMap((x) => (x.kind === "tensors" ? x.values : []));
    const [first] = operands;
    invariant(first, "arithmetic on tensors has a tensor operand");
    this.refuseFloorOfFloats(expression, first);
    const lift = (x: Entity, at: Span): Value => {
      if (x.kind === "scalar" && typeof x.value === "number")
        return this.build(at, [], () => k.scalar(x.value as number, first));
      return single(x, at);
    };
    const [a, b] = [lift(left, expression.left.at), lift(right, expression.right.at)];
    return this.build(expression.at, operands, () => {
      const [x, y] = align(k, a, b);
      return k.one(op, [x, y]);
    });
  }

  private call(expression: Extract<Expression, { kind: "call" }>): readonly Value[] {
    const { arch } = this.context;
    refuseRepeatedNames(expression);
    if (scalarFunctions.includes(expression.callee))
      fail({
        code: "arch-type",
        message: `\`${expression.callee}\` takes numbers, not tensors`,
        at: expression.calleeAt,
        help:
          expression.callee === "max" || expression.callee === "min"
            ? `use ${expression.callee}imum(a, b)`
            : undefined,
      });
    const form = Object.hasOwn(forms, expression.callee) ? forms[expression.callee] : undefined;
    if (form) return form(this, expression);
    const block = arch.blocks.find(({ name }) => name.text === expression.callee);
    if (block) return this.callBlock(block, expression);
    const op = findOp(expression.callee);
    if (op) return this.callOp(op, expression);
    const known = [...Object.keys(forms), ...arch.blocks.map(({ name }) => name.text), ...opNames];
    return fail({
      code: "arch-name",
      message: `there is no block or op \`${expression.callee}\``,
      at: expression.calleeAt,
      help: didYouMean(expression.callee, known),
    });
  }

  private callOp(op: OpDef, { args, named, at }: Extract<Expression, { kind: "call" }>): readonly Value[] {
    const ins = args.map((arg) => this.tensor(arg));
    const attrs = Object.fromEntries(named.map((argument) => [argument.name, this.attribute(op, argument)]));
    return this.build(at, ins, () => this.context.builder.k.apply(op.name, ins, attrs));
  }

  private attribute(op: OpDef, { name, nameAt, value }: NamedArgument): Attr {
    if (!Object.hasOwn(op.attrs, name))
      return fail({
        code: "arch-name",
        message: `\`${op.name}\` takes no ${name}; it takes ${Object.keys(op.attrs).join(", ") || "no attributes"}`,
        at: nameAt,
        help: didYouMean(name, Object.keys(op.attrs)),
      });
    const found = this.scalar(value);
    if (typeof found === "number" || typeof found === "string" || typeof found === "boolean") return found;
    if (found !== null && isList(found) && found.every((item) => typeof item === "number"))
      return found as readonly number[];
    return fail({
      code: "arch-type",
      message: `an attribute is a number, text, boolean or list of numbers, this is ${describeValue(found)}`,
      at: value.at,
    });
  }

  private callBlock(
    block: BlockDef,
    { args, named, at }: Extract<Expression, { kind: "call" }>,
  ): readonly Value[] {
    const text = (name: string): string => {
      const argument = named.find((each) => each.name === name);
      if (argument && (argument.value.kind !== "literal" || typeof argument.value.value !== "string"))
        return fail({ code: "arch-type", message: `\`${name}\` is a path in quotes`, at: argument.value.at });
      const written = argument?.value.kind === "literal" ? String(argument.value.value) : "";
      return this.interpolate({ text: written, at });
    };
    for (const { name, nameAt } of named)
      if (name !== "at" && name !== "from")
        fail({
          code: "arch-name",
          message: `a block takes \`at\` and \`from\`, not \`${name}\``,
          at: nameAt,
          help: didYouMean(name, ["at", "from"]),
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
      if (arg) scope.set(formal.name.text, this.bind(formal, arg));
    });
    const place = { path: join(this.place.path, text("at")), origin: join(this.place.origin, text("from")) };
    const { running } = this.context;
    if (running.has(block))
      fail({
        code: "arch-recursion",
        message: `\`${block.name.text}\` ends up calling itself`,
        at,
        notes: [{ message: "declared here", at: block.name.at }],
      });
    running.add(block);
    const results = new Frame(this.context, scope, place).run(block.body);
    running.delete(block);
    return (
      results ??
      fail({ code: "arch-arity", message: `\`${block.name.text}\` returns nothing`, at: block.name.at })
    );
  }

  /** An argument checked against the dims its block declares. */
  private bind({ name, dims: list }: BlockDef["formals"][number], argument: Expression): Entity {
    const entity = this.evaluate(argument);
    if (!list) return entity;
    const x = single(entity, argument.at);
    const wanted = dimsOf(list, this.context.dims);
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
}

function refuseRepeatedNames({ named }: Extract<Expression, { kind: "call" }>): void {
  named.forEach(({ name, nameAt }, i) => {
    const earlier = named.slice(0, i).find((other) => other.name === name);
    if (earlier)
      fail({
        code: "arch-name",
        message: `\`${name}\` is given twice`,
        at: nameAt,
        notes: [{ message: "first here", at: earlier.nameAt }],
      });
  });
}

/** Elaborates the architecture's model at the sizes and dtypes of a configuration. */
export function elaborate(arch: Architecture, options: ElaborateOptions): Elaborated {
  const builder = blockBuilder();
  const context: Context = {
    arch,
    options,
    dims: new Map(),
    builder,
    params: new Map(),
    homes: new Map(),
    sown: new Map(),
    running: new Set(),
    declared: new Map(),
  };
  checkNames(arch);
  const top = new Frame(context, new Map(), { path: "", origin: "" });
  for (const { name, size } of arch.dims) declareDim(context, top, name, size);
  const inputs = arch.model.formals.map(({ name, dims: list }) => {
    if (!list) return fail({ code: "arch-shape", message: "an input of the model needs dims", at: name.at });
    const made = newValue(name.text, tensor("i32", dimsOf(list, context.dims)));
    context.declared.set(made, name.at);
    return { name: name.text, value: made };
  });
  const scope: Scope = new Map(inputs.map(({ name, value }) => [name, { kind: "tensors", values: [value] }]));
  const results = new Frame(context, scope, { path: "", origin: "" }).run(arch.model.body);
  if (!results) fail({ code: "arch-arity", message: "the model returns nothing", at: arch.model.name.at });
  checkSignature(arch.model, results);
  const params = [...context.params.values()];
  const sown = (options.taps ?? []).map((tap) => [tap, context.sown.get(tap) ?? []] as const);
  const body = dropDead({
    params: [...inputs.map((input) => input.value), ...params.map((param) => param.value)],
    nodes: builder.nodes,
    results: [...results, ...sown.flatMap(([, values]) => values)],
  });
  const roles = [...inputs.map(() => "input" as const), ...params.map(() => "param" as const)];
  return {
    module: { name: arch.name.text, roles, body },
    params,
    taps: new Map(sown.map(([tap, values]) => [tap, values.length])),
  };
}

/** What everything after elaboration builds on: tokens and positions in, logits out. */
function checkSignature({ name, formals }: BlockDef, results: readonly Value[]): void {
  if (
    formals.map((formal) => formal.name.text).join() !== "tokens,positions" ||
    formals.some(({ dims }) => dims?.items.length !== 2)
  )
    fail({
      code: "arch-shape",
      message: "a model takes tokens[batch, seq] and positions[batch, seq]",
      at: name.at,
    });
  const [logits] = results;
  if (results.length !== 1 || logits?.type.dims.length !== 3 || logits.type.dtype !== "f32")
    fail({
      code: "arch-shape",
      message: `a model returns logits, f32[batch, seq, vocab]; this returns ${results.map((x) => formatType(x.type)).join(", ") || "nothing"}`,
      at: name.at,
    });
}

/** No block has another's name, no operand another operand's. */
function checkNames({ blocks, model }: Architecture): void {
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
  for (const { formals } of [...blocks, model])
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
