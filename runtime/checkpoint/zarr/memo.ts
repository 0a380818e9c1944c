// Decoded chunks of which only a part was wanted: the next box is often the next part of one of them.
import type { Large } from "./forward.ts";

/** All of a chunk, and the memory that its bytes lie in if that is its own, for another chunk when this one goes. */
export type Whole = { readonly bytes: Uint8Array; readonly memory?: Uint8Array };

/** A chunk that was found to be whole, and is read where it lies. */
export const SOUND = "sound";

/** What there is of a chunk: all of it, or the way to more of it, or nothing but that it is sound. */
export type Kept = Whole | Large | typeof SOUND;

export const isWhole = (kept: Kept): kept is Whole => kept !== SOUND && "bytes" in kept;
export const isLarge = (kept: Kept): kept is Large => kept !== SOUND && !isWhole(kept);

/** The chunks decoded last, by name, in the order in which they were used. */
export type Memo = Map<string, Kept>;

// Enough for the pieces of a layer's tensor to be there when the next layer wants its part of them.
const LIMIT = 1 << 27;

/** Whether a chunk of so many bytes would push out all others. */
export const isTooLarge = (length: number): boolean => length > LIMIT;

/** A chunk that was decoded lately. */
export function recall(memo: Memo, key: string): Kept | undefined {
  const kept = memo.get(key);
  if (kept) {
    memo.delete(key);
    memo.set(key, kept);
  }
  return kept;
}

/** Bytes of memory that a chunk takes. */
export function heldBy(kept: Kept): number {
  if (kept === SOUND) return 0;
  return isWhole(kept) ? (kept.memory ?? kept.bytes).length : kept.held();
}

/**
 * Makes room for so many bytes: together the chunks take no more than 128 MiB, unless it is one alone. The memory of a
 * chunk that went, if any: with it the next one need not be new pages of the system's.
 */
export function forget(memo: Memo, length: number): Uint8Array | undefined {
  let held = [...memo.values()].reduce((sum, kept) => sum + heldBy(kept), length);
  let free: Uint8Array | undefined;
  for (const [key, kept] of memo) {
    if (held <= LIMIT) break;
    if (kept === SOUND) continue;
    memo.delete(key);
    held -= heldBy(kept);
    if (isWhole(kept) && kept.memory && kept.memory.length >= (free?.length ?? 0)) free = kept.memory;
  }
  return free;
}
