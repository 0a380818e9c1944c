// The memory of each thread that vector kernels reach. It holds tiles of what lies elsewhere, and lends room for whole
// tensors: elements that lie here already are rearranged without being copied here and back.
import { allocateAgain } from "../files.ts";
import { type Memory, memoryOf } from "../wasm/words.ts";
import type { Allocate } from "./tensors.ts";

/** Room for a tile of what is read, and one of what is written. */
export const TILE_BYTES = 1 << 21;
/** As many lines of the cache as each has bytes. */
const BENCH_BYTES = 64 * 64;
/** Room that is lent: a block of a conversion, or what one is made of. */
const LENT_BYTES = 1 << 25;

export type VectorMemory = {
  readonly memory: Memory;
  readonly tiles: readonly [Uint8Array, Uint8Array];
  /** The address of BENCH_BYTES for what a kernel has in its hands. */
  readonly bench: number;
  readonly lent: Readonly<Record<Side, Uint8Array>>;
};

type Side = "source" | "target";

function open(): VectorMemory | undefined {
  const memory = memoryOf(2 * TILE_BYTES + 2 * LENT_BYTES + BENCH_BYTES);
  if (!memory) return undefined;
  const part = (start: number, length: number): Uint8Array => new Uint8Array(memory.buffer, start, length);
  const [lent, other] = [2 * TILE_BYTES, 2 * TILE_BYTES + LENT_BYTES];
  return {
    memory,
    tiles: [part(0, TILE_BYTES), part(TILE_BYTES, TILE_BYTES)],
    bench: 2 * TILE_BYTES + 2 * LENT_BYTES,
    lent: { source: part(lent, LENT_BYTES), target: part(other, LENT_BYTES) },
  };
}

let opened: VectorMemory | false | undefined;

/** This thread's memory, or nothing where there is no WebAssembly. */
export function vectorMemory(): VectorMemory | undefined {
  opened ??= open() ?? false;
  return opened || undefined;
}

/** The largest block that a conversion makes; memory for more is not kept. */
const LARGEST_BYTES = 1 << 28;
const larger = { source: allocateAgain(LARGEST_BYTES), target: allocateAgain(LARGEST_BYTES) };

/**
 * Lends the same room again each time, to who is done with what was there. The room begins `phase` bytes after a block of
 * memory does, so that it can lie in memory as it will in a file, unless it is a large one.
 */
export const lend =
  (side: Side, phase = 0): Allocate =>
  (length) => {
    const room = vectorMemory()?.lent[side];
    return room && phase + length <= room.length
      ? room.subarray(phase, phase + length)
      : larger[side](length);
  };
