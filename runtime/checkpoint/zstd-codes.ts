// The two codes of Zstandard: finite state entropy and Huffman, as tables, and the streams of bits they are read from,
// which run backwards (RFC 8878, 4).
import { damage } from "./pieces.ts";

const byteAt = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;
const log2 = (value: number): number => 31 - Math.clz32(value);

/** A stream of bits read from its end. Whether all of it, and no more, was read is known when the reading is over. */
export type BitStream = {
  readonly bytes: Uint8Array;
  readonly start: number;
  /** The byte before which reading goes on. */
  at: number;
  /** Bits taken from the bytes, of which the lowest `count` are to be read yet. */
  bits: number;
  count: number;
  /** Zero bits added after the stream was at its end. */
  added: number;
};

export function bitStream(bytes: Uint8Array, start: number, end: number): BitStream {
  const last = end > start ? byteAt(bytes, end - 1) : 0;
  if (last === 0) damage("a stream of bits has no end mark");
  return { bytes, start, at: end - 1, bits: last, count: log2(last), added: 0 };
}

// Takes bytes until at least 25 bits are there.
function refill(stream: BitStream): void {
  while (stream.count <= 24) {
    let next = 0;
    if (stream.at > stream.start) next = byteAt(stream.bytes, --stream.at);
    else stream.added += 8;
    stream.bits = (stream.bits << 8) | next;
    stream.count += 8;
  }
}

/** At most 24 bits. */
function take(stream: BitStream, count: number): number {
  refill(stream);
  stream.count -= count;
  return (stream.bits >>> stream.count) & ((1 << count) - 1);
}

/** At most 31 bits. */
export const readBits = (stream: BitStream, count: number): number =>
  count <= 24 ? take(stream, count) : take(stream, count - 16) * 65536 + take(stream, 16);

/** How many bits are left; negative where more were read than there are. */
export const bitsLeft = ({ at, start, count, added }: BitStream): number => (at - start) * 8 + count - added;

/** A finite state machine: what each state stands for, and the state after it, `next` plus as many bits. */
export type StateTable = {
  readonly log: number;
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly next: Uint16Array;
};

/** The machine with one state. */
export const constantTable = (symbol: number): StateTable => ({
  log: 0,
  symbols: Uint8Array.of(symbol),
  bits: new Uint8Array(1),
  next: new Uint16Array(1),
});

/** The machine for how often each symbol comes, in parts of 2^log; −1 is less than one part. */
export function stateTable(counts: readonly number[], log: number): StateTable {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  let high = size - 1;
  for (const [symbol, count] of counts.entries()) if (count === -1) symbols[high--] = symbol;
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (const [symbol, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at > high);
    }
  }
  const seen = counts.map((count) => Math.abs(count));
  const bits = new Uint8Array(size);
  const next = new Uint16Array(size);
  for (let state = 0; state < size; state++) {
    const symbol = byteAt(symbols, state);
    const nth = seen[symbol] ?? 0;
    seen[symbol] = nth + 1;
    const width = log - log2(nth);
    bits[state] = width;
    next[state] = (nth << width) - size;
  }
  return { log, symbols, bits, next };
}

/** A state table as it is described in a frame; `end` is where the description ends. */
export function readStateTable(
  bytes: Uint8Array,
  start: number,
  stop: number,
  limits: { readonly log: number; readonly symbols: number },
): { readonly table: StateTable; readonly end: number } {
  let at = start * 8;
  const peek = (count: number): number => {
    const byte = at >> 3;
    const three = byteAt(bytes, byte) | (byteAt(bytes, byte + 1) << 8) | (byteAt(bytes, byte + 2) << 16);
    return (three >> (at & 7)) & ((1 << count) - 1);
  };
  const log = peek(4) + 5;
  at += 4;
  if (log > limits.log) damage(`a table of 2^${log} states; expected at most 2^${limits.log}`);
  const counts: number[] = [];
  let left = 1 << log;
  while (left > 0) {
    if (counts.length >= limits.symbols) damage("a table has too many symbols");
    // A number from 0 to left + 1; the small ones take a bit less than the others.
    const width = log2(left + 1) + 1;
    const low = (1 << (width - 1)) - 1;
    const short = (1 << width) - 2 - left;
    let value = peek(width);
    if ((value & low) < short) {
      value &= low;
      at += width - 1;
    } else {
      if (value > low) value -= short;
      at += width;
    }
    counts.push(value - 1);
    left -= Math.abs(value - 1);
    if (value !== 1) continue;
    for (let more = 3; more === 3; ) {
      more = peek(2);
      at += 2;
      for (let i = 0; i < more; i++) counts.push(0);
      if (at > stop * 8) damage("a table is cut short");
    }
  }
  const end = (at + 7) >> 3;
  if (left < 0 || end > stop || counts.length > limits.symbols) damage("a table's counts do not add up");
  return { table: stateTable(counts, log), end };
}

