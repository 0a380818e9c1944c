// The vocabulary in which decompositions and gradients are written: one set of words over any way of applying an
// op (building IR, or tracing through tfjs). It names ops; the implementer of `apply` finds their records.

import { bug, invariant } from "../diag.ts";
import type { DType } from "../dtype.ts";
import { dim, dimAt, range, replaceAt, sameDims, shapeOf, tensor } from "../ir/shape.ts";
import type { Attrs, Block, Dim, TensorType, Value } from "../ir/types.ts";

/** Applies the op of a name and gives its results. */
export type Apply<T> = (
  op: string,
  ins: readonly T[],
  attrs?: Attrs,
  regions?: readonly Block[],
) => readonly T[];

function operand<T>(x: T | undefined): T {
  invariant(x !== undefined, "a block reads what it has not defined");
  return x;
}

/** Axes of the left and of the right operand, paired in order. */
export type DotDims = {
  readonly contract: readonly [readonly number[], readonly number[]];
  readonly batch?: readonly [readonly number[], readonly number[]];
};

export type Direction = "EQ" | "NE" | "LT" | "LE" | "GT" | "GE";

/** What a way of applying ops provides: building IR, or tracing through tfjs. */
export type Applier<T> = {
  apply: Apply<T>;
  typeOf(x: T): TensorType;
  /** A region: `body` receives the parameters and returns the results. */
  block(params: readonly NamedType[], body: (params: readonly T[]) => readonly T[]): Block;
};

export type NamedType = { readonly hint: string; readonly type: TensorType };

/**
 * Operands of a scan: `carries` go from step to step, `xs` are sliced along their first dim, `consts` are the same in
 * all.
 */
export type ScanParts<T> = {
  readonly carries: readonly T[];
  readonly xs: readonly T[];
  readonly consts: readonly T[];
  readonly length: number;
  readonly reverse?: boolean;
  /** Label of the stacked dim. */
  readonly label: string;
};

