// What DEFLATE data is wrapped in: members of gzip (RFC 1952), or the header and trailer of zlib (RFC 1950). Both end with
// a check sum.
import { crc32, showSum } from "./crc.ts";
import { inflate } from "./inflate.ts";
import { alignBits, type Bits, isAtEnd, openBits, takeBits, takeWord } from "./inflate-codes.ts";
import { Damage, damage, openInput, type Pieces } from "./pieces.ts";

/** Unpacks to at most `limit` bytes, piece by piece. `refuse` fails with a sentence on what is wrong. */
export type Unpack = (
  encoded: Pieces,
  limit: number,
  refuse: (problem: string) => never,
) => Generator<Uint8Array, void>;

/** What comes before and after DEFLATE data. */
type Wrapping = {
  readonly name: string;
  readHeader(bits: Bits): void;
  /** The check sum of bytes after others, and that of none. */
  sum(bytes: Uint8Array, before: number): number;
  readonly emptySum: number;
  readTrailer(bits: Bits, sum: number, length: number): void;
  /** Whether another may follow. */
  readonly isRepeated: boolean;
};

const unpackFrom = (wrapping: Wrapping): Unpack =>
  function* (encoded, limit, refuse) {
    try {
      const bits = openBits(openInput(encoded));
      let given = 0;
      do {
        wrapping.readHeader(bits);
        let [sum, length] = [wrapping.emptySum, 0];
        for (const piece of inflate(bits)) {
          sum = wrapping.sum(piece, sum);
          length += piece.length;
          if (given + length > limit) refuse(`unpacks to more than the expected ${limit} bytes`);
          yield piece;
        }
        given += length;
        alignBits(bits);
        wrapping.readTrailer(bits, sum, length);
      } while (wrapping.isRepeated && !isAtEnd(bits));
      if (!isAtEnd(bits)) damage("there are bytes after its end");
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      refuse(`not whole ${wrapping.name} data: ${error.message}`);
    }
  };

function requireSum(kind: string, computed: number, stored: number): void {
  if (computed !== stored)
    damage(`its ${kind} is ${showSum(computed)}, but ${showSum(stored)} is stored with it`);
}

const DEFLATE = 8;
const [HEADER_SUM, EXTRA, NAME, COMMENT, RESERVED] = [2, 4, 8, 16, 0xe0];

function readGzipHeader(bits: Bits): void {
  let sum = 0;
  const byte = (): number => {
    const value = takeBits(bits, 8);
    sum = crc32(Uint8Array.of(value), sum);
    return value;
  };
  const pair = (): number => byte() + 256 * byte();
  if (pair() !== 0x8b1f) damage("it does not begin with 1f8b");
  const method = byte();
  if (method !== DEFLATE) damage(`it is packed by method ${method}; expected ${DEFLATE}`);
  const flags = byte();
  if (flags & RESERVED) damage("a reserved bit of its header is set");
  // The time, and what it was packed by and where.
  for (let i = 0; i < 6; i++) byte();
  if (flags & EXTRA) for (let left = pair(); left > 0; left--) byte();
  for (const text of [NAME, COMMENT]) if (flags & text) while (byte() !== 0);
  if (flags & HEADER_SUM) {
    const computed = sum & 0xffff;
    requireSum("header's CRC-16", computed, pair());
  }
}

/** Unpacks members of gzip, one after another. */
export const gunzip = unpackFrom({
  name: "gzip",
  readHeader: readGzipHeader,
  sum: crc32,
  emptySum: 0,
  readTrailer(bits, sum, length) {
    requireSum("CRC-32", sum, takeWord(bits));
    const stored = takeWord(bits);
    if (length % 2 ** 32 !== stored) damage(`it unpacks to ${length} bytes, but says it has ${stored}`);
  },
  isRepeated: true,
});

const ADLER = 65521;
// Of so many bytes the sums stay below 2^32.
const ADLER_BYTES = 5552;

function adler32(bytes: Uint8Array, before: number): number {
  let [low, high] = [before & 0xffff, before >>> 16];
  for (let from = 0; from < bytes.length; from += ADLER_BYTES) {
    const to = Math.min(bytes.length, from + ADLER_BYTES);
    for (let i = from; i < to; i++) {
      low += bytes[i] ?? 0;
      high += low;
    }
    low %= ADLER;
    high %= ADLER;
  }
  return high * 65536 + low;
}

/** Unpacks data of zlib's. */
export const unzlib = unpackFrom({
  name: "zlib",
  readHeader(bits) {
    const [method, flags] = [takeBits(bits, 8), takeBits(bits, 8)];
    if ((method & 15) !== DEFLATE || method >> 4 > 7 || (method * 256 + flags) % 31 !== 0)
      damage("it does not begin as such data does");
    if (flags & 0x20) damage("it asks for a dictionary, and there is none");
  },
  sum: adler32,
  emptySum: 1,
  readTrailer(bits, sum) {
    const bytes = Array.from({ length: 4 }, () => takeBits(bits, 8));
    const stored = bytes.reduce((word, byte) => word * 256 + byte, 0);
    requireSum("Adler-32", sum, stored);
  },
  isRepeated: false,
});
