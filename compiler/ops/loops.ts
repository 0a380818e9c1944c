// Loops over typed arrays, generated as JavaScript: one per body and depth, so that the engine's inner loops are as
// plain as hand-written ones. Shapes are walked row-major; a walk says how far each axis moves in an array.
import { at } from "./op.ts";

export type NumberArray = Float32Array | Float64Array | Int32Array | Uint8Array;

/** Where an array starts and how far one step along each axis of the walked shape moves in it; 0 repeats. */
export type Walk = { readonly offset: number; readonly strides: readonly number[] };

/** Row-major strides of a shape. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (const size of shape.toReversed()) {
    strides.unshift(step);
    step *= size;
  }
  return strides;
}

/** The walk over an operand that is broadcast to `shape`: trailing axes meet, size 1 repeats. */
export function broadcastWalk(own: readonly number[], shape: readonly number[]): Walk {
  const strides = rowMajor(own);
  const missing = shape.length - own.length;
  return {
    offset: 0,
    strides: shape.map((_, i) => (i < missing || own[i - missing] === 1 ? 0 : at(strides, i - missing))),
  };
}

/** Axes of size one dropped, and neighbours joined that every walk crosses as if they were one. */
function collapse(
  shape: readonly number[],
  walks: readonly Walk[],
): { shape: number[]; strides: number[][] } {
  const kept: number[] = [];
  const strides: number[][] = walks.map(() => []);
  shape.forEach((size, axis) => {
    if (size === 1) return;
    const last = kept.length - 1;
    const joins =
      last >= 0 && walks.every((walk, w) => at(at(strides, w), last) === at(walk.strides, axis) * size);
    if (joins) {
      kept[last] = at(kept, last) * size;
      walks.forEach((walk, w) => {
        at(strides, w)[last] = at(walk.strides, axis);
      });
    } else {
      kept.push(size);
      walks.forEach((walk, w) => {
        at(strides, w).push(at(walk.strides, axis));
      });
    }
  });
  return { shape: kept, strides };
}

type Kernel = (
  arrays: readonly NumberArray[],
  offsets: readonly number[],
  shape: readonly number[],
  strides: readonly (readonly number[])[],
) => void;
const kernels = new Map<string, Kernel>();

const MATH = "const { exp, log, log1p, sqrt, sin, cos, abs, max, min, floor, trunc } = Math;";

/** Nested loops of a depth around a body in which array w is `a<w>` at position `p<w>`. */
function generate(body: string, count: number, depth: number): Kernel {
  const names = Array.from({ length: count }, (_, w) => w);
  const lines = [MATH, ...names.map((w) => `const a${w} = arrays[${w}]; let p${w} = offsets[${w}];`)];
  for (let axis = 0; axis < depth; axis++)
    lines.push(
      `const n${axis} = shape[${axis}];`,
      ...names.map((w) => `const s${w}_${axis} = strides[${w}][${axis}];`),
    );
  for (let axis = 0; axis < depth; axis++)
    lines.push(`for (let i${axis} = 0; i${axis} < n${axis}; i${axis}++) {`);
  lines.push(`${body};`);
  for (let axis = depth - 1; axis >= 0; axis--) {
    lines.push(...names.map((w) => `p${w} += s${w}_${axis};`), "}");
    if (axis > 0) lines.push(...names.map((w) => `p${w} -= n${axis} * s${w}_${axis};`));
  }
  return new Function("arrays", "offsets", "shape", "strides", lines.join("\n")) as Kernel;
}

/** Runs a body at every index of a shape; array w is `a<w>` at `p<w>`. */
export function walk(
  body: string,
  shape: readonly number[],
  arrays: readonly NumberArray[],
  walks: readonly Walk[],
): void {
  const collapsed = collapse(shape, walks);
  const key = `${arrays.length}:${collapsed.shape.length}:${body}`;
  const kernel = kernels.get(key) ?? generate(body, arrays.length, collapsed.shape.length);
  kernels.set(key, kernel);
  kernel(
    arrays,
    walks.map(({ offset }) => offset),
    collapsed.shape,
    collapsed.strides,
  );
}

/** Copies elements between two walks. */
export function copy(
  to: NumberArray,
  toWalk: Walk,
  from: NumberArray,
  fromWalk: Walk,
  shape: readonly number[],
): void {
  walk("a0[p0] = a1[p1]", shape, [to, from], [toWalk, fromWalk]);
}

/** Sums, in double precision, of x over the axes whose stride in `outWalk` is 0. */
export function accumulate(
  body: string,
  start: number,
  x: NumberArray,
  shape: readonly number[],
  outWalk: Walk,
  outSize: number,
): Float64Array {
  const sums = new Float64Array(outSize).fill(start);
  walk(body, shape, [sums, x], [outWalk, { offset: 0, strides: rowMajor(shape) }]);
  return sums;
}
