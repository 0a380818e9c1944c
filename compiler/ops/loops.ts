// Copies between typed arrays by loops generated as JavaScript, one for each depth. Shapes are walked row-major; a walk
// says how far each axis moves in an array.
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

type Copy = (
  to: NumberArray,
  from: NumberArray,
  offsets: readonly number[],
  shape: readonly number[],
  strides: readonly (readonly number[])[],
) => void;

/** A copy by nested loops of a depth. */
function generate(depth: number): Copy {
  const lines = ["let p0 = offsets[0], p1 = offsets[1];"];
  for (let axis = 0; axis < depth; axis++)
    lines.push(
      `const n${axis} = shape[${axis}], s0_${axis} = strides[0][${axis}], s1_${axis} = strides[1][${axis}];`,
    );
  for (let axis = 0; axis < depth; axis++)
    lines.push(`for (let i${axis} = 0; i${axis} < n${axis}; i${axis}++) {`);
  lines.push("to[p0] = from[p1];");
  for (let axis = depth - 1; axis >= 0; axis--) {
    lines.push(`p0 += s0_${axis}; p1 += s1_${axis};`, "}");
    if (axis > 0) lines.push(`p0 -= n${axis} * s0_${axis}; p1 -= n${axis} * s1_${axis};`);
  }
  return new Function("to", "from", "offsets", "shape", "strides", lines.join("\n")) as Copy;
}

const copies: Copy[] = [];

/** Copies elements between two walks over a shape. */
export function copy(
  to: NumberArray,
  toWalk: Walk,
  from: NumberArray,
  fromWalk: Walk,
  shape: readonly number[],
): void {
  const collapsed = collapse(shape, [toWalk, fromWalk]);
  const depth = collapsed.shape.length;
  const run = copies[depth] ?? generate(depth);
  copies[depth] = run;
  run(to, from, [toWalk.offset, fromWalk.offset], collapsed.shape, collapsed.strides);
}
