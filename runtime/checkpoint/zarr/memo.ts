// Decoded chunks of which only a part was wanted: the next box is often the next part of one of them.

/** The chunks decoded last, by name, in the order in which they were used. */
export type Memo = Map<string, Uint8Array>;

// Enough for the pieces of a layer's tensor to be there when the next layer wants its part of them.
const LIMIT = 1 << 27;

/** A chunk that was decoded lately. */
export function recall(memo: Memo, key: string): Uint8Array | undefined {
  const bytes = memo.get(key);
  if (bytes) {
    memo.delete(key);
    memo.set(key, bytes);
  }
  return bytes;
}

/** Makes room for so many bytes: together the chunks take no more than 128 MiB, unless it is one alone. */
export function forget(memo: Memo, length: number): void {
  let held = [...memo.values()].reduce((sum, bytes) => sum + bytes.length, length);
  for (const [key, bytes] of memo) {
    if (held <= LIMIT) return;
    memo.delete(key);
    held -= bytes.length;
  }
}
