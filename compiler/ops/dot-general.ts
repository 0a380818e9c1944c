// The contraction, as StableHLO's dot_general: batch dims first, then what is left of lhs, then of rhs.
import { dim, dimAt, elements, joinLabels, range, rankOf, sizeOf, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import { copy, type NumberArray, rowMajor } from "./loops.ts";
import { multiply } from "./matmul.ts";
import type { OpDef, RunContext, Tensor, Tfjs } from "./op.ts";
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

// From about here on tfjs's two-matrix kernel makes up for cutting the batch into matrices.
const WORTH_A_KERNEL = 2 ** 19;

/** [batch, m, k] × [batch, k, n] → [batch, m, n]. */
function matmul3(
  tf: Tfjs,
  a: Tensor,
  b: Tensor,
  batch: number,
  m: number,
  k: number,
  n: number,
  { onHost }: RunContext,
): Tensor {
  if (batch === 1) return tf.matMul(tf.reshape(a, [m, k]), tf.reshape(b, [k, n]));
  if (m * k * n >= WORTH_A_KERNEL) {
    const matrix = (x: Tensor, i: number, rows: number, columns: number): Tensor =>
      tf.reshape(tf.slice(x, [i, 0, 0], [1, rows, columns]), [rows, columns]);
    return tf.stack(range(batch).map((i) => tf.matMul(matrix(a, i, m, k), matrix(b, i, k, n))));
  }
  const type = tensor(
    "f32",
    [batch, m, n].map((size) => dim("_", size)),
  );
  const [product] = onHost([a, b], [type], (ins, outs) => {
    const [x, y, z] = [at(ins, 0), at(ins, 1), at(outs, 0)];
    for (let i = 0; i < batch; i++)
      multiply(
        { array: x, offset: i * m * k },
        { array: y, offset: i * k * n },
        { array: z, offset: i * m * n },
        m,
        k,
        n,
      );
  });
  return at([product], 0) as Tensor;
}

/** The depth × width of the matrix that a buffer was first the right side of. */
const packedAs = new WeakMap<object, string>();

/**
 * tfjs-wasm keeps a right side packed by its buffer, whatever shape it has later, and then writes past the result: a
 * buffer that comes back as another matrix (reshapes share one) is copied.
 */
function unpacked(x: Tensor, depth: number, width: number, { onHost }: RunContext): Tensor {
  const shape = `${depth}x${width}`;
  const known = packedAs.get(x.dataId) ?? shape;
  packedAs.set(x.dataId, known);
  if (known === shape) return x;
  const type = tensor(
    "f32",
    x.shape.map((size) => dim("_", size)),
  );
  return at(
    onHost([x], [type], ([from], [to]) => (at([to], 0) as NumberArray).set(at([from], 0) as NumberArray)),
    0,
  );
}

/** The operand with its axes in another order, as one matrix per batch. */
function arranged(
  tf: Tfjs,
  x: Tensor,
  order: readonly number[],
  shape: readonly number[],
  { onHost }: RunContext,
): Tensor {
  if (order.every((axis, i) => axis === i)) return tf.reshape(x, [...shape]);
  const type = tensor(
    "f32",
    shape.map((size) => dim("_", size)),
  );
  const strides = rowMajor(x.shape);
  const walked = order.map((axis) => at(x.shape, axis));
  const [moved] = onHost([x], [type], ([from], [to]) =>
    copy(
      at([to], 0) as NumberArray,
      { offset: 0, strides: rowMajor(walked) },
      at([from], 0) as NumberArray,
      { offset: 0, strides: order.map((axis) => at(strides, axis)) },
      walked,
    ),
  );
  return at([moved], 0) as Tensor;
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
  run(tf, ins, attrs, cx) {
    const [a, b] = [at(ins, 0), at(ins, 1)];
    const aFree = freeAxes(a.rank, attrs.lhs_batch, attrs.lhs_contracting);
    const bFree = freeAxes(b.rank, attrs.rhs_batch, attrs.rhs_contracting);
    const size = (x: Tensor, axes: readonly number[]) => axes.reduce((n, axis) => n * at(x.shape, axis), 1);
    const [batch, m, n, depth] = [
      size(a, attrs.lhs_batch),
      size(a, aFree),
      size(b, bFree),
      size(a, attrs.lhs_contracting),
    ];
    const left = arranged(
      tf,
      a,
      [...attrs.lhs_batch, ...aFree, ...attrs.lhs_contracting],
      [batch, m, depth],
      cx,
    );
    const right = arranged(
      tf,
      b,
      [...attrs.rhs_batch, ...attrs.rhs_contracting, ...bFree],
      [batch, depth, n],
      cx,
    );
    return tf.reshape(
      matmul3(tf, left, unpacked(right, depth, n, cx), batch, m, depth, n, cx),
      at(cx.outs, 0).dims.map((d) => d.size),
    );
  },
  flops(ins, outs, attrs) {
    const contracted = attrs.lhs_contracting.map((axis) => dimAt(at(ins, 0), axis));
    return 2 * elements(at(outs, 0)) * sizeOf(contracted);
  },
};
