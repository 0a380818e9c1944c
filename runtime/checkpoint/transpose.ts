// Transposing matrices of elements of 1, 2 or 4 bytes with vectors: squares of as many rows as elements fit in a vector,
// each by interleaving its vectors with each other once for every factor of two in that number.
import {
  ADD,
  advance,
  type Code,
  each,
  either,
  get,
  int,
  isLess,
  isZero,
  type Kernel,
  kernelOver,
  loadVector,
  MUL,
  SUB,
  select,
  seq,
  set,
  shuffle,
  storeVector,
  until,
} from "../wasm/words.ts";
import { TILE_BYTES, type VectorMemory, vectorMemory } from "./vector-memory.ts";

/** Bytes per element. */
export type Width = 1 | 2 | 4;

/** A matrix within bytes: where it begins and how far apart its rows are, in bytes; the elements of a row touch. */
export type Matrix = { readonly bytes: Uint8Array; readonly start: number; readonly pitch: number };

const VECTOR = 16;
/** A line of the cache, which is filled whole before another is begun. */
const LINE = 64;

const [FROM, TO, ROWS, COLUMNS, PITCH, TO_PITCH, BENCH] = [0, 1, 2, 3, 4, 5, 6];
const [FIRST, END, ROW, COLUMN, LAST, INNER, READ, WRITE, AT, BEYOND] = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const VECTORS = 17;

/** The numbers of bytes that interleave elements of two vectors, beginning with their lower or their upper halves. */
const interleave = (width: Width, half: 0 | 1): Code =>
  shuffle(
    Array.from({ length: VECTOR }, (_, i) => {
      const element = Math.floor(i / width);
      return (element % 2) * VECTOR + half * (VECTOR / 2) + (element >> 1) * width + (i % width);
    }),
  );

/** A square at `READ` onto its transpose at `WRITE`. */
function square(width: Width): Code {
  const side = VECTOR / width;
  const lines = Array.from({ length: side }, (_, i) => i);
  // What a round reads is not what it writes.
  const local = (round: number, i: number): number => VECTORS + (round % 2) * side + i;
  const rounds = Array.from({ length: Math.log2(side) }, (_, round) =>
    seq(
      ...lines.map((i) =>
        seq(
          get(local(round, i >> 1)),
          get(local(round, (i >> 1) + side / 2)),
          interleave(width, i % 2 === 0 ? 0 : 1),
          set(local(round + 1, i)),
        ),
      ),
    ),
  );
  return seq(
    get(READ),
    set(AT),
    ...lines.map((i) => seq(get(AT), loadVector(), set(local(0, i)), advance(AT, get(PITCH)))),
    ...rounds,
    ...lines.map((i) => seq(get(WRITE), get(local(rounds.length, i)), storeVector(i * LINE))),
  );
}

/** Runs for `local` from one bound on, by steps, until the other. */
const along = (local: number, from: Code, to: Code, step: number, body: Code): Code =>
  seq(
    seq(from, set(local)),
    until(seq(get(local), to, isLess, isZero), seq(body, advance(local, int(step)))),
  );
/** The lesser of two. */
const least = (a: Code, b: Code): Code => seq(a, b, a, b, isLess, select);

/**
 * As many rows and columns at a time as fill a line of the cache: their transpose is made on a bench of its own, from
 * which whole lines go to the target. Lines that are a power of two apart have few places in the cache, and would drive
 * each other out of it before they are full. Rows and columns are multiples of a square's side.
 */
