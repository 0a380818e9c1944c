// What a parameter's sentence says: where its numbers lie in a Hugging Face checkpoint, and how it starts.
import type { Expression } from "../config/expression.ts";
import { fail, type Span } from "../diag.ts";
import type { Value } from "../ir/types.ts";
import { type DimTable, type Factor, type Part, productOf } from "./dims.ts";
import type { DimList, OriginSyntax } from "./syntax.ts";

/** How a parameter starts before training. `std` and bounds as in `jax.nn.initializers`. */
export type Init =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "log_uniform"; readonly low: number; readonly high: number };

/**
 * One Hugging Face home of a parameter. The same factors make up both layouts, so either is the other rearranged.
 * `each`: there is one tensor per index of this factor, whose place in the name is `{key}`.
 */
export type Origin = {
  readonly name: string;
  readonly each: Factor | undefined;
  readonly dims: readonly (readonly Factor[])[];
  readonly part: (Part & { readonly axis: number }) | undefined;
};

/**
 * A parameter's place in MaxText's scanned layout. Parameters of one `path` are one there, in the order of their
 * declaration. `block` is the path up to the block that is stacked, the same for all parameters of one layer.
 */
export type Stacked = { readonly block: string; readonly path: string };

/**
 * A parameter as an architecture declares it: its layout here, its start, and the tensors of a checkpoint it is made
 * of.
 */
export type ParamDecl = {
  /** MaxText's path, dots between its parts. */
  readonly path: string;
  readonly value: Value;
  /** Whether MaxText keeps it in float32 whatever weight_dtype is. */
  readonly isFloat32: boolean;
  readonly dims: readonly (readonly Factor[])[];
  readonly init: Init;
  readonly origins: readonly Origin[];
  /** Its place where MaxText stacks layers; nothing for a parameter that is no layer's. */
  readonly stack: Stacked | undefined;
  readonly at: Span;
};

/** Factors of size one carry nothing; integers are told apart by how often they came before. */
function keyed(dims: readonly (readonly Factor[])[]): Factor[][] {
  const seen = new Map<string, number>();
  return dims.map((factors) =>
    factors
      .filter(({ size }) => size !== 1)
      .map(({ key, size }) => {
        if (!/^\d+$/.test(key)) return { key, size };
        const count = (seen.get(key) ?? 0) + 1;
        seen.set(key, count);
        return { key: `${key}#${count}`, size };
      }),
  );
}

/** The factors of each dim of a list, told apart by name. */
export function layoutOf(list: DimList, table: DimTable): Factor[][] {
  return keyed(list.items.map((item) => productOf(item, table).factors));
}

/** A factor that stands twice could be told apart on neither side of a layout. */
function refuseRepeats(factors: readonly Factor[], own: DimList): void {
  const repeated = factors.find(({ key }, i) => factors.findIndex((other) => other.key === key) !== i);
  if (repeated)
    fail({
      code: "arch-layout",
      message: `the dim ${repeated.key} stands twice in one parameter, so its layouts cannot be told apart`,
      at: own.at,
      help: `declare a second dim of the same size: dim ${repeated.key}_2 = ${repeated.key}`,
    });
}

/** The origin with its layout checked against the parameter's own: the same factors, each exactly once. */
export function originOf(syntax: OriginSyntax, name: string, own: DimList, table: DimTable): Origin {
  const ownDims = layoutOf(own, table);
  const dims = syntax.dims ? layoutOf(syntax.dims, table) : ownDims;
  const products = (syntax.dims ?? own).items.map((item) => productOf(item, table));
  const axis = products.findIndex(({ part }) => part !== undefined);
  const part = products[axis]?.part;
  const template = /\{(\w+)\}/.exec(name)?.[1];
  const found = template === undefined ? undefined : table.get(template);
  if (template !== undefined && !found)
    fail({
      code: "arch-name",
      message: `\`{${template}}\` is neither a loop variable nor a dim`,
      at: syntax.name.at,
    });
  const each = template !== undefined && found ? { key: template, size: found.size } : undefined;
  refuseRepeats(ownDims.flat(), own);
  if (each && each.size !== 1 && !ownDims.some(([leading]) => leading?.key === each.key))
    fail({
      code: "arch-layout",
      message: `there is one tensor per index of ${each.key}, so ${each.key} must come first in a dim of the parameter`,
      at: own.at,
      notes: [{ message: "the tensors' name", at: syntax.name.at }],
    });
  const sorted = (factors: readonly Factor[]) =>
    factors
      .map(({ key, size }) => `${key}=${size}`)
      .sort()
      .join(" · ");
  const theirs = sorted([...dims.flat(), ...(each && each.size !== 1 ? [each] : [])]);
  if (sorted(ownDims.flat()) !== theirs)
    fail({
      code: "arch-layout",
      message: `the two layouts hold different factors: ${sorted(ownDims.flat())} here, ${theirs} in the checkpoint`,
      at: syntax.dims?.at ?? syntax.name.at,
      notes: [{ message: "the parameter's own dims", at: own.at }],
    });
  return { name, each, dims, part: part && { ...part, axis } };
}

/** Reads `zeros`, `ones`, `normal(std)`, `log_uniform(low, high)`; `number` evaluates an argument. */
export function initOf(expression: Expression, number: (argument: Expression) => number): Init {
  if (expression.kind === "name" && (expression.name === "zeros" || expression.name === "ones"))
    return { kind: expression.name };
  if (expression.kind === "call" && expression.named.length === 0) {
    const [first, second] = expression.args.map(number);
    const count = expression.args.length;
    if (expression.callee === "normal" && count === 1 && first !== undefined)
      return { kind: "normal", std: first };
    if (expression.callee === "log_uniform" && count === 2 && first !== undefined && second !== undefined)
      return { kind: "log_uniform", low: first, high: second };
  }
  return fail({
    code: "arch-init",
    message: "a parameter starts as zeros, ones, normal(std) or log_uniform(low, high)",
    at: expression.at,
  });
}
