// Transposing matrices of elements of 1, 2 or 4 bytes with vectors: squares of as many rows as elements fit in a vector,
// each by interleaving its vectors with each other once for every factor of two in that number.
import {
  ADD,
  advance,
  type Code,
  get,
  int,
  isLess,
  isZero,
  type Kernel,
  kernelOver,
  loadVector,
  MUL,
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

const [FROM, TO, ROWS, COLUMNS, PITCH, TO_PITCH] = [0, 1, 2, 3, 4, 5];
const [FIRST, END, ROW, COLUMN, READ, WRITE, AT] = [6, 7, 8, 9, 10, 11, 12];
const VECTORS = 13;

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
    get(WRITE),
    set(AT),
    ...lines.map((i) =>
      seq(get(AT), get(local(rounds.length, i)), storeVector(), advance(AT, get(TO_PITCH))),
    ),
  );
}

const isAtLeast = (local: number, bound: number): Code => seq(get(local), get(bound), isLess, isZero);

/** Rows and columns are multiples of a square's side. */
function codeFor(width: Width): Kernel {
  const side = VECTOR / width;
  const lineRows = LINE / width;
  const inSquares = seq(
    advance(READ, seq(get(PITCH), int(side), MUL)),
    advance(WRITE, int(VECTOR)),
    advance(ROW, int(side)),
  );
  const ofLines = seq(
    seq(get(FROM), get(FIRST), get(PITCH), MUL, ADD, get(COLUMN), int(width), MUL, ADD, set(READ)),
    seq(get(TO), get(COLUMN), get(TO_PITCH), MUL, ADD, get(FIRST), int(width), MUL, ADD, set(WRITE)),
    seq(get(FIRST), set(ROW)),
    until(isAtLeast(ROW, END), seq(square(width), inSquares)),
    advance(COLUMN, int(side)),
  );
  const end = seq(get(FIRST), int(lineRows), ADD);
  return {
    parameters: 6,
    integers: VECTORS - 6,
    vectors: 2 * side,
    body: until(
      isAtLeast(FIRST, ROWS),
      seq(
        seq(end, get(ROWS), end, get(ROWS), isLess, select, set(END)),
        seq(int(0), set(COLUMN)),
        until(isAtLeast(COLUMN, COLUMNS), ofLines),
        seq(get(END), set(FIRST)),
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
      kernel(addressOf(read), addressOf(write), whole(m), whole(n), read.pitch, write.pitch);
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
