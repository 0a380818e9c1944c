// Expressions in `${…}`, spanned and nothing resolved: expression-syntax.ts makes them of text, evaluate.ts gives them
// meaning.

import type { Span } from "../diag.ts";

/** Operators of two operands that yield a value of their own (comparisons and logic are separate). */
export type BinaryOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";

export type CompareOperator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not in";

/** An expression's syntax tree; `at` covers the whole node, `opAt` its operator. */
export type Expression =
  | { readonly kind: "literal"; readonly value: number | string | boolean | null; readonly at: Span }
  | { readonly kind: "name"; readonly name: string; readonly at: Span }
  | { readonly kind: "list"; readonly items: readonly Expression[]; readonly at: Span }
  | {
      readonly kind: "unary";
      readonly op: "-" | "+" | "not";
      readonly operand: Expression;
      readonly at: Span;
    }
  | {
      readonly kind: "binary";
      readonly op: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
      readonly at: Span;
      readonly opAt: Span;
    }
  | {
      readonly kind: "compare";
      readonly first: Expression;
      readonly rest: readonly Comparison[];
      readonly at: Span;
    }
  | {
      readonly kind: "logic";
      readonly op: "and" | "or";
      readonly left: Expression;
      readonly right: Expression;
      readonly at: Span;
    }
  | {
      readonly kind: "conditional";
      readonly condition: Expression;
      readonly value: Expression;
      readonly otherwise: Expression;
      readonly at: Span;
    }
  | {
      readonly kind: "call";
      readonly callee: string;
      readonly calleeAt: Span;
      readonly args: readonly Expression[];
      readonly named: readonly NamedArgument[];
      readonly at: Span;
    }
  | { readonly kind: "index"; readonly target: Expression; readonly index: Expression; readonly at: Span };

/** `name=value` in a call. */
export type NamedArgument = { readonly name: string; readonly nameAt: Span; readonly value: Expression };

/** One further link of a chain such as `0 < a < b`. */
export type Comparison = { readonly op: CompareOperator; readonly opAt: Span; readonly operand: Expression };

/** A call, whatever is called. */
export type CallExpression = Extract<Expression, { kind: "call" }>;
