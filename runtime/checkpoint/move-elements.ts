// Moving elements from one array to another by nested loops with a step on either side: copies, slices, transposes and
// every rearrangement of factors are this.
import { invariant } from "../../compiler/diag.ts";
import type { Factors } from "./layout.ts";
import { isLarge, type Matrix, transpose, type Width } from "./transpose.ts";

/** How many times, and how far apart the elements lie on either side, in elements. */
export type Loop = { readonly size: number; readonly from: number; readonly to: number };

type Words = Uint8Array | Uint16Array | Uint32Array;

/** Bytes as unsigned numbers of a width; a copy when they lie askew in their buffer. */
function wordsOf(bytes: Uint8Array, width: Width): Words {
  if (width === 1) return bytes;
  const { buffer, byteOffset } = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const count = bytes.length / width;
  return width === 2
    ? new Uint16Array(buffer, byteOffset, count)
    : new Uint32Array(buffer, byteOffset, count);
}

/** A side of a move: bytes, and the element at which the loops begin. Target bytes lie at a multiple of the width. */
export type Side = { readonly bytes: Uint8Array; readonly start: number };

/** Moves elements of `width` bytes, which is 1, 2 or a multiple of 4. */
export function moveElements(from: Side, to: Side, loops: readonly Loop[], width: number): void {
  const word = width % 4 === 0 ? 4 : width;
  invariant(word === 1 || word === 2 || word === 4, `elements of ${width} bytes are moved as words`);
  invariant(to.bytes.byteOffset % word === 0, "the target of a move is aligned");
  const per = width / word;
  const inWords = [
    ...loops.map(({ size, from, to }) => ({ size, from: from * per, to: to * per })),
    { size: per, from: 1, to: 1 },
  ];
  walk(wordsOf(from.bytes, word), from.start * per, wordsOf(to.bytes, word), to.start * per, merged(inWords));
}

/** The same loops in the target's order, without those of one turn, and with those that run on from each other as one. */
function merged(loops: readonly Loop[]): readonly Loop[] {
  const ordered = loops.filter(({ size }) => size !== 1).toSorted((a, b) => b.to - a.to);
  const out: Loop[] = [];
  for (const loop of ordered) {
    const outer = out.at(-1);
    const runsOn = outer && outer.from === loop.from * loop.size && outer.to === loop.to * loop.size;
    if (runsOn) out[out.length - 1] = { size: outer.size * loop.size, from: loop.from, to: loop.to };
    else out.push(loop);
  }
  return out;
}

/** Runs the innermost loops at every index of the others. */
function walk(from: Words, fromStart: number, to: Words, toStart: number, loops: readonly Loop[]): void {
  if (loops.some(({ size }) => size === 0)) return;
  const row = loops.at(-1) ?? { size: 1, from: 1, to: 1 };
  // Where the target's neighbours lie far apart in the source, the loop over the source's neighbours goes with them.
  const column = row.from === 1 ? undefined : loops.slice(0, -1).toSorted((a, b) => a.from - b.from)[0];
  const outer = loops.filter((loop) => loop !== row && loop !== column);
  const index = outer.map(() => 0);
  let [read, write] = [fromStart, toStart];
  for (;;) {
    if (column) transposeWords(from, read, to, write, column, row);
    else copy(from, read, to, write, row);
    let axis = outer.length - 1;
    for (; axis >= 0; axis--) {
      const loop = outer[axis];
      const next = (index[axis] ?? 0) + 1;
      if (!loop) continue;
      if (next < loop.size) {
        index[axis] = next;
        read += loop.from;
        write += loop.to;
        break;
      }
      index[axis] = 0;
      read -= loop.from * (next - 1);
      write -= loop.to * (next - 1);
    }
    if (axis < 0) return;
  }
}

// Below this many words, a loop is quicker than setting a subarray.
const SHORT = 16;

function copy(
  from: Words,
  read: number,
  to: Words,
  write: number,
  { size, from: step, to: stride }: Loop,
): void {
  if (step === 1 && stride === 1 && size > SHORT) to.set(from.subarray(read, read + size), write);
  else for (let i = 0; i < size; i++) to[write + i * stride] = from[read + i * step] ?? 0;
}

// A tile of this many words a side has its lines of source and of target in the first cache together.
const TILE = 16;

/** Two loops at once, because either side strides in one of them: by vectors, or in words tile by tile. */
function transposeWords(from: Words, read: number, to: Words, write: number, column: Loop, row: Loop): void {
  const width = from.BYTES_PER_ELEMENT as Width;
  if (column.from === 1 && row.to === 1 && isLarge(row.size, column.size, width)) {
    const [source, target] = [matrixIn(from, read, row.from), matrixIn(to, write, column.to)];
    if (transpose(source, target, row.size, column.size, width)) return;
  }
  for (let r0 = 0; r0 < row.size; r0 += TILE)
    for (let c0 = 0; c0 < column.size; c0 += TILE) {
      const [rows, columns] = [Math.min(r0 + TILE, row.size), Math.min(c0 + TILE, column.size)];
      for (let c = c0; c < columns; c++)
        for (let r = r0; r < rows; r++)
          to[write + r * row.to + c * column.to] = from[read + r * row.from + c * column.from] ?? 0;
    }
}

const matrixIn = (words: Words, start: number, pitch: number): Matrix => ({
  bytes: new Uint8Array(words.buffer, words.byteOffset, words.byteLength),
  start: start * words.BYTES_PER_ELEMENT,
  pitch: pitch * words.BYTES_PER_ELEMENT,
});

/** How far apart neighbours along each factor lie in a row-major array of this shape, whose axes are made of factors. */
export function stepsOf(dims: Factors, shape: readonly number[]): ReadonlyMap<string, number> {
  const steps = new Map<string, number>();
  let step = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    let within = step;
    for (const { key, size } of (dims[axis] ?? []).toReversed()) {
      steps.set(key, within);
      within *= size;
    }
    step *= shape[axis] ?? 1;
  }
  return steps;
}
