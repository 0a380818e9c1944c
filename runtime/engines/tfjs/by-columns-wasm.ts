// Products whose right side has each column in one piece, such as an embedding that is also the head, as a WebAssembly
// kernel over tfjs-wasm's own memory: the inner products of rows of a and columns of b, in double precision.
import { range } from "../../../compiler/ir/shape.ts";
import { demote, loadPair, loadSplat, plus, splatRows, storeLane, times, zeros } from "../../wasm/doubles.ts";
import {
  ADD,
  advance,
  type Code,
  each,
  get,
  int,
  isLess,
  isZero,
  kernelOver,
  type Memory,
  SUB,
  seq,
  set,
  shuffle,
  until,
} from "../../wasm/words.ts";

/** How many columns are worked on at once. */
export const LANES = 4;

/**
 * a [m, k] times b [k, 4·groups] into c: addresses and steps in bytes. The elements of a column of b lie side by side.
 * `bLane` leads from one of the columns worked on to the next, `bNext` to those after them; `cLane` and `cNext` do in c.
 */
export type ByColumns = (
  a: number,
  aRow: number,
  aStep: number,
  b: number,
  bLane: number,
  bNext: number,
  c: number,
  cRow: number,
  cLane: number,
  cNext: number,
  m: number,
  k: number,
  groups: number,
) => void;

const [A, A_ROW, A_STEP, B, B_LANE, B_NEXT] = [0, 1, 2, 3, 4, 5];
const [C, C_ROW, C_LANE, C_NEXT, M, K, GROUPS] = [6, 7, 8, 9, 10, 11, 12];
const [M_LEFT, K_LEFT, A_HERE, C_HERE, A_AT, AT] = [13, 14, 15, 16, 17, 18];
const COLUMNS = [19, 20, 21, 22];
/** Two pairs of sums for each of four rows. */
const SUMS = [23, 24, 25, 26, 27, 28, 29, 30];
const ELEMENTS = [31, 32, 33, 34, 35, 36, 37, 38];
const [FIRST, SECOND, PAIR] = [39, 40, 41];
const [INTS, VECTORS] = [10, 19];
const PAIRS = LANES / 2;
const FLOAT = 4;

const local = (locals: readonly number[], i: number): number => locals[i] ?? 0;

/** The first doubles of two vectors, and their second ones. */
const HALVES = [0, 8].map((from) => shuffle([0, 16].flatMap((of) => range(8).map((i) => of + from + i))));

/** All rows of a, from where it stands, with four columns of b: `rows` at a time. */
function tile(rows: number): Code {
  const sum = (row: number, pair: number): number => local(SUMS, PAIRS * row + pair);
  const element = (row: number, i: number): number => local(ELEMENTS, 2 * row + i);
  /** The next `count` elements of each row of a. */
  const load = (count: number): Code =>
    each(count, (i) =>
      seq(
        splatRows(rows, { first: A_AT, pitch: A_ROW, at: AT }, (row) => element(row, i)),
        advance(A_AT, get(A_STEP)),
      ),
    );
  /** A pair of elements of b, of two columns, times those of a. */
  const add = (pair: number, i: number, elements: Code): Code =>
    seq(
      seq(elements, set(PAIR)),
      each(rows, (row) =>
        seq(get(sum(row, pair)), get(element(row, i)), get(PAIR), times, plus, set(sum(row, pair))),
      ),
    );
  const columnsOf = (pair: number, load: Code): Code =>
    seq(
      seq(get(local(COLUMNS, 2 * pair)), load, set(FIRST)),
      seq(get(local(COLUMNS, 2 * pair + 1)), load, set(SECOND)),
    );
  const step = (count: number, body: Code): Code =>
    seq(
      load(count),
      body,
      each(LANES, (lane) => advance(local(COLUMNS, lane), int(FLOAT * count))),
      advance(K_LEFT, int(count), SUB),
    );
  const halves = (i: number): Code => seq(get(FIRST), get(SECOND), HALVES[i] ?? []);
  return until(
    seq(get(M_LEFT), int(rows), isLess),
    seq(
      each(LANES, (lane) =>
        seq(
          lane === 0 ? get(B) : seq(get(local(COLUMNS, lane - 1)), get(B_LANE), ADD),
          set(local(COLUMNS, lane)),
        ),
      ),
      each(rows * PAIRS, (i) => seq(zeros, set(local(SUMS, i)))),
      seq(get(A_HERE), set(A_AT), get(K), set(K_LEFT)),
      until(
        seq(get(K_LEFT), int(2), isLess),
        step(
          2,
          each(PAIRS, (pair) =>
            seq(columnsOf(pair, loadPair()), add(pair, 0, halves(0)), add(pair, 1, halves(1))),
          ),
        ),
      ),
      until(
        seq(get(K_LEFT), isZero),
        step(
          1,
          each(PAIRS, (pair) => seq(columnsOf(pair, loadSplat), add(pair, 0, halves(0)))),
        ),
      ),
      each(rows, (row) =>
        seq(
          seq(get(C_HERE), set(AT)),
          each(PAIRS, (pair) =>
            seq(
              seq(get(sum(row, pair)), demote, set(PAIR)),
              each(2, (lane) => seq(get(AT), get(PAIR), storeLane(lane), advance(AT, get(C_LANE)))),
            ),
          ),
          seq(advance(A_HERE, get(A_ROW)), advance(C_HERE, get(C_ROW))),
        ),
      ),
      advance(M_LEFT, int(rows), SUB),
    ),
  );
}

/** The kernel over a memory, or nothing where the machine has no vectors. */
export const byColumnsOver = (memory: Memory): ByColumns | undefined =>
  kernelOver(memory, {
    parameters: 13,
    integers: INTS,
    vectors: VECTORS,
    body: until(
      seq(get(GROUPS), isZero),
      seq(
        seq(get(A), set(A_HERE), get(C), set(C_HERE), get(M), set(M_LEFT)),
        ...[4, 2, 1].map(tile),
        seq(advance(B, get(B_NEXT)), advance(C, get(C_NEXT)), advance(GROUPS, int(1), SUB)),
      ),
    ),
  });
