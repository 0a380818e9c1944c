// Chunks too large to be kept: decoded from the first byte on, as far as ranges are asked for, which must come in order.
import type { ByteRange } from "../kv.ts";
import type { Pieces } from "../pieces.ts";
import type { Allocate } from "../tensors.ts";
import { failDamaged, type Site } from "./codecs.ts";

/** A chunk that is being decoded. */
export type Forward = {
  /** The bytes of a range, in `room`; nothing when it begins before the piece that was decoded last. */
  read(range: ByteRange, room: Allocate): Uint8Array | undefined;
  /** Bytes of memory that it takes, about. */
  held(): number;
};

/**
 * Reads a chunk of `length` bytes from its pieces. If it is under a check sum, it is gone over once before: nothing is
 * read of what turns out to be damaged.
 */
export function readForward(open: () => Pieces, length: number, isSummed: boolean, site: Site): Forward {
  if (isSummed) for (const _ of open());
  const pieces = open()[Symbol.iterator]();
  let piece: Uint8Array = new Uint8Array();
  let start = 0;
  let failure: unknown;
  const next = (): boolean => {
    // Behind damage there is nothing, however often it is asked for.
    if (failure !== undefined) throw failure;
    try {
      const { done, value } = pieces.next();
      start += piece.length;
      piece = value ?? new Uint8Array();
      return done !== true;
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  const failLength = (found: number): never =>
    failDamaged(site, `expected ${length} bytes of elements, found ${found}`);
  return {
    read({ offset, length: wanted }, room) {
      if (offset < start) return undefined;
      const bytes = room(wanted);
      for (let done = 0; done < wanted; ) {
        const from = offset + done - start;
        const part = piece.subarray(from, from + wanted - done);
        bytes.set(part, done);
        done += part.length;
        if (done < wanted && !next()) failLength(start);
      }
      // With the last byte of the chunk its encoded bytes must be at their end too.
      while (offset + wanted === length && next()) if (piece.length > 0) failLength(start + piece.length);
      return bytes;
    },
    held: () => piece.buffer.byteLength,
  };
}