/** A Huffman code: for each of 2^log beginnings of a stream its symbol and, from bit 8 on, how many bits that takes. */
export type HuffmanTable = { readonly log: number; readonly entries: Uint16Array };

const MAX_HUFFMAN_LOG = 11;
const MAX_WEIGHTS = 255;
const WEIGHT_LIMITS = { log: 6, symbols: 256 };

export function readHuffmanTable(
  bytes: Uint8Array,
  start: number,
  stop: number,
): { readonly table: HuffmanTable; readonly end: number } {
  if (start >= stop) damage("a Huffman table is cut short");
  const header = byteAt(bytes, start);
  const isPacked = header < 128;
  const count = header - 127;
  const end = start + 1 + (isPacked ? header : (count + 1) >> 1);
  if (end > stop) damage("a Huffman table is cut short");
  const weights = isPacked
    ? readWeights(bytes, start + 1, end)
    : Array.from({ length: count }, (_, i) => (byteAt(bytes, start + 1 + (i >> 1)) >> (i & 1 ? 0 : 4)) & 15);
  return { table: huffmanTable(weights), end };
}

// Two machines take turns on one stream until it has no bits for another step; each then gives its last symbol.
function readWeights(bytes: Uint8Array, start: number, end: number): readonly number[] {
  const { table, end: tableEnd } = readStateTable(bytes, start, end, WEIGHT_LIMITS);
  const stream = bitStream(bytes, tableEnd, end);
  const states: [number, number] = [readBits(stream, table.log), readBits(stream, table.log)];
  if (bitsLeft(stream) < 0) damage("Huffman weights are cut short");
  const weights: number[] = [];
  for (let turn = 0; ; turn ^= 1) {
    const state = turn === 0 ? states[0] : states[1];
    weights.push(byteAt(table.symbols, state));
    if (weights.length > MAX_WEIGHTS) damage("a Huffman table has too many weights");
    const width = byteAt(table.bits, state);
    if (bitsLeft(stream) < width) {
      weights.push(byteAt(table.symbols, turn === 0 ? states[1] : states[0]));
      return weights;
    }
    const next = (table.next[state] ?? 0) + readBits(stream, width);
    if (turn === 0) states[0] = next;
    else states[1] = next;
  }
}

// A symbol of weight w > 0 takes 2^(w − 1) of the entries; what is missing to a power of two is the last symbol's.
function huffmanTable(given: readonly number[]): HuffmanTable {
  const sum = given.reduce((total, weight) => total + (weight > 0 ? 2 ** (weight - 1) : 0), 0);
  if (sum === 0 || given.length > MAX_WEIGHTS) damage("a Huffman table has no, or too many, weights");
  const log = Math.floor(Math.log2(sum)) + 1;
  if (log > MAX_HUFFMAN_LOG) damage(`a Huffman code of ${log} bits; expected at most ${MAX_HUFFMAN_LOG}`);
  const rest = 2 ** log - sum;
  if ((rest & (rest - 1)) !== 0) damage("the weights of a Huffman table do not add up");
  const weights = [...given, log2(rest) + 1];
  const entries = new Uint16Array(1 << log);
  let at = 0;
  for (let weight = 1; weight <= log; weight++) {
    for (const [symbol, its] of weights.entries()) {
      if (its !== weight) continue;
      const span = 1 << (weight - 1);
      entries.fill(symbol | ((log + 1 - weight) << 8), at, at + span);
      at += span;
    }
  }
  return { log, entries };
}

/** Decodes a stream that gives exactly the bytes of `out` from `from` to `to`. */
export function decodeHuffman(
  { log, entries }: HuffmanTable,
  stream: BitStream,
  out: Uint8Array,
  from: number,
  to: number,
): void {
  const mask = (1 << log) - 1;
  const { bytes, start } = stream;
  let { at, bits, count, added } = stream;
  for (let i = from; i < to; ) {
    while (count <= 24) {
      let next = 0;
      if (at > start) next = byteAt(bytes, --at);
      else added += 8;
      bits = (bits << 8) | next;
      count += 8;
    }
    // 25 bits are enough for two symbols of at most eleven.
    let entry = entries[(bits >>> (count - log)) & mask] ?? 0;
    out[i++] = entry;
    count -= entry >> 8;
    if (i === to) break;
    entry = entries[(bits >>> (count - log)) & mask] ?? 0;
    out[i++] = entry;
    count -= entry >> 8;
  }
  if (count !== added || at !== start) damage("a Huffman stream is longer or shorter than its text");
}
