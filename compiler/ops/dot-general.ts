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

const freeAxes = (rank: number, ...taken: readonly (readonly number[])[]): number[] =>
  range(rank).filter((axis) => !taken.some((axes) => axes.includes(axis)));

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

/** Cotangent of one side: contract dy with the other side over the other's free dims, then restore the axis order. */
function pullSide<T>(
  k: K<T>,
  dy: T,
  dyFree: readonly number[],
  batchCount: number,
  other: T,
  otherFree: readonly number[],
  otherBatch: readonly number[],
  otherContracting: readonly number[],
  ownBatch: readonly number[],
  ownContracting: readonly number[],
  ownType: TensorType,
): T {
  const product = k.dot(dy, other, { contract: [dyFree, otherFree], batch: [range(batchCount), otherBatch] });
  // product's dims: batch, own free dims (as in dy), then the other's contracted dims in its own axis order.
  const ownFree = freeAxes(rankOf(ownType), ownBatch, ownContracting);
  const contractedOrder = [...otherContracting]
    .map((axis, i) => ({ axis, own: at(ownContracting, i) }))
    .sort((a, b) => a.axis - b.axis)
    .map(({ own }) => own);
  const order = [...ownBatch, ...ownFree, ...contractedOrder];
  const permutation = range(order.length).map((axis) => order.indexOf(axis));
  const sorted = permutation.every((axis, i) => axis === i) ? product : k.transpose(product, permutation);
  return k.reshape(k.convert(sorted, ownType.dtype), ownType.dims);
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
    const left = freeAxes(rankOf(a), attrs.lhs_batch, attrs.lhs_contracting).map((axis) => dimAt(a, axis));
    const right = freeAxes(rankOf(b), attrs.rhs_batch, attrs.rhs_contracting).map((axis) => dimAt(b, axis));
    return [tensor(a.dtype, [...batch, ...left, ...right])];
  },
  vjp(k, { dy, ins, attrs }) {
    const [g, a, b] = [dy(0), at(ins, 0), at(ins, 1)];
    const [aType, bType] = [k.typeOf(a), k.typeOf(b)];
    const aFree = freeAxes(rankOf(aType), attrs.lhs_batch, attrs.lhs_contracting);
    const bFree = freeAxes(rankOf(bType), attrs.rhs_batch, attrs.rhs_contracting);
    const batches = attrs.lhs_batch.length;
    const dyLeft = aFree.map((_, i) => batches + i);
    const dyRight = bFree.map((_, i) => batches + aFree.length + i);
    return [
      pullSide(
        k,
        g,
        dyRight,
        batches,
        b,
        bFree,
        attrs.rhs_batch,
        attrs.rhs_contracting,
        attrs.lhs_batch,
        attrs.lhs_contracting,
        aType,
      ),
      pullSide(
        k,
        g,
        dyLeft,
        batches,
        a,
        aFree,
        attrs.lhs_batch,
        attrs.lhs_contracting,
        attrs.rhs_batch,
        attrs.rhs_contracting,
        bType,
      ),
    ];
  },
  run(_tf, ins, attrs, cx) {
    const [a, b] = [at(ins, 0), at(ins, 1)];
    const aFree = freeAxes(a.rank, attrs.lhs_batch, attrs.lhs_contracting);
    const bFree = freeAxes(b.rank, attrs.rhs_batch, attrs.rhs_contracting);
    const size = (x: Tensor, axes: readonly number[]) => axes.reduce((n, axis) => n * at(x.shape, axis), 1);
    const [m, k, n] = [size(a, aFree), size(a, attrs.lhs_contracting), size(b, bFree)];
    const left = sideOf(a, attrs.lhs_batch, aFree, attrs.lhs_contracting, cx);
    const right = sideOf(b, attrs.rhs_batch, attrs.rhs_contracting, bFree, cx);
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
