// Products whose right side has its columns side by side, as a WebAssembly kernel over tfjs-wasm's own memory: a row of
// b times an element of a is added to a row of sums in double precision. b is read row after row as it lies, as fast as
// memory gives it; only the sums are read and written again.
import { demote, loadPair, plus, splatRows, storePair, times, zeros } from "../../wasm/doubles.ts";
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
  kernelOver,
  loadVector,
  type Memory,
  SUB,
  seq,
  set,
  storeVector,
  until,
} from "../../wasm/words.ts";

/** How many columns make a group. */
export const GROUP = 8;
const PAIRS = GROUP / 2;
/** How many floats' room the sums of a group take. */
export const SUMS = 4 * GROUP;
const [FLOATS, DOUBLES] = [8, 16];

/** a [m, k] times b [k, 8·groups] into rows at `c`, by way of `sums`: addresses and steps in bytes. */
export type ByRows = (
  a: number,
  aRow: number,
  aStep: number,
  b: number,
  bRow: number,
  c: number,
  cRow: number,
  m: number,
  k: number,
  groups: number,
  sums: number,
) => void;

const [A, A_ROW, A_STEP, B, B_ROW, C, C_ROW, M, K, GROUPS, SUMS_AT] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const [K_LEFT, LEFT, SUM_AT, A_AT, B_AT, C_AT, AT] = [11, 12, 13, 14, 15, 16, 17];
const B_ROWS = [18, 19, 20, 21];
const ELEMENTS = [22, 23, 24, 25];
const B_PAIRS = [26, 27, 28, 29];
const [INTS, VECTORS] = [11, 8];

/**
 * How many rows of a are worked on at once, and how many rows of b are added before the sums are stored: more of either
 * need more registers than there are. One row of a takes more of b, or storing would be most of its work.
 */
const TILES = [
  { rows: 2, depth: 2 },
  { rows: 1, depth: 4 },
];

const local = (locals: readonly number[], i: number): number => locals[i] ?? 0;

/** All rows of a from where it stands, `rows` at a time. */
function tile({ rows, depth }: (typeof TILES)[number]): Code {
  const eachSum = (code: (pair: number, row: number, offset: number) => Code): Code =>
    each(PAIRS, (pair) => each(rows, (row) => code(pair, row, DOUBLES * (pair * rows + row))));
  const overGroups = (body: Code): Code =>
    seq(
      seq(get(SUMS_AT), set(SUM_AT), get(GROUPS), set(LEFT)),
      until(
        seq(get(LEFT), isZero),
        seq(body, advance(SUM_AT, int(DOUBLES * PAIRS * rows)), advance(LEFT, int(1), SUB)),
      ),
    );
  const element = (row: number, i: number): number => local(ELEMENTS, depth * row + i);
  /** The next `count` rows of b, each times its elements of a, onto sums that are there or are zero. */
  const add = (count: number, before: (offset: number) => Code): Code =>
    seq(
      each(count, (i) =>
        seq(
          splatRows(rows, { first: A_AT, pitch: A_ROW, at: AT }, (row) => element(row, i)),
          advance(A_AT, get(A_STEP)),
          seq(get(B_AT), set(local(B_ROWS, i)), advance(B_AT, get(B_ROW))),
        ),
      ),
      overGroups(
        seq(
          each(PAIRS, (pair) =>
            seq(
              each(count, (i) => seq(get(local(B_ROWS, i)), loadPair(FLOATS * pair), set(local(B_PAIRS, i)))),
              each(rows, (row) => {
                const offset = DOUBLES * (pair * rows + row);
                return seq(
                  seq(get(SUM_AT), before(offset)),
                  each(count, (i) => seq(get(element(row, i)), get(local(B_PAIRS, i)), times, plus)),
                  storeVector(offset),
                );
              }),
            ),
          ),
          each(count, (i) => advance(local(B_ROWS, i), int(FLOATS * PAIRS))),
        ),
      ),
      advance(K_LEFT, int(count), SUB),
    );
  const stored = (offset: number): Code => seq(get(SUM_AT), loadVector(offset));
  return until(
    seq(get(M), int(rows), isLess),
    seq(
      seq(get(A), set(A_AT), get(B), set(B_AT), get(K), set(K_LEFT)),
      either(
        seq(get(K), int(depth), isLess),
        overGroups(eachSum((_pair, _row, offset) => seq(get(SUM_AT), zeros, storeVector(offset)))),
        add(depth, () => zeros),
      ),
      until(seq(get(K_LEFT), int(depth), isLess), add(depth, stored)),
      until(seq(get(K_LEFT), isZero), add(1, stored)),
      seq(get(C), set(C_AT)),
      overGroups(
        seq(
          eachSum((pair, row, offset) =>
            seq(
              row === 0 ? get(C_AT) : seq(get(AT), get(C_ROW), ADD),
              seq(set(AT), get(AT), get(SUM_AT), loadVector(offset), demote, storePair(FLOATS * pair)),
            ),
          ),
          advance(C_AT, int(FLOATS * PAIRS)),
        ),
      ),
      each(rows, () => seq(advance(A, get(A_ROW)), advance(C, get(C_ROW)))),
      advance(M, int(rows), SUB),
    ),
  );
}

/** The kernel over a memory, or nothing where the machine has no vectors. */
export const byRowsOver = (memory: Memory): ByRows | undefined =>
  kernelOver(memory, {
    parameters: 11,
    integers: INTS,
    vectors: VECTORS,
    body: seq(...TILES.map(tile)),
  });
