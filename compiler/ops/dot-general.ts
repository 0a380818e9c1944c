// The contraction, as StableHLO's dot_general: batch dims first, then what is left of lhs, then of rhs.
import { dim, dimAt, elements, joinLabels, range, rankOf, sizeOf, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { OpDef, Tensor, Tfjs } from "./op.ts";
import { at, broken, expectArity } from "./op.ts";

type DotAttrs = {
  lhs_contracting: readonly number[];
  rhs_contracting: readonly number[];
  lhs_batch: readonly number[];
  rhs_batch: readonly number[];
};

const freeAxes = (rank: number, ...taken: readonly (readonly number[])[]): number[] =>
  range(rank).filter((axis) => !taken.some((axes) => axes.includes(axis)));

function pairedDims(what: string, a: TensorType, b: TensorType, left: readonly number[], right: readonly number[]): Dim[] {
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

/** [batch, m, k] and [batch, k, n] products on tfjs; two matrices go through its fast path. */
function matmul3(tf: Tfjs, a: Tensor, b: Tensor, batch: number, m: number, n: number): Tensor {
  if (batch === 1) return tf.matMul(tf.reshape(a, [m, -1]), tf.reshape(b, [-1, n]));
  return tf.matMul(a as never, b as never);
}

export const dotGeneral: OpDef<DotAttrs> = {
  name: "dot_general",
  doc: "Sum of products over the contracting dims; batch dims ride along.",
  attrs: { lhs_contracting: "ints", rhs_contracting: "ints", lhs_batch: "ints", rhs_batch: "ints" },
  infer(ins, attrs) {
    expectArity("dot_general", ins, 2);
    const [a, b] = [at(ins, 0), at(ins, 1)];
    if (a.dtype !== b.dtype) broken("dot_general", `dtypes differ: ${a.dtype} and ${b.dtype}`);
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
      pullSide(k, g, dyRight, batches, b, bFree, attrs.rhs_batch, attrs.rhs_contracting, attrs.lhs_batch, attrs.lhs_contracting, aType),
      pullSide(k, g, dyLeft, batches, a, aFree, attrs.lhs_batch, attrs.lhs_contracting, attrs.rhs_batch, attrs.rhs_contracting, bType),
    ];
  },
  run(tf, ins, attrs, { outs }) {
    const [a, b] = [at(ins, 0), at(ins, 1)];
    const aFree = freeAxes(a.rank, attrs.lhs_batch, attrs.lhs_contracting);
    const bFree = freeAxes(b.rank, attrs.rhs_batch, attrs.rhs_contracting);
    const size = (x: Tensor, axes: readonly number[]) => axes.reduce((n, axis) => n * at(x.shape, axis), 1);
    const [batch, m, n, depth] = [size(a, attrs.lhs_batch), size(a, aFree), size(b, bFree), size(a, attrs.lhs_contracting)];
    const arrange = (x: Tensor, order: readonly number[], shape: number[]) =>
      tf.reshape(order.every((axis, i) => axis === i) ? x : tf.transpose(x, [...order]), shape);
    const left = arrange(a, [...attrs.lhs_batch, ...aFree, ...attrs.lhs_contracting], [batch, m, depth]);
    const right = arrange(b, [...attrs.rhs_batch, ...attrs.rhs_contracting, ...bFree], [batch, depth, n]);
    return tf.reshape(matmul3(tf, left, right, batch, m, n), at(outs, 0).dims.map((d) => d.size));
  },
  flops(ins, outs, attrs) {
    const contracted = attrs.lhs_contracting.map((axis) => dimAt(at(ins, 0), axis));
    return 2 * elements(at(outs, 0)) * sizeOf(contracted);
  },
};
