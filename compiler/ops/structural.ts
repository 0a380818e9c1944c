// Ops that make constants or move elements without arithmetic.
import {
  dim,
  dimAt,
  elements,
  formatDims,
  joinLabels,
  range,
  rankOf,
  shapeOf,
  sizeOf,
  tensor,
  without,
} from "../ir/shape.ts";
import type { TensorType } from "../ir/types.ts";
import { broadcastDims } from "./elementwise.ts";
import { accumulate, broadcastWalk, copy, type NumberArray, rowMajor, type Walk } from "./loops.ts";
import type { OpDef, RunContext, Tensor, Tfjs } from "./op.ts";
import { at, broken, expectArity } from "./op.ts";

/** A result or operand that is always there: the op's arity says so. */
const given = (array: NumberArray | undefined): NumberArray => at([array], 0) as NumberArray;
const natural = (shape: readonly number[]): Walk => ({ offset: 0, strides: rowMajor(shape) });
const dotProduct = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * at(b, i), 0);

const tfDType = (type: TensorType): "float32" | "int32" | "bool" =>
  type.dtype === "i32" ? "int32" : type.dtype === "bool" ? "bool" : "float32";

const fill = (tf: Tfjs, type: TensorType, value: number) => tf.fill(shapeOf(type), value, tfDType(type));

const constant: OpDef<{ value: number; type: TensorType }> = {
  name: "constant",
  doc: "Every element has the given value.",
  attrs: { value: "float", type: "type" },
  discrete: true,
  infer(ins, { type }) {
    expectArity("constant", ins, 0);
    return [type];
  },
  run: (tf, _ins, { value, type }) => fill(tf, type, value),
  flops: () => 0,
};

const iota: OpDef<{ axis: number; type: TensorType }> = {
  name: "iota",
  doc: "Each element is its own index along the axis.",
  attrs: { axis: "int", type: "type" },
  discrete: true,
  infer(ins, { axis, type }) {
    expectArity("iota", ins, 0);
    if (axis < 0 || axis >= rankOf(type)) broken("iota", `axis ${axis} of a rank-${rankOf(type)} result`);
    return [type];
  },
  run(_tf, _ins, { axis, type }, { onHost }) {
    const shape = shapeOf(type);
    const line = Int32Array.from(range(dimAt(type, axis).size));
    const along = { offset: 0, strides: shape.map((_, i) => (i === axis ? 1 : 0)) };
    return onHost([], [type], (_, [out]) => copy(given(out), natural(shape), line, along, shape));
  },
  flops: () => 0,
};

const reshape: OpDef<{ type: TensorType }> = {
  name: "reshape",
  doc: "The same elements in row-major order under other dims.",
  attrs: { type: "type" },
  infer(ins, { type }) {
    expectArity("reshape", ins, 1);
    const x = at(ins, 0);
    if (elements(x) !== sizeOf(type.dims))
      broken(
        "reshape",
        `[${formatDims(x.dims)}] has ${elements(x)} elements, [${formatDims(type.dims)}] has ${sizeOf(type.dims)}`,
      );
    return [tensor(x.dtype, type.dims)];
  },
  vjp: (k, { dy, ins }) => [k.reshape(dy(0), k.typeOf(at(ins, 0)).dims)],
  run: (tf, ins, { type }) => tf.reshape(at(ins, 0), shapeOf(type)),
  flops: () => 0,
};

const broadcast: OpDef<{ type: TensorType }> = {
  name: "broadcast",
  doc: "x repeated along new leading dims and along dims of size 1.",
  attrs: { type: "type" },
  infer(ins, { type }) {
    expectArity("broadcast", ins, 1);
    const x = at(ins, 0);
    const dims = broadcastDims("broadcast", x.dims, type.dims);
    if (dims.some((d, i) => d.size !== type.dims[i]?.size))
      broken("broadcast", `[${formatDims(x.dims)}] does not stretch to [${formatDims(type.dims)}]`);
    return [tensor(x.dtype, type.dims)];
  },
  vjp: (k, { dy, ins }) => [k.unbroadcast(dy(0), k.typeOf(at(ins, 0)))],
  run(_tf, ins, _attrs, { onHost, outs }) {
    const shape = shapeOf(at(outs, 0));
    return onHost(ins, outs, ([x], [out]) =>
      copy(given(out), natural(shape), given(x), broadcastWalk(at(ins, 0).shape, shape), shape),
    );
  },
  flops: () => 0,
};