/** Builds the vocabulary over an applier. */
export function vocabulary<T>({ apply, typeOf, block }: Applier<T>) {
  const one = (op: string, ins: readonly T[], attrs: Attrs = {}): T => {
    const [out] = apply(op, ins, attrs);
    if (out === undefined) bug(`${op} has no result`);
    return out;
  };
  const dimsOf = (x: T): readonly Dim[] => typeOf(x).dims;
  const constant = (value: number, type: TensorType): T => one("constant", [], { value, type });
  const reshape = (x: T, dims: readonly Dim[]): T =>
    sameDims(dimsOf(x), dims) ? x : one("reshape", [x], { type: tensor(typeOf(x).dtype, dims) });
  const sum = (x: T, axes: readonly number[]): T =>
    axes.length === 0 ? x : one("reduce_sum", [x], { axes });
  const convert = (x: T, dtype: DType): T =>
    typeOf(x).dtype === dtype ? x : one("convert", [x], { type: tensor(dtype, dimsOf(x)) });
  const keepAxis = (x: T, axis: number, like: readonly Dim[]): T =>
    reshape(
      x,
      like.map((d, i) => (i === axis ? dim(d.label, 1) : d)),
    );

  const scanRegion = (
    { carries, xs, consts, length, reverse = false, label }: ScanParts<T>,
    region: Block,
  ): { carries: readonly T[]; ys: readonly T[] } => {
    const counts = { carries: carries.length, xs: xs.length };
    const outs = apply("scan", [...carries, ...xs, ...consts], { length, ...counts, reverse, label }, [
      region,
    ]);
    return { carries: outs.slice(0, carries.length), ys: outs.slice(carries.length) };
  };

  return {
    apply,
    typeOf,
    block,
    dimsOf,
    one,
    /** Every node of a block again, on other operands. */
    inline: (inner: Block, ins: readonly T[]): readonly T[] => {
      const env = new Map<Value, T>(inner.params.map((param, i) => [param, operand(ins[i])]));
      const read = (value: Value): T => operand(env.get(value));
      for (const node of inner.nodes) {
        const outs = apply(node.op.name, node.ins.map(read), node.attrs, node.regions);
        for (const [i, out] of node.outs.entries()) env.set(out, operand(outs[i]));
      }
      return inner.results.map(read);
    },
    scanRegion,
    /** A loop: `body(carries, xs at this step, consts)` gives the next carries and this step's ys. */
    scan: (
      parts: ScanParts<T>,
      body: (
        carries: readonly T[],
        xs: readonly T[],
        consts: readonly T[],
      ) => { carries: readonly T[]; ys: readonly T[] },
    ) => {
      const { carries, xs, consts } = parts;
      const named = (hint: string, type: TensorType): NamedType => ({ hint, type });
      const params = [
        ...carries.map((x) => named("carry", typeOf(x))),
        ...xs.map((x) => named("x", tensor(typeOf(x).dtype, dimsOf(x).slice(1)))),
        ...consts.map((x) => named("const", typeOf(x))),
      ];
      const [c, x] = [carries.length, xs.length];
      const region = block(params, (ps) => {
        const out = body(ps.slice(0, c), ps.slice(c, c + x), ps.slice(c + x));
        return [...out.carries, ...out.ys];
      });
      return scanRegion(parts, region);
    },
    add: (a: T, b: T) => one("add", [a, b]),
    sub: (a: T, b: T) => one("subtract", [a, b]),
    mul: (a: T, b: T) => one("multiply", [a, b]),
    div: (a: T, b: T) => one("divide", [a, b]),
    neg: (x: T) => one("negate", [x]),
    exp: (x: T) => one("exp", [x]),
    log: (x: T) => one("log", [x]),
    sin: (x: T) => one("sine", [x]),
    cos: (x: T) => one("cosine", [x]),
    sqrt: (x: T) => one("sqrt", [x]),
    rsqrt: (x: T) => one("rsqrt", [x]),
    sigmoid: (x: T) => one("logistic", [x]),
    max: (a: T, b: T) => one("maximum", [a, b]),
    compare: (a: T, b: T, direction: Direction) => one("compare", [a, b], { direction }),
    select: (pred: T, a: T, b: T) => one("select", [pred, a, b]),
    convert,
    constant,
    /** A rank-0 constant of x's dtype, to be broadcast. */
    scalar: (value: number, like: T) => constant(value, tensor(typeOf(like).dtype, [])),
    iota: (type: TensorType, axis: number) => one("iota", [], { axis, type }),
    reshape,
    /** Numpy-style broadcast to the given dims. */
    broadcast: (x: T, dims: readonly Dim[]) => one("broadcast", [x], { type: tensor(typeOf(x).dtype, dims) }),
    transpose: (x: T, permutation: readonly number[]) => one("transpose", [x], { permutation }),
    /** Elements [start, limit) along one axis. */
    slice: (x: T, axis: number, start: number, limit: number) => {
      const shape = shapeOf(typeOf(x));
      return one("slice", [x], {
        starts: replaceAt(
          shape.map(() => 0),
          axis,
          start,
        ),
        limits: replaceAt(shape, axis, limit),
      });
    },
    concat: (xs: readonly T[], axis: number) => one("concatenate", xs, { axis }),
    /** Zeros before and after along one axis. */
    pad: (x: T, axis: number, low: number, high: number) => {
      const none = dimsOf(x).map(() => 0);
      return one("pad", [x], { low: replaceAt(none, axis, low), high: replaceAt(none, axis, high) });
    },
    sum,
    /** Sum over one axis, which stays with size 1. */
    sumKeep: (x: T, axis: number) => keepAxis(sum(x, [axis]), axis, dimsOf(x)),
    maxKeep: (x: T, axis: number) => keepAxis(one("reduce_max", [x], { axes: [axis] }), axis, dimsOf(x)),
    cumsum: (x: T, axis: number, reverse = false) => one("cumsum", [x], { axis, reverse }),
    dot: (a: T, b: T, { contract, batch = [[], []] }: DotDims) =>
      one("dot_general", [a, b], {
        lhs_contracting: contract[0],
        rhs_contracting: contract[1],
        lhs_batch: batch[0],
        rhs_batch: batch[1],
      }),
    /** Batched matrix product over the last two axes: [.., m, k] × [.., k, n]. */
    matmul: (a: T, b: T) => {
      const rank = dimsOf(a).length;
      const batch = range(rank - 2);
      return one("dot_general", [a, b], {
        lhs_contracting: [rank - 1],
        rhs_contracting: [rank - 2],
        lhs_batch: batch,
        rhs_batch: batch,
      });
    },
    swapLast: (x: T) => {
      const rank = dimsOf(x).length;
      return one("transpose", [x], { permutation: [...range(rank - 2), rank - 1, rank - 2] });
    },
    /** Rows of x (axis 0) at the given indices. */
    take: (x: T, indices: T) => one("take", [x, indices]),
    /** Sum over an operand's broadcast axes, back to the operand's own dims. */
    unbroadcast: (g: T, type: TensorType): T => {
      const extra = dimsOf(g).length - type.dims.length;
      const axes = range(dimsOf(g).length).filter(
        (axis) => axis < extra || (dimAt(type, axis - extra).size === 1 && dimAt(typeOf(g), axis).size !== 1),
      );
      const summed = sum(g, axes);
      return convert(axes.length > 0 || extra > 0 ? reshape(summed, type.dims) : summed, type.dtype);
    },
  };
}

export type K<T> = ReturnType<typeof vocabulary<T>>;
