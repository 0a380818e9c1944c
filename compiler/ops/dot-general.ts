// The contraction, as StableHLO's dot_general: batch dims first, then what is left of lhs, then of rhs.
import { dim, dimAt, elements, joinLabels, range, rankOf, sizeOf, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import { copy, rowMajor } from "./loops.ts";
import type { OpDef, RunContext, Tensor } from "./op.ts";
import { at, broken, expectArity, expectAxes, expectFloats } from "./op.ts";

type DotAttrs = {
  lhs_contracting: readonly number[];
  rhs_contracting: readonly number[];
  lhs_batch: readonly number[];
  rhs_batch: readonly number[];
};

/** The axes of an operand by what becomes of them. */
type Axes = {
  readonly batch: readonly number[];
  readonly contracting: readonly number[];
  readonly free: readonly number[];
};

/** The axes of both operands, which have these ranks. */
function axesOf(attrs: DotAttrs, lhsRank: number, rhsRank: number): readonly [Axes, Axes] {
  const axes = (rank: number, batch: readonly number[], contracting: readonly number[]): Axes => ({
    batch,
    contracting,
    free: range(rank).filter((axis) => !batch.includes(axis) && !contracting.includes(axis)),
  });
  return [
    axes(lhsRank, attrs.lhs_batch, attrs.lhs_contracting),
    axes(rhsRank, attrs.rhs_batch, attrs.rhs_contracting),
  ];
}

function pairedDims(
  what: string,
  a: TensorType,
  b: TensorType,
  left: readonly number[],
  right: readonly number[],
): Dim[] {
  if (left.length !== right.length)
    broken("dot_general", `${left.length} ${what} dims on the left, ${right.length} on the right`);
  return left.map((axis, i) => {
    const [x, y] = [dimAt(a, axis), dimAt(b, at(right, i))];
    const label = joinLabels(x.label, y.label);
    if (x.size !== y.size || label === undefined)
      broken("dot_general", `${what} dims differ: \`${x.label}=${x.size}\` and \`${y.label}=${y.size}\``);
    return dim(label, x.size);
  });
}

type Operand<T> = { readonly x: T; readonly axes: Axes };

/**
 * Cotangent of one operand: contract dy with the other one over the other's free dims, which are dy's at `free`, then
 * restore the axis order.
 */
function pullOperand<T>(
  k: K<T>,
  dy: T,
  own: Operand<T>,
  { x, axes: other }: Operand<T>,
  free: readonly number[],
): T {
  const type = k.typeOf(own.x);
  const product = k.dot(dy, x, {
    contract: [free, other.free],
    batch: [range(other.batch.length), other.batch],
  });
  // product's dims: batch, own free dims (as in dy), then the other's contracted dims in its own axis order.
  const contracted = other.contracting
    .map((axis, i) => ({ axis, own: at(own.axes.contracting, i) }))
    .sort((a, b) => a.axis - b.axis)
    .map((pair) => pair.own);
  const order = [...own.axes.batch, ...own.axes.free, ...contracted];
  const permutation = range(order.length).map((axis) => order.indexOf(axis));
  const sorted = permutation.every((axis, i) => axis === i) ? product : k.transpose(product, permutation);
  return k.reshape(k.convert(sorted, type.dtype), type.dims);
}

type Side = {
  readonly x: Tensor;
  readonly row: number;
  readonly column: number;
  readonly batch: readonly number[];
};

/** The one step that axes walked in order make, or nothing when they do not lie side by side. */
function mergedStride(
  shape: readonly number[],
  strides: readonly number[],
  axes: readonly number[],
): number | undefined {
  const own = axes.filter((axis) => at(shape, axis) !== 1);
  const isOne = own.every((axis, i) => {
    const next = own[i + 1];
    return next === undefined || at(strides, axis) === at(strides, next) * at(shape, next);
  });
  const last = own.at(-1);
  return isOne ? (last === undefined ? 0 : at(strides, last)) : undefined;
}

/** An operand as matrices of rows × columns in it; copied in that order where they are none. */
function sideOf(
  x: Tensor,
  batch: readonly number[],
  rows: readonly number[],
  columns: readonly number[],
  cx: RunContext,
): Side {
  const strides = rowMajor(x.shape);
  const [row, column] = [mergedStride(x.shape, strides, rows), mergedStride(x.shape, strides, columns)];
  if (row !== undefined && column !== undefined)
    return { x, row, column, batch: offsetsOf(x.shape, strides, batch) };
  const order = [...batch, ...rows, ...columns];
  const shape = order.map((axis) => at(x.shape, axis));
  const type = tensor(
    "f32",
    shape.map((size) => dim("_", size)),
  );
  const [moved] = cx.onHost([x], [type], (xs, ys) =>
    copy(
      at(ys, 0),
      { offset: 0, strides: rowMajor(shape) },
      at(xs, 0),
      { offset: 0, strides: order.map((axis) => at(strides, axis)) },
      shape,
    ),
  );
  const places = range(order.length);
  const [b, r] = [batch.length, rows.length];
  return sideOf(
    at([moved], 0) as Tensor,
    places.slice(0, b),
    places.slice(b, b + r),
    places.slice(b + r),
    cx,
  );
}

/** Where each index of some axes lies, row-major. */
function offsetsOf(shape: readonly number[], strides: readonly number[], axes: readonly number[]): number[] {
  return axes.reduce<number[]>(
    (offsets, axis) =>
      offsets.flatMap((offset) => range(at(shape, axis)).map((i) => offset + i * at(strides, axis))),
    [0],
  );
}

export const dotGeneral: OpDef<DotAttrs> = {
  name: "dot_general",
  doc: "Sum of products over the contracting dims; batch dims ride along.",
  attrs: { lhs_contracting: "ints", rhs_contracting: "ints", lhs_batch: "ints", rhs_batch: "ints" },
  infer(ins, attrs) {
    expectArity("dot_general", ins, 2);
    const [a, b] = [at(ins, 0), at(ins, 1)];
    expectFloats("dot_general", a, b);
    expectAxes("dot_general", a, [...attrs.lhs_batch, ...attrs.lhs_contracting]);
    expectAxes("dot_general", b, [...attrs.rhs_batch, ...attrs.rhs_contracting]);
    pairedDims("contracting", a, b, attrs.lhs_contracting, attrs.rhs_contracting);
    const batch = pairedDims("batch", a, b, attrs.lhs_batch, attrs.rhs_batch);
    const [left, right] = axesOf(attrs, rankOf(a), rankOf(b));
    const free = [...left.free.map((axis) => dimAt(a, axis)), ...right.free.map((axis) => dimAt(b, axis))];
    return [tensor(a.dtype, [...batch, ...free])];
  },
  vjp(k, { dy, ins, attrs }) {
    const [a, b] = [at(ins, 0), at(ins, 1)];
    const [left, right] = axesOf(attrs, rankOf(k.typeOf(a)), rankOf(k.typeOf(b)));
    const [lhs, rhs] = [
      { x: a, axes: left },
      { x: b, axes: right },
    ];
    const leftFree = left.free.map((_, i) => left.batch.length + i);
    const rightFree = right.free.map((_, i) => left.batch.length + left.free.length + i);
    return [pullOperand(k, dy(0), lhs, rhs, rightFree), pullOperand(k, dy(0), rhs, lhs, leftFree)];
  },
  run(_tf, ins, attrs, cx) {
    const [a, b] = [at(ins, 0), at(ins, 1)];
    const [lhs, rhs] = axesOf(attrs, a.rank, b.rank);
    const size = (x: Tensor, axes: readonly number[]) => axes.reduce((n, axis) => n * at(x.shape, axis), 1);
    const [m, k, n] = [size(a, lhs.free), size(a, lhs.contracting), size(b, rhs.free)];
    const left = sideOf(a, lhs.batch, lhs.free, lhs.contracting, cx);
    const right = sideOf(b, rhs.batch, rhs.contracting, rhs.free, cx);
    const all = left.batch.map((offset, i) => ({
      m,
      k,
      n,
      a: { offset, row: left.row, column: left.column },
      b: { offset: at(right.batch, i), row: right.row, column: right.column },
      c: { offset: i * m * n, row: n },
    }));
    return cx.products(left.x, right.x, at(cx.outs, 0), all);
  },
  flops(ins, outs, attrs) {
    const contracted = attrs.lhs_contracting.map((axis) => dimAt(at(ins, 0), axis));
    return 2 * elements(at(outs, 0)) * sizeOf(contracted);
  },
};
