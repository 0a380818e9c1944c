// Ops that make constants or move elements without arithmetic.
import { isFloat } from "../dtype.ts";
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
} from "../ir/shape.ts";
import type { TensorType } from "../ir/types.ts";
import { broadcastDims } from "./elementwise.ts";
import { copy, type NumberArray, rowMajor, type Walk } from "./loops.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity } from "./op.ts";

/** A result or operand that is always there: the op's arity says so. */
const given = (array: NumberArray | undefined): NumberArray => at([array], 0) as NumberArray;
const natural = (shape: readonly number[]): Walk => ({ offset: 0, strides: rowMajor(shape) });
const dotProduct = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + x * at(b, i), 0);

/** A number in the words common to JavaScript and C. */
function literal(value: number, { dtype }: TensorType): string {
  if (Number.isNaN(value)) return "NAN";
  if (!Number.isFinite(value)) return value > 0 ? "INFINITY" : "(-INFINITY)";
  const digits = String(Math.abs(value));
  const text = isFloat(dtype) && !/[.e]/.test(digits) ? `${digits}.0` : digits;
  return value < 0 || Object.is(value, -0) ? `(-${text})` : text;
}

const constant: OpDef<{ value: number; type: TensorType }> = {
  name: "constant",
  doc: "Every element has the given value.",
  attrs: { value: "float", type: "type" },
  discrete: true,
  infer(ins, { type }) {
    expectArity("constant", ins, 0);
    return [type];
  },
  scalar: (_operands, { value }, out) => literal(value, out),
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
  line: ({ axis, type }) => ({ axis, values: Int32Array.from(range(dimAt(type, axis).size)) }),
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
  moves: () => ({ kind: "reshape" }),
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
  moves: () => ({ kind: "stretch" }),
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
  moves: ({ permutation }) => ({ kind: "permute", permutation }),
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
  moves: ({ starts }) => ({ kind: "window", starts }),
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
    return onHost(ins, outs, ([x], [out]) => {
      given(out).fill(0);
      copy(given(out), { offset: dotProduct(low, strides), strides }, given(x), natural(shape), shape);
    });
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

export const structuralOps: readonly OpDef[] = [
  constant,
  iota,
  reshape,
  broadcast,
  transpose,
  slice,
  pad,
  concatenate,
];