function codeFor(width: Width): Kernel {
  const side = VECTOR / width;
  const perLine = LINE / width;
  const scaled = (code: Code): Code => seq(code, int(width), MUL);
  const fill = along(
    ROW,
    get(FIRST),
    get(END),
    side,
    seq(
      seq(get(FROM), get(ROW), get(PITCH), MUL, ADD, scaled(get(COLUMN)), ADD, set(READ)),
      seq(get(BENCH), scaled(seq(get(ROW), get(FIRST), SUB)), ADD, set(WRITE)),
      along(
        INNER,
        get(COLUMN),
        get(LAST),
        side,
        seq(square(width), advance(READ, int(VECTOR)), advance(WRITE, int(side * LINE))),
      ),
    ),
  );
  const part = seq(
    seq(get(READ), scaled(seq(get(END), get(FIRST), SUB)), ADD, set(BEYOND)),
    seq(get(WRITE), set(AT)),
    along(
      ROW,
      get(READ),
      get(BEYOND),
      VECTOR,
      seq(get(AT), get(ROW), loadVector(), storeVector(), advance(AT, int(VECTOR))),
    ),
  );
  const line = each(LINE / VECTOR, (i) =>
    seq(get(WRITE), get(READ), loadVector(i * VECTOR), storeVector(i * VECTOR)),
  );
  const isShort = seq(get(END), get(FIRST), SUB, int(perLine), isLess);
  const clear = along(
    INNER,
    get(COLUMN),
    get(LAST),
    1,
    seq(either(isShort, part, line), advance(READ, int(LINE)), advance(WRITE, get(TO_PITCH))),
  );
  return {
    parameters: 7,
    integers: VECTORS - 7,
    vectors: 2 * side,
    body: along(
      FIRST,
      int(0),
      get(ROWS),
      perLine,
      seq(
        seq(least(seq(get(FIRST), int(perLine), ADD), get(ROWS)), set(END)),
        along(
          COLUMN,
          int(0),
          get(COLUMNS),
          perLine,
          seq(
            seq(least(seq(get(COLUMN), int(perLine), ADD), get(COLUMNS)), set(LAST)),
            fill,
            seq(get(BENCH), set(READ)),
            seq(get(TO), get(COLUMN), get(TO_PITCH), MUL, ADD, scaled(get(FIRST)), ADD, set(WRITE)),
            clear,
          ),
        ),
      ),
    ),
  };
}

const kernels = new Map<Width, ReturnType<typeof kernelOver>>();

/** The kernel for a width over this thread's memory, or nothing where the machine has no vectors. */
function kernelFor(width: Width, { memory }: VectorMemory): ReturnType<typeof kernelOver> {
  if (!kernels.has(width)) kernels.set(width, kernelOver(memory, codeFor(width)));
  return kernels.get(width);
}

/** Rows of a tile where all do not fit, so that the target's rows in it are long as well. */
const TILE_ROWS = 1024;

/** Fewer elements a side, or bytes in all, are moved as soon by loops. */
const [SHORT, FEW] = [4, 1 << 11];

/** Whether transposing so many rows and columns by vectors is worth its while. */
export const isLarge = (rows: number, columns: number, width: Width): boolean =>
  rows >= SHORT && columns >= SHORT && rows * columns * width >= FEW;

/** Transposes a matrix of so many rows and columns; false where the machine has no vectors. */
export function transpose(from: Matrix, to: Matrix, rows: number, columns: number, width: Width): boolean {
  const vectors = vectorMemory();
  const kernel = vectors && kernelFor(width, vectors);
  if (!kernel) return false;
  const side = VECTOR / width;
  const whole = (n: number): number => Math.ceil(n / side) * side;
  const isSmall = whole(rows) * whole(columns) * width <= TILE_BYTES;
  const tileRows = isSmall ? rows : Math.min(rows, TILE_ROWS);
  const fitting = Math.floor(TILE_BYTES / width / whole(tileRows) / side) * side;
  const tileColumns = Math.min(columns, fitting);
  // Squares may go to and come from where the elements are, if they are in this memory and no square sticks out.
  const isWhole = rows % side === 0 && columns % side === 0;
  const isThere = ({ bytes }: Matrix): boolean => isWhole && bytes.buffer === vectors.memory.buffer;
  for (let row = 0; row < rows; row += tileRows)
    for (let column = 0; column < columns; column += tileColumns) {
      const [m, n] = [Math.min(tileRows, rows - row), Math.min(tileColumns, columns - column)];
      const source = { ...from, start: from.start + row * from.pitch + column * width };
      const target = { ...to, start: to.start + column * to.pitch + row * width };
      const read = isThere(from) ? source : { bytes: vectors.tiles[0], start: 0, pitch: whole(n) * width };
      const write = isThere(to) ? target : { bytes: vectors.tiles[1], start: 0, pitch: whole(m) * width };
      if (read !== source) copyRows(source, read, m, n * width);
      kernel(addressOf(read), addressOf(write), whole(m), whole(n), read.pitch, write.pitch, vectors.bench);
      if (write !== target) copyRows(write, target, n, m * width);
    }
  return true;
}

const addressOf = ({ bytes, start }: Matrix): number => bytes.byteOffset + start;

function copyRows(from: Matrix, to: Matrix, rows: number, length: number): void {
  const isOne = from.pitch === length && to.pitch === length;
  const [count, run] = isOne ? [1, rows * length] : [rows, length];
  for (let row = 0; row < count; row++) {
    const start = from.start + row * from.pitch;
    to.bytes.set(from.bytes.subarray(start, start + run), to.start + row * to.pitch);
  }
}
