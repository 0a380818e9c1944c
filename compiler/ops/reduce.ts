// Folds over axes, and running sums along one.
import { dim, elements, formatDims, rankOf, tensor, without } from "../ir/shape.ts";
import type { TensorType } from "../ir/types.ts";
import { type NumberArray, rowMajor } from "./loops.ts";
import { at, broken, expectArity, expectAxes, type OpDef } from "./op.ts";

const reduceInfer = (
  op: string,
  ins: readonly TensorType[],
  axes: readonly number[],
): readonly TensorType[] => {
  expectArity(op, ins, 1);
  const x = at(ins, 0);
  expectAxes(op, x, axes);
  return [tensor(x.dtype, without(x.dims, axes))];
};

/** The dims of x with the reduced axes kept at size 1. */
const keptDims = (type: TensorType, axes: readonly number[]) =>
  type.dims.map((d, i) => (axes.includes(i) ? dim(d.label, 1) : d));

/** Running sums along an axis of the given length and stride. */
function runningSums(x: NumberArray, out: NumberArray, length: number, step: number, reverse: boolean): void {
  for (let block = 0; block < x.length; block += length * step)
    for (let inner = 0; inner < step; inner++) {
      let sum = 0;
      for (let i = 0; i < length; i++) {
        const position = block + inner + (reverse ? length - 1 - i : i) * step;
        sum += x[position] ?? 0;
        out[position] = sum;
      }
    }
}

const reduceSum: OpDef<{ axes: readonly number[] }> = {
  name: "reduce_sum",
  doc: "Sum over the axes, which disappear.",
  attrs: { axes: "ints" },
  infer: (ins, { axes }) => reduceInfer("reduce_sum", ins, axes),
  vjp(k, { dy, ins, attrs: { axes } }) {
    const type = k.typeOf(at(ins, 0));
    return [k.broadcast(k.reshape(dy(0), keptDims(type, axes)), type.dims)];
  },
  folds: ({ axes }) => ({ axes, start: "0.0", step: (sum, x) => `${sum} += ${x}` }),
  flops: (ins) => elements(at(ins, 0)),
};

const reduceMax: OpDef<{ axes: readonly number[] }> = {
  name: "reduce_max",
  doc: "Largest element over the axes, which disappear; equal largest ones share the gradient.",
  attrs: { axes: "ints" },
  infer: (ins, { axes }) => reduceInfer("reduce_max", ins, axes),
  vjp(k, { dy, ins, outs, attrs: { axes } }) {
    const x = at(ins, 0);
    const kept = keptDims(k.typeOf(x), axes);
    const isLargest = k.compare(x, k.reshape(at(outs, 0), kept), "EQ");
    const share = k.select(isLargest, k.scalar(1, x), k.scalar(0, x));
    const count = k.reshape(k.sum(share, axes), kept);
    return [k.mul(k.div(share, count), k.reshape(dy(0), kept))];
  },
  folds: ({ axes }) => ({
    axes,
    start: "(-INFINITY)",
    step: (largest, x) => `if (${x} > ${largest}) ${largest} = ${x}`,
  }),
  flops: (ins) => elements(at(ins, 0)),
};

const cumsum: OpDef<{ axis: number; reverse: boolean }> = {
  name: "cumsum",
  doc: "Running sum along the axis, from the end when reverse.",
  attrs: { axis: "int", reverse: "bool" },
  infer(ins, { axis }) {
    expectArity("cumsum", ins, 1);
    const x = at(ins, 0);
    if (axis < 0 || axis >= rankOf(x)) broken("cumsum", `axis ${axis} of [${formatDims(x.dims)}]`);
    return [x];
  },
  vjp: (k, { dy, attrs: { axis, reverse } }) => [k.cumsum(dy(0), axis, !reverse)],
  run(_tf, ins, { axis, reverse }, { onHost, outs }) {
    const { shape } = at(ins, 0);
    const [length, step] = [at(shape, axis), at(rowMajor(shape), axis)];
    return onHost(ins, outs, (xs, ys) => runningSums(at(xs, 0), at(ys, 0), length, step, reverse));
  },
};

export const reduceOps: readonly OpDef[] = [reduceSum, reduceMax, cumsum];