const transpose: OpDef<{ permutation: readonly number[] }> = {
  name: "transpose",
  doc: "Result dim i is operand dim permutation[i].",
  attrs: { permutation: "ints" },
  infer(ins, { permutation }) {
    expectArity("transpose", ins, 1);
    const x = at(ins, 0);
    if (permutation.length !== rankOf(x) || range(rankOf(x)).some((axis) => !permutation.includes(axis)))
      broken("transpose", `[${permutation}] is not a permutation of the axes of [${formatDims(x.dims)}]`);
    return [
      tensor(
        x.dtype,
        permutation.map((axis) => dimAt(x, axis)),
      ),
    ];
  },
  vjp: (k, { dy, attrs: { permutation } }) => [
    k.transpose(
      dy(0),
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ],
  run(_tf, ins, { permutation }, { onHost, outs }) {
    const strides = rowMajor(at(ins, 0).shape);
    const shape = shapeOf(at(outs, 0));
    const from = { offset: 0, strides: permutation.map((axis) => at(strides, axis)) };
    return onHost(ins, outs, ([x], [out]) => copy(given(out), natural(shape), given(x), from, shape));
  },
  flops: () => 0,
};

const slice: OpDef<{ starts: readonly number[]; limits: readonly number[] }> = {
  name: "slice",
  doc: "Elements from starts (inclusive) to limits (exclusive) on every axis.",
  attrs: { starts: "ints", limits: "ints" },
  infer(ins, { starts, limits }) {
    expectArity("slice", ins, 1);
    const x = at(ins, 0);
    if (starts.length !== rankOf(x) || limits.length !== rankOf(x))
      broken(
        "slice",
        `starts and limits need ${rankOf(x)} entries, got ${starts.length} and ${limits.length}`,
      );
    return [
      tensor(
        x.dtype,
        x.dims.map((d, i) => {
          const [start, limit] = [at(starts, i), at(limits, i)];
          if (start < 0 || limit > d.size || start >= limit)
            broken("slice", `[${start}, ${limit}) is not within \`${d.label}=${d.size}\``);
          return dim(d.label, limit - start);
        }),
      ),
    ];
  },
  vjp: (k, { dy, ins, attrs: { starts, limits } }) => [
    k.one("pad", [dy(0)], {
      low: starts,
      high: k.dimsOf(at(ins, 0)).map((d, i) => d.size - at(limits, i)),
    }),
  ],
  run(_tf, ins, { starts }, { onHost, outs }) {
    const strides = rowMajor(at(ins, 0).shape);
    const shape = shapeOf(at(outs, 0));
    return onHost(ins, outs, ([x], [out]) =>
      copy(given(out), natural(shape), given(x), { offset: dotProduct(starts, strides), strides }, shape),
    );
  },
  flops: () => 0,
};

const pad: OpDef<{ low: readonly number[]; high: readonly number[] }> = {
  name: "pad",
  doc: "Zeros before (low) and after (high) on every axis.",
  attrs: { low: "ints", high: "ints" },
  infer(ins, { low, high }) {
    expectArity("pad", ins, 1);
    const x = at(ins, 0);
    if (low.length !== rankOf(x) || high.length !== rankOf(x) || [...low, ...high].some((n) => n < 0))
      broken("pad", `low and high need ${rankOf(x)} entries of zero or more, got [${low}] and [${high}]`);
    return [
      tensor(
        x.dtype,
        x.dims.map((d, i) => dim(d.label, d.size + at(low, i) + at(high, i))),
      ),
    ];
  },
  vjp: (k, { dy, ins, attrs: { low } }) => [
    k.one("slice", [dy(0)], {
      starts: low,
      limits: k.dimsOf(at(ins, 0)).map((d, i) => at(low, i) + d.size),
    }),
  ],
  run(_tf, ins, { low }, { onHost, outs }) {
    const shape = at(ins, 0).shape;
    const strides = rowMajor(shapeOf(at(outs, 0)));
    return onHost(ins, outs, ([x], [out]) =>
      copy(given(out), { offset: dotProduct(low, strides), strides }, given(x), natural(shape), shape),
    );
  },
  flops: () => 0,
};

const concatenate: OpDef<{ axis: number }> = {
  name: "concatenate",
  doc: "Operands one after another along the axis.",
  attrs: { axis: "int" },
  infer(ins, { axis }) {
    if (ins.length === 0) broken("concatenate", "takes one operand or more, got none");
    const first = at(ins, 0);
    for (const x of ins)
      if (rankOf(x) !== rankOf(first))
        broken(
          "concatenate",
          `operands differ off the axis: [${formatDims(first.dims)}] and [${formatDims(x.dims)}]`,
        );
    if (axis < 0 || axis >= rankOf(first))
      broken("concatenate", `axis ${axis} of [${formatDims(first.dims)}]`);
    const dims = first.dims.map((d, i) => {
      if (i === axis) {
        const labels = new Set(ins.map((x) => dimAt(x, axis).label));
        return dim(
          labels.size === 1 ? d.label : "_",
          ins.reduce((n, x) => n + dimAt(x, axis).size, 0),
        );
      }
      return ins.reduce((joined, x) => {
        const other = dimAt(x, i);
        const label = joinLabels(joined.label, other.label);
        if (other.size !== joined.size || label === undefined)
          broken(
            "concatenate",
            `operands differ off the axis: [${formatDims(first.dims)}] and [${formatDims(x.dims)}]`,
          );
        return dim(label, joined.size);
      }, d);
    });
    for (const x of ins)
      if (x.dtype !== first.dtype) broken("concatenate", `dtypes differ: ${first.dtype} and ${x.dtype}`);
    return [tensor(first.dtype, dims)];
  },
  vjp(k, { dy, ins, attrs: { axis } }) {
    let start = 0;
    return ins.map((x) => {
      const type = k.typeOf(x);
      const limit = start + dimAt(type, axis).size;
      const part = k.reshape(k.slice(dy(0), axis, start, limit), type.dims);
      start = limit;
      return part;
    });
  },
  run(_tf, ins, { axis }, { onHost, outs }) {
    const strides = rowMajor(shapeOf(at(outs, 0)));
    return onHost(ins, outs, (xs, [out]) => {
      let offset = 0;
      xs.forEach((x, i) => {
        const { shape } = at(ins, i);
        copy(given(out), { offset, strides }, x, natural(shape), shape);
        offset += at(shape, axis) * at(strides, axis);
      });
    });
  },
  flops: () => 0,
};

const reduceInfer = (
  op: string,
  ins: readonly TensorType[],
  axes: readonly number[],
): readonly TensorType[] => {
  expectArity(op, ins, 1);
  const x = at(ins, 0);
  if (axes.some((axis) => axis < 0 || axis >= rankOf(x)) || new Set(axes).size !== axes.length)
    broken(op, `axes [${axes}] of [${formatDims(x.dims)}]`);
  return [tensor(x.dtype, without(x.dims, axes))];
};

/** The dims of x with the reduced axes kept at size 1. */
const keptDims = (type: TensorType, axes: readonly number[]) =>
  type.dims.map((d, i) => (axes.includes(i) ? dim(d.label, 1) : d));

function reduce(
  body: string,
  start: number,
  x: Tensor,
  axes: readonly number[],
  { onHost, outs }: RunContext,
): Tensor[] {
  const type = at(outs, 0);
  const own = rowMajor(shapeOf(type));
  const strides = x.shape.map((_, axis) => (axes.includes(axis) ? 0 : (own.shift() ?? 0)));
  return onHost([x], outs, ([from], [out]) => {
    given(out).set(accumulate(body, start, given(from), x.shape, { offset: 0, strides }, elements(type)));
  });
}

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
  run: (_tf, ins, { axes }, cx) => reduce("a0[p0] += a1[p1]", 0, at(ins, 0), axes, cx),
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
  run: (_tf, ins, { axes }, cx) =>
    reduce("if (a1[p1] > a0[p0]) a0[p0] = a1[p1]", Number.NEGATIVE_INFINITY, at(ins, 0), axes, cx),
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
    return onHost(ins, outs, ([x], [out]) => runningSums(given(x), given(out), length, step, reverse));
  },
};

export const structuralOps: readonly OpDef[] = [
  constant,
  iota,
  reshape,
  broadcast,
  transpose,
  slice,
  pad,
  concatenate,
  reduceSum,
  reduceMax,
  cumsum,
];
