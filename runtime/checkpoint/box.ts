// Boxes of elements: the chunks of a grid, and moving elements between arrays that each hold a box.
import { invariant } from "../../compiler/diag.ts";
import type { Box } from "./tensors.ts";

/** How many elements a shape has. */
export const countOf = (shape: readonly number[]): number =>
  shape.includes(0) ? 0 : shape.reduce((n, size) => n * size, 1);

/** The box that is the whole of a shape. */
export const wholeBox = (shape: readonly number[]): Box => shape.map((size) => [0, size] as const);

/** The shape of a box. */
export const shapeOfBox = (box: Box): readonly number[] => box.map(([start, stop]) => stop - start);

/** Whether two boxes are the same. */
export const isSameBox = (a: Box, b: Box): boolean =>
  a.length === b.length && a.every(([start, stop], i) => start === b[i]?.[0] && stop === b[i]?.[1]);

/** What two boxes have in common; nothing when that is empty. */
export function intersect(a: Box, b: Box): Box | undefined {
  const common = a.map(([start, stop], i): readonly [number, number] => {
    const [otherStart, otherStop] = b[i] ?? [0, 0];
    return [Math.max(start, otherStart), Math.min(stop, otherStop)];
  });
  return common.every(([start, stop]) => start < stop) ? common : undefined;
}

/** A box must lie within the shape; anything else is a bug of the caller's. */
export function requireInside(box: Box, shape: readonly number[], name: string): void {
  const isInside =
    box.length === shape.length &&
    box.every(([start, stop], i) => start >= 0 && start <= stop && stop <= (shape[i] ?? 0));
  invariant(isInside, `box ${JSON.stringify(box)} is not within ${name} [${shape.join(", ")}]`);
}

/** Whether all of a box lies in another. */
export const isWithin = (box: Box, other: Box): boolean =>
  box.every(([start, stop], axis) => start >= (other[axis]?.[0] ?? 0) && stop <= (other[axis]?.[1] ?? 0));

/** Every index between `from` (inclusive) and `to` (exclusive), the last axis running fastest. Of rank 0: one. */
export function* indices(from: readonly number[], to: readonly number[]): Generator<readonly number[]> {
  if (from.some((start, i) => start >= (to[i] ?? 0))) return;
  const index = [...from];
  for (;;) {
    yield [...index];
    let axis = index.length - 1;
    while (axis >= 0) {
      const next = (index[axis] ?? 0) + 1;
      index[axis] = next < (to[axis] ?? 0) ? next : (from[axis] ?? 0);
      if (next < (to[axis] ?? 0)) break;
      axis--;
    }
    if (axis < 0) return;
  }
}

/** The full box of a chunk on a regular grid: at the border it reaches beyond the array. */
export const chunkBox = (index: readonly number[], chunk: readonly number[]): Box =>
  index.map((i, axis) => {
    const size = chunk[axis] ?? 1;
    return [i * size, (i + 1) * size] as const;
  });

/** Indices on the grid of the chunks that a box touches. */
export const chunksIn = (box: Box, chunk: readonly number[]): Generator<readonly number[]> =>
  indices(
    box.map(([start], axis) => Math.floor(start / (chunk[axis] ?? 1))),
    box.map(([start, stop], axis) => (start < stop ? Math.ceil(stop / (chunk[axis] ?? 1)) : 0)),
  );

/** How many chunks lie along each axis. */
export const gridOf = (shape: readonly number[], chunk: readonly number[]): readonly number[] =>
  shape.map((size, axis) => Math.ceil(size / (chunk[axis] ?? 1)));

const ROWS_BYTES = 1 << 26;

/**
 * The shape of chunks that are whole rows together, of at most 64 MiB and about the same size; `width` is bytes per
 * element. A row that is larger is cut along its own rows.
 */
export function chunkOfRows(shape: readonly number[], width: number): readonly number[] {
  const chunk = shape.map((size) => Math.max(1, size));
  for (const [axis, size] of chunk.entries()) {
    const row = countOf(chunk.slice(axis + 1)) * width;
    const pieces = Math.ceil(size / Math.max(1, Math.floor(ROWS_BYTES / row)));
    chunk[axis] = Math.ceil(size / pieces);
    if (row <= ROWS_BYTES) break;
  }
  return chunk;
}

/** The boxes of the chunks of a regular grid, clipped to the array, row-major over the grid. */
export function* chunkBoxes(shape: readonly number[], chunk: readonly number[]): Generator<Box> {
  const whole = wholeBox(shape);
  for (const index of chunksIn(whole, chunk)) yield intersect(chunkBox(index, chunk), whole) ?? whole;
}

/** Where in a row-major array of this shape a box begins, in elements. */
export const offsetOf = (box: Box, shape: readonly number[]): number =>
  box.reduce((at, [start], axis) => at * (shape[axis] ?? 1) + start, 0);

/** The smallest box around a box whose elements lie together in a row-major array of this shape. */
export function runAround(box: Box, shape: readonly number[]): Box {
  const axis = box.findIndex(([start, stop]) => stop - start !== 1);
  return box.map((range, i) => (axis < 0 || i <= axis ? range : [0, shape[i] ?? 1]));
}

