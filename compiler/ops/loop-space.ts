// The index space of a block of elementwise, moving and folding ops: which loop each dim of each value runs over.
// Dims are made of factors. Ops say which dims are the same; equal factors are joined and coarser ones cut until a
// reshape, a transpose and a broadcast are only other ways of reading the same loops.
import { elements, shapeOf } from "../ir/shape.ts";
import type { Block, Node, Value } from "../ir/types.ts";
import { rowMajor } from "./loops.ts";
import { at } from "./op.ts";

/** Part of a dim's size. Joined with another, cut in two (outer first), or a loop of its own. */
type Factor = { readonly size: number; same?: Factor; parts?: readonly [Factor, Factor] };

/** The loops of a block, and how each value is read in them. */
export type LoopSpace = {
  /** Lengths of the loops, outermost first. */
  readonly sizes: readonly number[];
  /** Folds that are read inside run over the loops from here on; the loops before are their rows. */
  readonly rows: number;
  /** How far one step of each loop moves in a value laid out row-major, or in an array of the given strides. */
  stridesOf(x: Value, strides?: readonly number[]): number[];
  /** How many loops a value runs over, a prefix of them unless it is repeated. */
  depthOf(x: Value): number;
};

/** Why a block is not one loop nest; the words of the fusion report. */
export type Misfit = { readonly why: string };

export const isMisfit = (space: LoopSpace | Misfit): space is Misfit => "why" in space;

const fresh = (size: number): Factor => ({ size });

/** The loops that factors stand for; a size of one is none. */
function leaves(factors: readonly Factor[], into: Factor[] = []): Factor[] {
  for (const factor of factors) {
    let own = factor;
    while (own.same) own = own.same;
    if (own.parts) leaves(own.parts, into);
    else if (own.size !== 1) into.push(own);
  }
  return into;
}

/** Makes two runs of factors the same loops. False when their sizes do not cut into each other. */
function join(left: readonly Factor[], right: readonly Factor[]): boolean {
  let [xs, ys] = [leaves(left), leaves(right)];
  let i = 0;
  for (; i < xs.length && i < ys.length; i++) {
    const [x, y] = [at(xs, i), at(ys, i)];
    if (x === y) continue;
    if (x.size === y.size) y.same = x;
    else if (x.size % y.size === 0) x.parts = [y, fresh(x.size / y.size)];
    else if (y.size % x.size === 0) y.parts = [x, fresh(y.size / x.size)];
    else return false;
    [xs, ys] = [leaves(xs), leaves(ys)];
  }
  return i === xs.length && i === ys.length;
}

const product = (factors: readonly Factor[]): number => factors.reduce((n, f) => n * f.size, 1);
const sameLoops = (a: readonly Factor[], b: readonly Factor[]): boolean =>
  a.length === b.length && a.every((f, i) => f === b[i]);

type Dims = ReadonlyMap<Value, readonly (readonly Factor[])[]>;

/** The factors of every value's dims after each op has said what it knows. */
function relate(block: Block): Dims | Misfit {
  const dims = new Map<Value, readonly (readonly Factor[])[]>();
  const own = (x: Value): (readonly Factor[])[] => x.type.dims.map((d) => [fresh(d.size)]);
  const isParam = new Set(block.params);
  for (const param of block.params) dims.set(param, own(param));
  for (const each of block.nodes) {
    const [out] = each.outs;
    if (!out) continue;
    const result = own(out);
    dims.set(out, result);
    const move = each.op.moves?.(each.attrs);
    if (move?.kind === "window") {
      if (!isParam.has(at(each.ins, 0))) return { why: "a slice of what is computed inside" };
      continue;
    }
    const fold = each.op.folds?.(each.attrs);
    for (const x of each.ins) {
      const from = dims.get(x) ?? [];
      const pairs: (readonly [readonly Factor[], readonly Factor[]])[] =
        move?.kind === "reshape"
          ? [[result.flat(), from.flat()]]
          : move?.kind === "permute"
            ? move.permutation.map((axis, i) => [at(result, i), at(from, axis)] as const)
            : fold
              ? from.filter((_, axis) => !fold.axes.includes(axis)).map((d, i) => [at(result, i), d] as const)
              : stretched(result, from);
      for (const [a, b] of pairs)
        if (!join(a, b)) return { why: "a reshape that changes the order of iteration" };
    }
  }
  return dims;
}

/** Dims that meet under broadcasting: trailing alignment, size 1 repeats. */
function stretched(result: readonly (readonly Factor[])[], from: readonly (readonly Factor[])[]) {
  const missing = result.length - from.length;
  return from.flatMap((d, i) => (product(d) === 1 ? [] : [[at(result, missing + i), d] as const]));
}

/** A fold with the loops it keeps and those it runs over. */
type Folded = { readonly node: Node; readonly kept: readonly Factor[]; readonly gone: readonly Factor[] };

function foldedIn(dims: Dims, node: Node): Folded {
  const axes = node.op.folds?.(node.attrs).axes ?? [];
  const from = dims.get(at(node.ins, 0)) ?? [];
  const part = (isGone: boolean) => leaves(from.filter((_, axis) => axes.includes(axis) === isGone).flat());
  return { node, kept: part(false), gone: part(true) };
}

