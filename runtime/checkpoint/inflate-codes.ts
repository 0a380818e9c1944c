// What DEFLATE data is read by (RFC 1951, 3.1.1 and 3.2.2): bits, each byte's lowest first, and Huffman codes.
import { damage, type Input } from "./pieces.ts";

/** Bits that are taken from encoded bytes. */
export type Bits = {
  readonly input: Input;
  /** Bytes up to `length`, which are read up to `at`. Behind the last of all there are zeros. */
  readonly view: DataView;
  length: number;
  at: number;
  isLast: boolean;
  /** What was read of the bytes and not taken yet: the lowest `count` bits. */
  hold: number;
  count: number;
};

const ROOM = 1 << 16;
// What a symbol reads at most, with its distance: three times four bytes.
const AHEAD = 12;
// Those, and bytes that are held and may be put back.
const MARGIN = AHEAD + 4;

export const openBits = (input: Input): Bits => ({
  input,
  view: new DataView(new ArrayBuffer(ROOM + MARGIN)),
  length: 0,
  at: 0,
  isLast: false,
  hold: 0,
  count: 0,
});

/** Up to where `at` may be when a symbol is read. */
export const lastStart = ({ view, length, isLast }: Bits): number =>
  (isLast ? view.byteLength : length) - AHEAD;

/** Takes in more bytes where a symbol might need them. */
export function takeIn(bits: Bits): void {
  if (bits.isLast || bits.at <= lastStart(bits)) return;
  const bytes = new Uint8Array(bits.view.buffer);
  const from = bits.at - (bits.count >> 3);
  bytes.copyWithin(0, from, bits.length);
  bits.at -= from;
  bits.length -= from;
  while (bits.length < ROOM && !bits.isLast) {
    const part = bits.input.takeSome(ROOM - bits.length);
    bits.isLast = part.length === 0;
    bytes.set(part, bits.length);
    bits.length += part.length;
  }
  bytes.fill(0, bits.length);
}

/** That all which was taken is there. */
export function requireThere({ at, length, count }: Bits): void {
  if (at - (count >> 3) > length) damage("the data is cut short");
}

// Reads as many whole bytes as there is room for: 24 bits or more are held then.
function read(bits: Bits): void {
  takeIn(bits);
  bits.hold |= bits.view.getUint32(bits.at, true) << bits.count;
  bits.at += (31 - bits.count) >> 3;
  bits.count |= 24;
}

function drop(bits: Bits, count: number): void {
  bits.hold >>>= count;
  bits.count -= count;
  requireThere(bits);
}

/** A number of at most 16 bits. */
export function takeBits(bits: Bits, count: number): number {
  read(bits);
  const value = bits.hold & ((1 << count) - 1);
  drop(bits, count);
  return value;
}

/** A number of four bytes. */
export const takeWord = (bits: Bits): number => takeBits(bits, 16) + takeBits(bits, 16) * 65536;

/** Goes to where the next byte begins. */
export function alignBits(bits: Bits): void {
  bits.at -= bits.count >> 3;
  bits.hold = 0;
  bits.count = 0;
}

/** Whether there are no more bytes. For where a byte begins. */
export function isAtEnd(bits: Bits): boolean {
  alignBits(bits);
  takeIn(bits);
  return bits.isLast && bits.at >= bits.length;
}

/** Whole bytes, as many as are at hand but no more than `most`. For where a byte begins. */
export function takeBytes(bits: Bits, most: number): Uint8Array {
  if (isAtEnd(bits)) damage("the data is cut short");
  const bytes = new Uint8Array(bits.view.buffer, bits.at, Math.min(bits.length - bits.at, most));
  bits.at += bytes.length;
  return bytes;
}

/** A Huffman code. */
export type Code = {
  /** For each beginning of a stream the symbol it stands for and the bits that takes, `symbol << 4 | bits`; or 0. */
  readonly short: Uint16Array;
  /** How many words there are of each length, and the symbols in the order of their words: for words not among `short`. */
  readonly counts: readonly number[];
  readonly symbols: readonly number[];
};

const MAX_BITS = 15;
// Of a good code, less than one symbol in a thousand has a longer word.
const SHORT = 10;
export const SHORT_MASK = (1 << SHORT) - 1;

/** The code whose words have these lengths, one for each symbol; 0 where a symbol has none. */
export function codeOf(lengths: readonly number[]): Code {
  const counts = new Array<number>(MAX_BITS + 1).fill(0);
  for (const length of lengths) if (length > 0) counts[length] = (counts[length] ?? 0) + 1;
  const ranks = [0];
  const words = [0];
  for (const [length, count] of counts.entries()) {
    const end = (words[length] ?? 0) + count;
    if (end > 2 ** length) damage("a Huffman code has too many words");
    ranks.push((ranks[length] ?? 0) + count);
    words.push(2 * end);
  }
  const used = ranks[MAX_BITS + 1] ?? 0;
  // A symbol alone has a word of one bit, and the other is none.
  const isWhole =
    words[MAX_BITS + 1] === 2 ** (MAX_BITS + 1) || used === 0 || (used === 1 && counts[1] === 1);
  if (!isWhole) damage("a Huffman code has too few words");
  const symbols = new Array<number>(used).fill(0);
  const short = new Uint16Array(1 << SHORT);
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue;
    const [rank, word] = [ranks[length] ?? 0, words[length] ?? 0];
    ranks[length] = rank + 1;
    words[length] = word + 1;
    symbols[rank] = symbol;
    for (let at = reversed(word, length); at < short.length && length <= SHORT; at += 1 << length)
      short[at] = (symbol << 4) | length;
  }
  return { short, counts, symbols };
}

// Words begin with their highest bit, as nothing else does.
function reversed(word: number, length: number): number {
  let result = 0;
  for (let i = 0; i < length; i++) result |= ((word >> i) & 1) << (length - 1 - i);
  return result;
}

/** What `short` does not say, found bit by bit. */
export function findLong({ counts, symbols }: Code, hold: number): number {
  let [word, first, rank] = [0, 0, 0];
  for (let length = 1; length <= MAX_BITS; length++) {
    word |= (hold >>> (length - 1)) & 1;
    const count = counts[length] ?? 0;
    if (word - first < count) return ((symbols[rank + word - first] ?? 0) << 4) | length;
    rank += count;
    first = (first + count) << 1;
    word <<= 1;
  }
  return damage("a Huffman code has no such word");
}

/** The next symbol. */
export function takeSymbol(bits: Bits, code: Code): number {
  read(bits);
  const entry = code.short[bits.hold & SHORT_MASK] || findLong(code, bits.hold);
  drop(bits, entry & 15);
  return entry >> 4;
}
