// Shortening bytes to a few that have the same CRC-32C, sixteen at a time. Multiples of the polynomial count as zero. The
// shortest of six terms is 1 + x^14 + x^39 + x^54 + x^144 + x^209; its 128th power has each exponent 128 times, and is one
// too. So a vector of 128 bits may be struck out if it is added to the 65th, 155th, 170th, 195th and 209th after it.
import {
  advance,
  get,
  int,
  isZero,
  kernelOver,
  loadVector,
  memoryOf,
  SUB,
  seq,
  storeVector,
  until,
  XOR,
} from "../wasm/words.ts";

const VECTOR = 16;
const LAGS = [65, 155, 170, 195, 209];
/** The bytes that no vector is struck out of, because what it is added to would lie beyond the end. */
const REST = 209 * VECTOR;
const PIECE = 4096 * VECTOR;
/** Below this, shortening is not worth its while. */
export const FOLDABLE = 8 * REST;

const [AT, BEFORE, LEFT] = [0, 1, 2];
/** To each of the vectors at `at`, those are added that were struck out at its lags; `before` is REST bytes before. */
const fold = {
  parameters: 3,
  integers: 0,
  vectors: 0,
  body: until(
    seq(get(LEFT), isZero),
    seq(
      get(AT),
      get(AT),
      loadVector(),
      ...LAGS.map((lag) => seq(get(BEFORE), loadVector(REST - lag * VECTOR), XOR)),
      storeVector(),
      advance(AT, int(VECTOR)),
      advance(BEFORE, int(VECTOR)),
      advance(LEFT, int(1), SUB),
    ),
  ),
};

// In the memory: the REST bytes that were struck out last, the piece at hand after them, or in the end as many zeros, as
// nothing of the rest itself is struck out, and the rest.
const [LAST, NEXT, FINAL] = [0, REST, 2 * REST];

function open() {
  const memory = memoryOf(REST + PIECE);
  const kernel = memory && kernelOver(memory, fold);
  return memory && kernel ? { memory: new Uint8Array(memory.buffer), kernel } : undefined;
}

let opened: ReturnType<typeof open> | false | undefined;

/**
 * At most 3,360 bytes with which a register of 0 becomes what these bytes make of `register`; good until the next call.
 * Nothing where the machine has no vectors.
 */
export function shortened(bytes: Uint8Array, register: number): Uint8Array | undefined {
  opened ??= open() ?? false;
  if (!opened) return undefined;
  const { memory, kernel } = opened;
  const end = bytes.length - (bytes.length % VECTOR) - REST;
  memory.fill(0, LAST, NEXT);
  for (let at = 0; at < end; at += PIECE) {
    const length = Math.min(PIECE, end - at);
    memory.set(bytes.subarray(at, at + length), NEXT);
    if (at === 0)
      for (let i = 0; i < 4; i++) memory[NEXT + i] = (memory[NEXT + i] ?? 0) ^ (register >>> (8 * i));
    kernel(NEXT, LAST, length / VECTOR);
    memory.copyWithin(LAST, length, length + REST);
  }
  memory.fill(0, NEXT, FINAL);
  memory.set(bytes.subarray(end), FINAL);
  kernel(FINAL, LAST, REST / VECTOR);
  return memory.subarray(FINAL, FINAL + bytes.length - end);
}