/** A box cut in two between chunks of a regular grid; nothing when it lies in one chunk. */
export function halvesOf(box: Box, chunk: readonly number[]): readonly Box[] {
  const ends = box.map(([start, stop], axis) =>
    [start, stop - 1].map((at) => Math.floor(at / (chunk[axis] ?? 1))),
  );
  const axis = ends.findIndex(([first = 0, last = 0]) => first < last);
  const [[start, stop] = [0, 0], [first = 0, last = 0] = []] = [box[axis], ends[axis]];
  if (axis < 0) return [];
  const middle = Math.ceil((first + last) / 2) * (chunk[axis] ?? 1);
  return [box.with(axis, [start, middle]), box.with(axis, [middle, stop])];
}

/**
 * A box with what is next to it, of at most `limit` elements unless it has more itself: all of an axis, the last one first,
 * and of the one where that is too much what follows.
 */
export function widened(box: Box, shape: readonly number[], limit: number): Box {
  const wide = [...box];
  for (let axis = wide.length - 1; axis >= 0; axis--) {
    const [start, stop] = wide[axis] ?? [0, 0];
    const [size, across] = [shape[axis] ?? 1, countOf(shapeOfBox(wide)) / (stop - start)];
    if (across * size > limit) {
      const end = Math.min(size, start + Math.floor(limit / across));
      return wide.with(axis, [start, Math.max(stop, end)]);
    }
    wide[axis] = [0, size];
  }
  return wide;
}

/** The parts of a box, in their order, around none of which lie more than `limit` elements of an array of this shape. */
export function* bandsOf(box: Box, shape: readonly number[], limit: number): Generator<Box> {
  const axis = box.findIndex(([start, stop]) => stop - start > 1);
  if (axis < 0 || countOf(shapeOfBox(runAround(box, shape))) <= limit) {
    yield box;
    return;
  }
  const [first, end] = box[axis] ?? [0, 0];
  const step = Math.max(1, Math.floor(limit / countOf(shape.slice(axis + 1))));
  for (let at = first; at < end; at += step)
    yield* bandsOf(box.with(axis, [at, Math.min(end, at + step)]), shape, limit);
}

/** An array that holds a box of some larger one, row-major. */
export type Part = { readonly box: Box; readonly bytes: Uint8Array };

// Below this, a loop over bytes is quicker than setting a subarray.
const SHORT_RUN = 24;

/** Copies what two parts have in common from one to the other; `width` is bytes per element. */
export function copyBox(from: Part, to: Part, width: number): void {
  const common = intersect(from.box, to.box);
  if (!common) return;
  const sizes = shapeOfBox(common);
  const source = walk(from.box, common, width);
  const target = walk(to.box, common, width);
  // Axes that both arrays hold from end to end are one run with the axis before them.
  let inner = sizes.length;
  let run = width;
  while (inner > 0) {
    inner--;
    run *= sizes[inner] ?? 1;
    if (sizes[inner] !== source.sizes[inner] || sizes[inner] !== target.sizes[inner]) break;
  }
  const outer = sizes.slice(0, inner);
  const index = new Array<number>(inner).fill(0);
  let [read, write] = [source.start, target.start];
  const runs = countOf(outer);
  for (let n = 0; n < runs; n++) {
    if (run <= SHORT_RUN) for (let i = 0; i < run; i++) to.bytes[write + i] = from.bytes[read + i] ?? 0;
    else to.bytes.set(from.bytes.subarray(read, read + run), write);
    for (let axis = inner - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      const [readStep, writeStep] = [source.strides[axis] ?? 0, target.strides[axis] ?? 0];
      if (next < (outer[axis] ?? 0)) {
        index[axis] = next;
        read += readStep;
        write += writeStep;
        break;
      }
      index[axis] = 0;
      read -= readStep * (next - 1);
      write -= writeStep * (next - 1);
    }
  }
}

type Walk = {
  readonly start: number;
  readonly strides: readonly number[];
  readonly sizes: readonly number[];
};

/** Where a box within `outer`'s array starts, and how far apart its neighbours lie, in bytes. */
function walk(outer: Box, box: Box, width: number): Walk {
  const sizes = shapeOfBox(outer);
  const strides = sizes.map((_, axis) => sizes.slice(axis + 1).reduce((n, size) => n * size, width));
  const start = box.reduce(
    (at, [from], axis) => at + (from - (outer[axis]?.[0] ?? 0)) * (strides[axis] ?? 0),
    0,
  );
  return { start, strides, sizes };
}

/** A row-major array with its axes in another order: axis `i` of the result is axis `order[i]` of the input. */
export function permute(
  bytes: Uint8Array,
  shape: readonly number[],
  order: readonly number[],
  width: number,
): Uint8Array {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((n, size) => n * size, width));
  const sizes = order.map((axis) => shape[axis] ?? 1);
  const steps = order.map((axis) => strides[axis] ?? 0);
  const out = new Uint8Array(bytes.length);
  const index = new Array<number>(sizes.length).fill(0);
  let read = 0;
  for (let write = 0; write < out.length; write += width) {
    for (let i = 0; i < width; i++) out[write + i] = bytes[read + i] ?? 0;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      const step = steps[axis] ?? 0;
      if (next < (sizes[axis] ?? 1)) {
        index[axis] = next;
        read += step;
        break;
      }
      index[axis] = 0;
      read -= step * (next - 1);
    }
  }
  return out;
}
