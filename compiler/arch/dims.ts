// Dims as the architecture language writes them: products of declared names, integers and `part(i, n)`.
import type { Expression } from "../config/expression.ts";
import { didYouMean, fail, type Span } from "../diag.ts";
import type { Dim } from "../ir/types.ts";
import type { DimList } from "./syntax.ts";

/** A factor of a dim. `key` identifies it on both sides of a layout: its name, or the integer itself. */
export type Factor = { readonly key: string; readonly size: number };
/** One of `count` equal parts that lie one after another: gate and up rows of a fused tensor. */
export type Part = { readonly index: number; readonly count: number };
export type Product = {
  readonly factors: readonly Factor[];
  readonly part: Part | undefined;
  readonly at: Span;
};

export type DimTable = ReadonlyMap<string, { readonly size: number; readonly at: Span }>;

const integer = (expression: Expression): number | undefined =>
  expression.kind === "literal" && Number.isInteger(expression.value)
    ? (expression.value as number)
    : undefined;

function factorOf(expression: Expression, table: DimTable): Factor {
  const size = integer(expression);
  if (size !== undefined && size > 0) return { key: String(size), size };
  if (expression.kind !== "name")
    return fail({
      code: "arch-dim",
      message: "a dim is a product of declared dims and positive integers",
      at: expression.at,
    });
  const found = table.get(expression.name);
  if (found) return { key: expression.name, size: found.size };
  return fail({
    code: "arch-dim",
    message: `there is no dim \`${expression.name}\``,
    at: expression.at,
    help: didYouMean(expression.name, table.keys()) ?? `declare it: dim ${expression.name} = …`,
  });
}

/** Reads one dim. */
export function productOf(expression: Expression, table: DimTable): Product {
  if (expression.kind === "binary" && expression.op === "*") {
    const [left, right] = [productOf(expression.left, table), productOf(expression.right, table)];
    return { factors: [...left.factors, ...right.factors], part: left.part ?? right.part, at: expression.at };
  }
  if (expression.kind === "call" && expression.callee === "part") {
    const [index, count] = expression.args.map(integer);
    if (index === undefined || count === undefined || index < 0 || index >= count)
      return fail({
        code: "arch-dim",
        message: "`part(i, n)` takes two integers, 0 ≤ i < n",
        at: expression.at,
      });
    return { factors: [], part: { index, count }, at: expression.at };
  }
  return { factors: [factorOf(expression, table)], part: undefined, at: expression.at };
}

/** The dim a product makes in IR: its label is the product as written, `_` for a bare integer. */
export function dimOf({ factors, part, at }: Product): Dim {
  if (part) fail({ code: "arch-dim", message: "`part(i, n)` belongs to a checkpoint's layout", at });
  const isBare = factors.every(({ key }) => /^\d+$/.test(key));
  const label = isBare ? "_" : factors.map(({ key }) => key).join("*");
  const size = factors.reduce((n, factor) => n * factor.size, 1);
  if (size < 1 || !Number.isSafeInteger(size))
    fail({ code: "arch-dim", message: `a tensor's dim cannot be ${size}`, at });
  return { label, size };
}

export const dimsOf = (list: DimList, table: DimTable): readonly Dim[] =>
  list.items.map((item) => dimOf(productOf(item, table)));
