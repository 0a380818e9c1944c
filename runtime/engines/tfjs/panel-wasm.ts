// The inner loops of a matrix product as a WebAssembly module over tfjs-wasm's own memory: m rows of a against a panel
// of eight columns of b, summed in double precision two columns at a time.
import {
  ADD,
  advance,
  type Code,
  get,
  int,
  isLess,
  isZero,
  kernelOver,
  type Memory,
  SUB,
  seq,
  set,
  simd,
  until,
} from "../../wasm/words.ts";

/** Rows at `a` times a panel at `b` into rows at `c`: addresses and steps in bytes. */
export type Panel = (
  a: number,
  aRow: number,
  aStep: number,
  b: number,
  bStep: number,
  c: number,
  cRow: number,
  m: number,
  k: number,
) => void;

const [A, A_ROW, A_STEP, B, B_STEP, C, C_ROW, M, K] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const [P, B_AT] = [9, 10];
const A_AT = [11, 12, 13, 14];
/** The panel's row of eight, as four pairs of doubles. */
const PAIRS = [15, 16, 17, 18];
const SPLAT = 19;
/** Four pairs of sums for each of four rows. */
const SUMS = Array.from({ length: 16 }, (_, i) => 20 + i);
const [INTS, VECTORS] = [6, 21];

/** Two floats as doubles: v128.load64_zero, f64x2.promote_low_f32x4. */
const loadPair = (offset: number): Code => [...simd(93), 2, offset, ...simd(95)];
/** One float as two doubles: f32.load, f64.promote_f32, f64x2.splat. */
const loadSplat: Code = [0x2a, 2, 0, 0xbb, ...simd(20)];
/** Two doubles as floats: v128.store64_lane of what f32x4.demote_f64x2_zero left. */
const demote = simd(94);
const storePair = (offset: number): Code => [...simd(91), 2, offset, 0];
const zeros: Code = [...simd(12), ...new Array<number>(16).fill(0)];
const times = simd(242);
const plus = simd(240);

/** `rows` rows of the product, and on to the next. */
function rowsOf(rows: number): Code {
  const each = (code: (row: number) => Code): Code =>
    seq(...Array.from({ length: rows }, (_, row) => code(row)));
  const at = (row: number): number => A_AT[row] ?? 0;
  const sum = (row: number, pair: number): number => SUMS[4 * row + pair] ?? 0;
  const pairs = (code: (local: number, pair: number) => Code): Code => seq(...PAIRS.map(code));
  return seq(
    each((row) => seq(row === 0 ? get(A) : seq(get(at(row - 1)), get(A_ROW), ADD), set(at(row)))),
    each((row) => pairs((_, pair) => seq(zeros, set(sum(row, pair))))),
    seq(get(B), set(B_AT), get(K), set(P)),
    until(
      seq(get(P), isZero),
      seq(
        pairs((local, pair) => seq(get(B_AT), loadPair(8 * pair), set(local))),
        each((row) =>
          seq(
            get(at(row)),
            loadSplat,
            set(SPLAT),
            pairs((local, pair) =>
              seq(get(sum(row, pair)), get(SPLAT), get(local), times, plus, set(sum(row, pair))),
            ),
            advance(at(row), get(A_STEP)),
          ),
        ),
        advance(B_AT, get(B_STEP)),
        advance(P, int(1), SUB),
      ),
    ),
    each((row) =>
      seq(
        pairs((_, pair) => seq(get(C), get(sum(row, pair)), demote, storePair(8 * pair))),
        advance(C, get(C_ROW)),
        advance(A, get(A_ROW)),
      ),
    ),
    advance(M, int(rows), SUB),
  );
}

/** The panel product over a memory, or nothing where the machine has no vectors. */
export const panelOver = (memory: Memory): Panel | undefined =>
  kernelOver(memory, {
    parameters: 9,
    integers: INTS,
    vectors: VECTORS,
    body: seq(until(seq(get(M), int(4), isLess), rowsOf(4)), until(seq(get(M), isZero), rowsOf(1))),
  });
