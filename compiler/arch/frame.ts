// Expressions of one block call: numbers known while elaborating, and tensors as IR values.
import { evaluate } from "../config/evaluate.ts";
import type { CallExpression, Expression, NamedArgument } from "../config/expression.ts";
import { type ConfigValue, describeValue, isList } from "../config/value.ts";
import { didYouMean, fail, invariant, Q3Error, type Span } from "../diag.ts";
import { isFloat } from "../dtype.ts";
import { formatType } from "../ir/shape.ts";
import type { Attr, Dim, Value } from "../ir/types.ts";
import { findOp, opNames } from "../ops/index.ts";
import type { OpDef } from "../ops/op.ts";
import { type Context, type Entity, type Place, type Scope, single } from "./context.ts";
import { dimOf, productOf } from "./dims.ts";
import { align, forms } from "./forms.ts";
import { resume, statesOf } from "./states.ts";

/** Functions of numbers; elsewhere a word in front of parentheses is a form, a block or an op. */
const scalarFunctions = ["min", "max", "ceil", "floor", "round"];

/** One block call under way: what its names stand for, and where its parameters live. */
export class Frame {
  readonly context: Context;
  readonly scope: Scope;
  readonly place: Place;
  constructor(context: Context, scope: Scope, place: Place) {
    this.context = context;
    this.scope = scope;
    this.place = place;
  }

  /** A scalar's value by name: the scope, then dims, then the configuration. */
  private lookup(name: string, at: Span): ConfigValue {
    const { dims, options } = this.context;
    const entity = this.scope.get(name);
    if (entity?.kind === "scalar") return entity.value;
    if (entity)
      return fail({
        code: "arch-type",
        message: `\`${name}\` is a ${entity.kind === "state" ? "state" : "tensor"}, whose numbers are not known here`,
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
        return (this.scope.get(expression.name)?.kind ?? "scalar") === "scalar";
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

  condition(expression: Expression): boolean {
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

  tensors(expression: Expression): readonly Value[] {
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

  private call(expression: CallExpression): readonly Value[] {
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
    if (block) return this.context.callBlock(this, block, expression);
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

  private callOp(op: OpDef, { args, named, at }: CallExpression): readonly Value[] {
    const ins = args.map((arg) => this.tensor(arg));
    const given = named.find(({ name }) => name === "keep");
    const others = named.filter((argument) => argument !== given);
    const attrs = Object.fromEntries(others.map((argument) => [argument.name, this.attribute(op, argument)]));
    if (given) return resume(this, op, ins, attrs, statesOf(this, op, given), at);
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
}

function refuseRepeatedNames({ named }: CallExpression): void {
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
