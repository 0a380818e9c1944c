// Decodes blocks of Zstandard data (RFC 8878, 3.1.1.2): literals, and sequences that copy them and repeat what came before.
import { damage } from "./pieces.ts";
import {
  type BitStream,
  bitStream,
  bitsLeft,
  constantTable,
  decodeHuffman,
  type HuffmanTable,
  readBits,
  readHuffmanTable,
  readStateTable,
  type StateTable,
  stateTable,
} from "./zstd-codes.ts";

/** What a block decodes to at most. */
export const MAX_BLOCK = 1 << 17;
const RAW = 0;
export const REPEATED_BYTE = 1;
export const COMPRESSED = 2;

/** Decoded bytes up to `end`, with room for a block after them; offsets go back to the first of them at most. */
export type Output = { bytes: Uint8Array; end: number };

/** What blocks of a frame hand on to those after them. */
export type State = {
  huffman: HuffmanTable | undefined;
  tables: Tables | undefined;
  readonly offsets: [number, number, number];
  /** Where the literals of a block are put together: room for a block. */
  readonly scratch: Uint8Array;
};

/** The state before the first block of a frame. */
export const firstState = (scratch: Uint8Array): State => ({
  huffman: undefined,
  tables: undefined,
  offsets: [1, 4, 8],
  scratch,
});

/** Decodes a block of a kind; `length` is what its header says: the bytes it decodes to unless it is compressed. */
export function decodeBlock(
  kind: number,
  block: Uint8Array,
  length: number,
  state: State,
  output: Output,
): void {
  if (kind === COMPRESSED) decodeCompressed(block, state, output);
  else {
    if (kind === RAW) output.bytes.set(block, output.end);
    else output.bytes.fill(block[0] ?? 0, output.end, output.end + length);
    output.end += length;
  }
}

