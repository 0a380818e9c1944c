// The meaning of expressions: Python's arithmetic, with strict types and the place of every mistake.

import { didYouMean, fail, type Span } from "../diag.ts";
import type { BinaryOperator, CallExpression, Comparison, Expression } from "./expression.ts";
import { type ConfigValue, describeValue, isList, sameValue, showValue } from "./value.ts";

/** Finds what a name stands for, or fails at the place that names it. */
export type Lookup = (name: string, at: Span) => ConfigValue;

const typeError = (message: string, at: Span): never => fail({ code: "expression-type", message, at });
const valueError = (message: string, at: Span): never => fail({ code: "expression-value", message, at });

function number(value: ConfigValue, who: string, at: Span): number {
  return typeof value === "number"
    ? value
    : typeError(`${who} takes numbers, found ${describeValue(value)}`, at);
}

function boolean(value: ConfigValue, who: string, at: Span): boolean {
  if (typeof value === "boolean") return value;
  return typeError(`${who} takes true or false, found ${describeValue(value)}`, at);
}

function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

const arithmetic: Record<BinaryOperator, (a: number, b: number) => number> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
  "//": (a, b) => Math.floor(a / b),
  "%": (a, b) => a - b * Math.floor(a / b),
  "**": (a, b) => a ** b,
};

type Callable = {
  readonly takes: string;
  readonly arity: readonly [number, number];
  of(args: number[]): number;
};

const functions: Record<string, Callable> = {
  min: { takes: "numbers or one list", arity: [1, Infinity], of: (args) => Math.min(...args) },
  max: { takes: "numbers or one list", arity: [1, Infinity], of: (args) => Math.max(...args) },
  ceil: { takes: "one number", arity: [1, 1], of: ([x = 0]) => Math.ceil(x) },
  floor: { takes: "one number", arity: [1, 1], of: ([x = 0]) => Math.floor(x) },
  round: { takes: "one number", arity: [1, 1], of: ([x = 0]) => roundHalfToEven(x) },
};

function call(node: CallExpression, lookup: Lookup): ConfigValue {
  const callable = Object.hasOwn(functions, node.callee) ? functions[node.callee] : undefined;
  if (!callable) {
    return fail({
      code: "unknown-function",
      message: `there is no function \`${node.callee}\`; there are ${Object.keys(functions).join(", ")}`,
      at: node.calleeAt,
      help: didYouMean(node.callee, Object.keys(functions)),
    });
  }
  const [named] = node.named;
  if (named) return typeError(`\`${node.callee}\` takes no argument by name`, named.nameAt);
  const given = node.args.map((arg) => ({ value: evaluate(arg, lookup), at: arg.at }));
  const [only] = given;
  const spread =
    callable.arity[1] > 1 && given.length === 1 && only && isList(only.value)
      ? only.value.map((value) => ({ value, at: only.at }))
      : given;
  if (spread.length < callable.arity[0] || spread.length > callable.arity[1]) {
    return typeError(`\`${node.callee}\` takes ${callable.takes}, found ${spread.length}`, node.at);
  }
  return callable.of(spread.map(({ value, at }) => number(value, `\`${node.callee}\``, at)));
}

function binary(node: Extract<Expression, { kind: "binary" }>, lookup: Lookup): ConfigValue {
  const { op } = node;
  const left = evaluate(node.left, lookup);
  const right = evaluate(node.right, lookup);
  if (op === "+" && typeof left === "string" && typeof right === "string") return left + right;
  if (op === "+" && isList(left) && isList(right)) return [...left, ...right];
  const a = number(left, `\`${op}\``, node.left.at);
  const b = number(right, `\`${op}\``, node.right.at);
  if ((op === "/" || op === "//" || op === "%") && b === 0) return valueError("division by zero", node.opAt);
  const result = arithmetic[op](a, b);
  if (Number.isFinite(result) || !Number.isFinite(a) || !Number.isFinite(b)) return result;
  return valueError(`${a} ${op} ${b} is not a finite number`, node.opAt);
}

function contains(item: ConfigValue, group: ConfigValue, opAt: Span): boolean {
  if (isList(group)) return group.some((member) => sameValue(member, item));
  if (typeof group === "string" && typeof item === "string") return group.includes(item);
  return typeError(`\`in\` takes a list on its right, found ${describeValue(group)}`, opAt);
}

const orderings: Record<string, (order: number) => boolean> = {
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};

function compare(left: ConfigValue, { op, opAt }: Comparison, right: ConfigValue): boolean {
  if (op === "==") return sameValue(left, right);
  if (op === "!=") return !sameValue(left, right);
  if (op === "in") return contains(left, right, opAt);
  if (op === "not in") return !contains(left, right, opAt);
  const bothNumbers = typeof left === "number" && typeof right === "number";
  if (!bothNumbers && !(typeof left === "string" && typeof right === "string")) {
    return typeError(
      `\`${op}\` compares two numbers or two texts, found ${describeValue(left)} and ${describeValue(right)}`,
      opAt,
    );
  }
  return orderings[op]?.(left < right ? -1 : left > right ? 1 : 0) ?? false;
}

function index(node: Extract<Expression, { kind: "index" }>, lookup: Lookup): ConfigValue {
  const target = evaluate(node.target, lookup);
  const at = evaluate(node.index, lookup);
  if (target !== null && typeof target === "object" && !isList(target)) {
    const item = typeof at === "string" && Object.hasOwn(target, at) ? target[at] : undefined;
    return item ?? valueError(`there is no ${showValue(at)} in this mapping`, node.index.at);
  }
  if (!isList(target))
    return typeError(`only a list can be indexed, found ${describeValue(target)}`, node.target.at);
  if (typeof at !== "number" || !Number.isInteger(at)) {
    return typeError(`an index is an integer, found ${describeValue(at)}`, node.index.at);
  }
  const item = target.at(at);
  if (item !== undefined) return item;
  return valueError(`index ${at} is outside a list of ${target.length}`, node.index.at);
}

function negate(node: Extract<Expression, { kind: "unary" }>, lookup: Lookup): ConfigValue {
  const operand = evaluate(node.operand, lookup);
  if (node.op === "not") return !boolean(operand, "`not`", node.operand.at);
  const value = number(operand, `\`${node.op}\``, node.operand.at);
  return node.op === "-" ? -value : value;
}

/** The value of an expression, with names found by `lookup`; only the branch of a conditional that is taken counts. */
export function evaluate(expression: Expression, lookup: Lookup): ConfigValue {
  switch (expression.kind) {
    case "literal":
      return expression.value;
    case "name":
      return lookup(expression.name, expression.at);
    case "list":
      return expression.items.map((item) => evaluate(item, lookup));
    case "unary":
      return negate(expression, lookup);
    case "binary":
      return binary(expression, lookup);
    case "compare": {
      let left = evaluate(expression.first, lookup);
      for (const link of expression.rest) {
        const right = evaluate(link.operand, lookup);
        if (!compare(left, link, right)) return false;
        left = right;
      }
      return true;
    }
    case "logic": {
      const left = boolean(evaluate(expression.left, lookup), `\`${expression.op}\``, expression.left.at);
      if (left === (expression.op === "or")) return left;
      return boolean(evaluate(expression.right, lookup), `\`${expression.op}\``, expression.right.at);
    }
    case "conditional": {
      const condition = boolean(evaluate(expression.condition, lookup), "`if`", expression.condition.at);
      return evaluate(condition ? expression.value : expression.otherwise, lookup);
    }
    case "call":
      return call(expression, lookup);
    case "index":
      return index(expression, lookup);
  }
}