/** The index a fold runs over is its own; here it becomes the one that the values beside the folds run over. */
function joinFolds(dims: Dims, folds: readonly Node[], values: readonly Value[]): void {
  const [first, ...others] = folds.map((node) => foldedIn(dims, node));
  if (!first) return;
  for (const { gone } of others) join(first.gone, gone);
  const { kept, gone } = foldedIn(dims, first.node);
  const [isKept, size] = [new Set(kept), product(gone)];
  for (const x of values) {
    const own = leaves((dims.get(x) ?? []).flat());
    const rest = own.filter((f) => !isKept.has(f));
    if (own.length - rest.length === kept.length && product(rest) === size) join(rest, gone);
  }
}

/** The first of the values with the most elements: its order is the loops' order. */
const widest = (values: readonly Value[]): Value =>
  values.reduce((a, b) => (elements(a.type) >= elements(b.type) ? a : b));

/** The loop space of a block, or why it has none. */
export function loopSpaceOf(block: Block): LoopSpace | Misfit {
  const dims = relate(block);
  if ("why" in dims) return dims;
  const read = new Set(block.nodes.flatMap(({ ins }) => ins));
  const isWindow = ({ op, attrs }: Node): boolean => op.moves?.(attrs).kind === "window";
  const direct = new Set(block.nodes.flatMap((each) => (isWindow(each) ? [] : each.ins)));
  const values = [...block.nodes.flatMap(({ outs }) => outs), ...block.params.filter((x) => direct.has(x))];
  const folds = block.nodes.filter(({ op }) => op.folds);
  const isInner = (node: Node): boolean =>
    node.outs.some((out) => read.has(out)) && foldedIn(dims, node).gone.length > 0;
  const inner = folds.filter(isInner);
  joinFolds(dims, inner, values);

  // From here on no factor changes.
  const loops = new Map(values.map((x) => [x, leaves((dims.get(x) ?? []).flat())] as const));
  const of = (x: Value): readonly Factor[] => loops.get(x) ?? [];
  const all = of(widest([...inner.flatMap(({ ins }) => ins), ...block.results, ...values]));
  const place = new Map(all.map((f, i) => [f, i]));
  if (values.some((x) => new Set(of(x)).size < of(x).length)) return { why: "one dim met along two axes" };
  if (!values.every((x) => of(x).every((f) => place.has(f)))) return { why: "several iteration spaces" };
  const rowFolds = inner.map((node) => foldedIn(dims, node));
  const rows = rowFolds[0] ? all.length - rowFolds[0].gone.length : 0;
  if (
    rowFolds.some(
      ({ kept, gone }) => !sameLoops(kept, all.slice(0, rows)) || !sameLoops(gone, all.slice(rows)),
    )
  )
    return { why: "a fold inside over other axes than the last" };
  const isPrefix = (x: Value): boolean => of(x).every((f) => (place.get(f) ?? 0) < of(x).length);
  const sums = new Set(folds.flatMap(({ outs }) => outs).filter((x) => !read.has(x)));
  if (![...block.results.filter((x) => !sums.has(x)), ...folds.flatMap(({ ins }) => ins)].every(isPrefix))
    return { why: "a result that would be computed more than once" };
  const isTwice = computedTwice(block, (x, axis) => places(dims, place, x, axis));
  if (isTwice) return { why: "a costly op that would be computed more than once" };
  return {
    sizes: all.map((f) => f.size),
    rows,
    depthOf: (x) => of(x).length,
    stridesOf: (x, strides = rowMajor(shapeOf(x.type))) => {
      const result = all.map(() => 0);
      (dims.get(x) ?? []).forEach((factors, axis) => {
        let step = at(strides, axis);
        for (const factor of leaves(factors).reverse()) {
          result[place.get(factor) ?? 0] = step;
          step *= factor.size;
        }
      });
      return result;
    },
  };
}

/** The loops of a value, or of one of its axes, by number. */
const places = (dims: Dims, place: ReadonlyMap<Factor, number>, x: Value, axis?: number): number[] =>
  leaves((dims.get(x) ?? []).filter((_, i) => axis === undefined || i === axis).flat()).map(
    (f) => place.get(f) ?? 0,
  );

/** Whether a costly op depends on fewer loops than it runs under. */
function computedTwice(block: Block, loops: (x: Value, axis?: number) => readonly number[]): boolean {
  if (!block.nodes.some(({ op }) => op.costly)) return false;
  const depends = new Map<Value, readonly number[]>(block.params.map((x) => [x, loops(x)]));
  return block.nodes.some(({ op, ins, outs, attrs }) => {
    const out = at(outs, 0);
    const line = op.line?.(attrs);
    const isOwn = op.folds !== undefined || op.moves?.(attrs).kind === "window";
    const own = line ? loops(out, line.axis) : isOwn ? loops(out) : ins.flatMap((x) => depends.get(x) ?? []);
    depends.set(out, own);
    return op.costly === true && new Set(own).size <= Math.max(-1, ...own);
  });
}
