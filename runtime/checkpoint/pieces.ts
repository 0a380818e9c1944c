// Bytes that are gone over once, piece by piece: what is too large to be in memory at once. A piece is good until the next
// is asked for.
import type { Place } from "../../compiler/diag.ts";
import { allocate, fitting } from "../files.ts";
import type { Encoded } from "./kv.ts";

/** Something that gives pieces, once. */
export type Pieces = Iterable<Uint8Array, void>;

/** Thrown where bytes are not what they should be; the message says why. It never leaves a decoder. */
export class Damage extends Error {}

export function damage(problem: string): never {
  throw new Damage(problem);
}

/** As much as is still in the processor's cache when it is gone over. */
const PIECE = 1 << 19;

/** Bytes from the first to the last, a piece at a time. */
export function* readPieces({ size, read }: Encoded): Generator<Uint8Array, void> {
  const memory = allocate(Math.min(PIECE, size));
  for (let offset = 0; offset < size; offset += PIECE)
    yield read({ offset, length: Math.min(PIECE, size - offset) }, (length) => memory.subarray(0, length));
}

/** All of the bytes, of which there are at most `most`; `at` is where they are. */
export function joinPieces(pieces: Pieces, most: number, at: Place): Uint8Array {
  const bytes = fitting("value-too-large", `a value of ${most} bytes`, at, () => new Uint8Array(most));
  let end = 0;
  for (const piece of pieces) {
    bytes.set(piece, end);
    end += piece.length;
  }
  return end === most ? bytes : bytes.slice(0, end);
}

/** Bytes that are taken from the first to the last. What is taken is good until more is. */
export type Input = {
  position(): number;
  isAtEnd(): boolean;
  /** The next bytes; that they are not there is damage. */
  take(length: number): Uint8Array;
  /** As many of the next bytes as are at hand, no more than `most`; none only at the end. */
  takeSome(most: number): Uint8Array;
  skip(length: number): void;
};

/** Takes bytes from pieces. */
export function openInput(pieces: Pieces): Input {
  const source = pieces[Symbol.iterator]();
  let piece: Uint8Array = new Uint8Array();
  let [start, at] = [0, 0];
  const isAtEnd = (): boolean => {
    while (at === start + piece.length) {
      const { done, value } = source.next();
      if (done === true) return true;
      [start, piece] = [at, value];
    }
    return false;
  };
  const takeSome = (most: number): Uint8Array => {
    if (isAtEnd()) return new Uint8Array();
    const part = piece.subarray(at - start, at - start + most);
    at += part.length;
    return part;
  };
  const next = (most: number): Uint8Array => (isAtEnd() ? damage("the data is cut short") : takeSome(most));
  return {
    position: () => at,
    isAtEnd,
    takeSome,
    take(length) {
      const first = takeSome(length);
      if (first.length === length) return first;
      const bytes = new Uint8Array(length);
      bytes.set(first);
      for (let done = first.length; done < length; ) {
        const part = next(length - done);
        bytes.set(part, done);
        done += part.length;
      }
      return bytes;
    },
    skip(length) {
      for (let left = length; left > 0; ) left -= next(left).length;
    },
  };
}
