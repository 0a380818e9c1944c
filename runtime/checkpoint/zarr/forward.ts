// Chunks too large to be kept: decoded from the first byte on, as far as ranges are asked for, and again for one that lies
// behind.
import type { Part } from "../box.ts";
import type { ByteRange, Encoded } from "../kv.ts";
import type { Pieces } from "../pieces.ts";
import type { Allocate } from "../tensors.ts";
import { failDamaged, type Site } from "./codecs.ts";

/** A chunk that is read without holding it. */
export type Forward = {
  /** Whether to read from an offset on it must be decoded from its beginning again. */
  isPast(offset: number): boolean;
  /** The bytes of a range, in `room`. */
  read(range: ByteRange, room: Allocate): Uint8Array;
  /** Bytes of memory that it takes, about. */
  held(): number;
};

/** What there is of a chunk too large to be kept: the way to go on, and a box that is held for the next ones in it. */
export type Large = {
  readonly forward: Forward;
  part: Part | undefined;
  /** Bytes of memory that both take, about. */
  held(): number;
};

/** A chunk of which nothing is held yet. */
export function beginLarge(forward: Forward): Large {
  const large: Large = {
    forward,
    part: undefined,
    held: () => forward.held() + (large.part?.bytes.length ?? 0),
  };
  return large;
}

/** That a chunk has the bytes that its shape says. */
export function requireLength(found: number, length: number, site: Site): void {
  if (found !== length) failDamaged(site, `expected ${length} bytes of elements, found ${found}`);
}

/** Reads a chunk where it lies, in any order. */
export const readDirect = ({ read }: Encoded): Forward => ({ isPast: () => false, read, held: () => 0 });

/**
 * Reads a chunk of `length` bytes from its pieces. If it is under a check sum, it is gone over once before: nothing is
 * read of what turns out to be damaged.
 */
export function readForward(open: () => Pieces, length: number, isSummed: boolean, site: Site): Forward {
  if (isSummed) for (const _ of open());
  let pieces = open()[Symbol.iterator]();
  let piece: Uint8Array = new Uint8Array();
  let start = 0;
  let failure: unknown;
  const begin = (): void => {
    [pieces, piece, start, failure] = [open()[Symbol.iterator](), new Uint8Array(), 0, undefined];
  };
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
  const isPast = (offset: number): boolean => offset < start;
  return {
    isPast,
    read({ offset, length: wanted }, room) {
      if (isPast(offset)) begin();
      const bytes = room(wanted);
      for (let done = 0; done < wanted; ) {
        const from = offset + done - start;
        const part = piece.subarray(from, from + wanted - done);
        bytes.set(part, done);
        done += part.length;
        if (done < wanted && !next()) requireLength(start, length, site);
      }
      // With the last byte of the chunk its encoded bytes must be at their end too.
      while (offset + wanted === length && next()) requireLength(start + piece.length, length, site);
      return bytes;
    },
    held: () => piece.buffer.byteLength,
  };
}
