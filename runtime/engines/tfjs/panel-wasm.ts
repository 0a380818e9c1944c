// The inner loops of a matrix product as a WebAssembly module over tfjs-wasm's own memory: m rows of a against a panel
// of eight columns of b, summed in double precision two columns at a time. Written out as bytes by the words below.

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

/** A WebAssembly memory; what is used of WebAssembly, which no type library of Node's declares. */
export type Memory = { readonly buffer: ArrayBuffer };
type Wasm = {
  validate(bytes: Uint8Array): boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
};

type Code = readonly number[];
const seq = (...codes: readonly Code[]): Code => codes.flat();
/** Small numbers are their own encoding; larger ones go in groups of seven bits. */
const leb = (n: number): Code => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...leb(n >>> 7)]);
const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
const int = (n: number): Code => [0x41, ...leb(n)];
const ADD: Code = [0x6a];
const SUB: Code = [0x6b];
const isZero: Code = [0x45];
const isLess: Code = [0x48];
const simd = (op: number): Code => [0xfd, ...leb(op)];
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
/** A loop that ends as soon as the condition holds. */
const until = (ends: Code, body: Code): Code =>
  seq([0x02, 0x40, 0x03, 0x40], ends, [0x0d, 1], body, [0x0c, 0, 0x0b, 0x0b]);
const advance = (local: number, by: Code, op = ADD): Code => seq(get(local), by, op, set(local));

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

const section = (id: number, ...codes: readonly Code[]): Code => {
  const body = seq(...codes);
  return [id, ...leb(body.length), ...body];
};
const text = (name: string): Code => [name.length, ...Array.from(name, (letter) => letter.charCodeAt(0))];

function moduleBytes(): Uint8Array {
  const [i32, v128] = [0x7f, 0x7b];
  const code = seq(
    [2, INTS, i32, VECTORS, v128],
    until(seq(get(M), int(4), isLess), rowsOf(4)),
    until(seq(get(M), isZero), rowsOf(1)),
    [0x0b],
  );
  return Uint8Array.from(
    seq(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [1, 0x60, 9, ...new Array<number>(9).fill(i32), 0]),
      section(2, [1], text("tfjs"), text("memory"), [2, 0, 0]),
      section(3, [1, 0]),
      section(7, [1], text("panel"), [0, 0]),
      section(10, [1], leb(code.length), code),
    ),
  );
}

/** The panel product over a memory, or nothing where the machine has no vectors. */
export function panelOver(memory: Memory): Panel | undefined {
  const { WebAssembly: wasm } = globalThis as unknown as { readonly WebAssembly?: Wasm };
  const bytes = moduleBytes();
  if (!wasm?.validate(bytes)) return undefined;
  const instance = new wasm.Instance(new wasm.Module(bytes), { tfjs: { memory } });
  return instance.exports["panel"] as Panel;
}