/** A little-endian number; one that is not there is damage. */
export function numberAt(bytes: Uint8Array, at: number, width: number): number {
  if (at + width > bytes.length) damage("the data is cut short");
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

function decodeCompressed(block: Uint8Array, state: State, output: Output): void {
  const { literals, end } = readLiterals(block, state);
  const { count, at } = readSequenceCount(block, end);
  if (count === 0) {
    if (at !== block.length) damage("a block goes on after its literals");
    appendLiterals(literals, 0, output);
    return;
  }
  const { tables, end: tablesEnd } = readTables(block, at, state.tables);
  state.tables = tables;
  const stream = bitStream(block, tablesEnd, block.length);
  appendLiterals(literals, runSequences(count, stream, tables, state, literals, output), output);
}

function appendLiterals(literals: Uint8Array, from: number, output: Output): void {
  output.bytes.set(literals.subarray(from), output.end);
  output.end += literals.length - from;
}

/** The bytes that a block has beside what it repeats. */
function readLiterals(
  block: Uint8Array,
  state: State,
): { readonly literals: Uint8Array; readonly end: number } {
  const { scratch } = state;
  const first = numberAt(block, 0, 1);
  const [kind, format] = [first & 3, (first >> 2) & 3];
  if (kind === RAW || kind === REPEATED_BYTE) {
    const width = [1, 2, 1, 3][format] ?? 1;
    const size = numberAt(block, 0, width) >> (width === 1 ? 3 : 4);
    const end = width + (kind === RAW ? size : 1);
    if (size > MAX_BLOCK || end > block.length) damage("the literals of a block are cut short");
    if (kind === RAW) return { literals: block.subarray(width, end), end };
    return { literals: scratch.subarray(0, size).fill(block[width] ?? 0), end };
  }
  const width = [3, 3, 4, 5][format] ?? 3;
  const bits = [10, 10, 14, 18][format] ?? 10;
  const sizes = Math.floor(numberAt(block, 0, width) / 16);
  const size = sizes % 2 ** bits;
  const end = width + Math.floor(sizes / 2 ** bits);
  if (size > MAX_BLOCK || end > block.length) damage("the literals of a block are cut short");
  let at = width;
  if (kind === COMPRESSED) {
    const { table, end: tableEnd } = readHuffmanTable(block, at, end);
    state.huffman = table;
    at = tableEnd;
  }
  const table = state.huffman ?? damage("a block refers to a Huffman table before it, and there is none");
  const literals = scratch.subarray(0, size);
  decodeStreams(block, at, end, format === 0 ? 1 : 4, table, literals);
  return { literals, end };
}

// Four streams each give a quarter, rounded up, and the last what remains. Three lengths come before them.
function decodeStreams(
  block: Uint8Array,
  start: number,
  end: number,
  count: 1 | 4,
  table: HuffmanTable,
  literals: Uint8Array,
): void {
  const size = literals.length;
  if (count === 1) {
    decodeHuffman(table, bitStream(block, start, end), literals, 0, size);
    return;
  }
  const each = (size + 3) >> 2;
  let at = start + 6;
  for (let i = 0; i < 4; i++) {
    const next = i === 3 ? end : at + numberAt(block, start + 2 * i, 2);
    if (next > end || 3 * each > size) damage("the streams of a block's literals are cut short");
    decodeHuffman(table, bitStream(block, at, next), literals, i * each, i === 3 ? size : (i + 1) * each);
    at = next;
  }
}

function readSequenceCount(block: Uint8Array, at: number): { readonly count: number; readonly at: number } {
  const first = numberAt(block, at, 1);
  if (first < 128) return { count: first, at: at + 1 };
  if (first < 255) return { count: (first - 128) * 256 + numberAt(block, at + 1, 1), at: at + 2 };
  return { count: numberAt(block, at + 1, 2) + 0x7f00, at: at + 3 };
}

/** A length or an offset is a code and some bits more: the least number of each code, and how many bits follow. */
type Numbers = { readonly least: readonly number[]; readonly bits: readonly number[] };

const numbers = (first: number, bits: readonly number[]): Numbers => {
  let next = first;
  const least = bits.map((width) => {
    next += 2 ** width;
    return next - 2 ** width;
  });
  return { least, bits };
};
const times = (count: number, value: number): readonly number[] => new Array<number>(count).fill(value);
const upTo = (last: number, from: number): readonly number[] =>
  Array.from({ length: last - from + 1 }, (_, i) => from + i);

const LITERAL_LENGTHS = numbers(0, [...times(16, 0), ...times(4, 1), 2, 2, 3, 3, 4, ...upTo(16, 6)]);
const MATCH_LENGTHS = numbers(3, [...times(32, 0), ...times(4, 1), 2, 2, 3, 3, 4, 4, 5, ...upTo(16, 7)]);

/** How codes are told: the machine where nothing else is said, and the largest that a frame may describe. */
type Field = {
  readonly usual: StateTable;
  readonly limits: { readonly log: number; readonly symbols: number };
};

const LITERAL_FIELD: Field = {
  usual: stateTable(
    [4, 3, ...times(11, 2), ...times(3, 1), ...times(9, 2), 3, 2, ...times(5, 1), ...times(4, -1)],
    6,
  ),
  limits: { log: 9, symbols: 36 },
};
const OFFSET_FIELD: Field = {
  usual: stateTable([...times(6, 1), ...times(3, 2), ...times(15, 1), ...times(5, -1)], 5),
  limits: { log: 8, symbols: 32 },
};
const MATCH_FIELD: Field = {
  usual: stateTable([1, 4, 3, ...times(6, 2), ...times(37, 1), ...times(7, -1)], 6),
  limits: { log: 9, symbols: 53 },
};
const FIELDS = [LITERAL_FIELD, OFFSET_FIELD, MATCH_FIELD] as const;

type Tables = readonly [literals: StateTable, offsets: StateTable, matches: StateTable];

function readTables(
  block: Uint8Array,
  start: number,
  before: Tables | undefined,
): { readonly tables: Tables; readonly end: number } {
  const modes = numberAt(block, start, 1);
  if (modes & 3) damage("a reserved bit of a block's modes is set");
  let at = start + 1;
  const tables = FIELDS.map(({ usual, limits }, i) => {
    const mode = (modes >> (6 - 2 * i)) & 3;
    if (mode === 0) return usual;
    if (mode === 1) {
      const symbol = numberAt(block, at++, 1);
      if (symbol >= limits.symbols)
        damage(`code ${symbol} is unknown; expected at most ${limits.symbols - 1}`);
      return constantTable(symbol);
    }
    if (mode === 3) return before?.[i] ?? damage("a block refers to a table before it, and there is none");
    const { table, end } = readStateTable(block, at, block.length, limits);
    at = end;
    return table;
  });
  const [literals, offsets, matches] = tables;
  if (!literals || !offsets || !matches) return damage("three tables are expected");
  return { tables: [literals, offsets, matches], end: at };
}

/**
 * Copies literals and repeats what was written before, one sequence after another. The result is how many literals
 * were used.
 */
function runSequences(
  count: number,
  stream: BitStream,
  [literalTable, offsetTable, matchTable]: Tables,
  { offsets }: State,
  literals: Uint8Array,
  output: Output,
): number {
  const out = output.bytes;
  const last = output.end + MAX_BLOCK;
  let end = output.end;
  let used = 0;
  let literalState = readBits(stream, literalTable.log);
  let offsetState = readBits(stream, offsetTable.log);
  let matchState = readBits(stream, matchTable.log);
  for (let i = 0; i < count; i++) {
    const offsetCode = offsetTable.symbols[offsetState] ?? 0;
    const matchCode = matchTable.symbols[matchState] ?? 0;
    const literalCode = literalTable.symbols[literalState] ?? 0;
    const value = 2 ** offsetCode + readBits(stream, offsetCode);
    const match =
      (MATCH_LENGTHS.least[matchCode] ?? 0) + readBits(stream, MATCH_LENGTHS.bits[matchCode] ?? 0);
    const length =
      (LITERAL_LENGTHS.least[literalCode] ?? 0) + readBits(stream, LITERAL_LENGTHS.bits[literalCode] ?? 0);
    if (i < count - 1) {
      literalState = step(literalTable, literalState, stream);
      matchState = step(matchTable, matchState, stream);
      offsetState = step(offsetTable, offsetState, stream);
    }
    const offset = takeOffset(offsets, value, length === 0);
    if (bitsLeft(stream) < 0) damage("the sequences of a block are cut short");
    if (used + length > literals.length) damage("a sequence asks for more literals than there are");
    if (end + length + match > last) damage(`a block of more than ${MAX_BLOCK} bytes`);
    for (const stop = used + length; used < stop; ) out[end++] = literals[used++] ?? 0;
    if (offset > end || offset === 0) damage("a sequence refers to before the beginning");
    if (offset >= match && match > 32) {
      out.copyWithin(end, end - offset, end - offset + match);
      end += match;
    } else {
      for (const stop = end + match; end < stop; end++) out[end] = out[end - offset] ?? 0;
    }
  }
  if (bitsLeft(stream) !== 0) damage("bits are left after the sequences of a block");
  if (end + literals.length - used > last) damage(`a block of more than ${MAX_BLOCK} bytes`);
  output.end = end;
  return used;
}

const step = ({ bits, next }: StateTable, state: number, stream: BitStream): number =>
  (next[state] ?? 0) + readBits(stream, bits[state] ?? 0);

// Values 1 to 3 stand for offsets used before, a different one after a sequence without literals.
function takeOffset(offsets: [number, number, number], value: number, isWithoutLiterals: boolean): number {
  const which = value > 3 ? 3 : value - 1 + (isWithoutLiterals ? 1 : 0);
  const [first, second, third] = offsets;
  const offset = value > 3 ? value - 3 : which === 3 ? first - 1 : (offsets[which] ?? 0);
  if (which === 0) return offset;
  offsets[2] = which === 1 ? third : second;
  offsets[1] = first;
  offsets[0] = offset;
  return offset;
}
