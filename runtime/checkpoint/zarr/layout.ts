// How the elements of a chunk lie in its encoded bytes, and reading a box of them.
import { fail } from "../../../compiler/diag.ts";
import { allocate, fitting } from "../../files.ts";
import {
  chunkBox,
  chunksIn,
  copyBox,
  countOf,
  gridOf,
  intersect,
  isSameBox,
  offsetOf,
  type Part,
  permute,
  runAround,
  shapeOfBox,
  wholeBox,
} from "../box.ts";
import { type ByteRange, type Encoded, inMemory } from "../kv.ts";
import type { Pieces } from "../pieces.ts";
import type { Allocate, Box } from "../tensors.ts";
import {
  type BytesCodec,
  decodeBytes,
  decodeInPlace,
  failDamaged,
  type Site,
  unpackBytes,
} from "./codecs.ts";
import { type Element, toNative } from "./element.ts";
import { readForward } from "./forward.ts";
import { forget, isForward, isTooLarge, isWhole, type Memo, recall, SOUND } from "./memo.ts";

/** The way from elements to the bytes of a chunk. */
export type Layout = {
  readonly element: Element;
  /** First the axes are put in this order, if any. */
  readonly order?: readonly number[];
  /** Then the elements are written row-major, or in shards. */
  readonly sharding?: Sharding;
  /** Then the bytes go through these codecs. */
  readonly bytes: readonly BytesCodec[];
};

/** A chunk made of smaller ones and an index of where each lies. */
export type Sharding = {
  readonly chunk: readonly number[];
  readonly layout: Layout;
  readonly index: {
    readonly isBigEndian: boolean;
    readonly codecs: readonly BytesCodec[];
    readonly isAtStart: boolean;
  };
};

/** What reading a chunk needs beside its bytes. */
export type Reading = {
  readonly site: Site;
  /** One element for those that were never written, or nothing if all of them must be there. */
  readonly fill: Uint8Array | undefined;
  readonly memo: Memo;
  /** For the elements that are wanted, unless they are the whole of what is decoded. */
  readonly room: Allocate;
};

/** Elements of a box, all of them `fill`. */
export function filled(box: Box, fill: Uint8Array, site: Site): Uint8Array {
  const bytes = allocateFor(site, countOf(shapeOfBox(box)) * fill.length, (length) => new Uint8Array(length));
  if (fill.some((byte) => byte !== 0))
    for (let at = 0; at < bytes.length; at += fill.length) bytes.set(fill, at);
  return bytes;
}

/** Memory for a tensor or a part of it; how much may come from a file, so that there may not be enough. */
const allocateFor = ({ file, tensor }: Site, length: number, room: Allocate): Uint8Array =>
  fitting("tensor-too-large", `tensor \`${tensor}\`: a part of ${length} bytes`, { file }, () =>
    room(length),
  );

/** The elements of a box of a chunk of this shape, row-major and in our byte order. */
export function readLayout(
  layout: Layout,
  shape: readonly number[],
  encoded: Encoded,
  box: Box,
  reading: Reading,
): Uint8Array {
  const { order, element } = layout;
  if (!order) return readOrdered(layout, shape, encoded, box, reading);
  const along = <T>(axes: readonly T[]): readonly T[] => order.map((axis) => axes[axis] as T);
  const stored = along(box);
  const bytes = readOrdered(layout, along(shape), encoded, stored, reading);
  const back = order.map((_, axis) => order.indexOf(axis));
  return permute(bytes, shapeOfBox(stored), back, element.width);
}

function readOrdered(
  layout: Layout,
  shape: readonly number[],
  encoded: Encoded,
  box: Box,
  reading: Reading,
): Uint8Array {
  const { element, sharding, bytes: codecs } = layout;
  if (sharding) {
    const shard = codecs.length === 0 ? encoded : unpackShard(sharding, shape, codecs, encoded, reading);
    return readShards(sharding, shape, shard, box, reading);
  }
  const { site, room } = reading;
  const there = readInPlace(layout, shape, encoded, box, reading);
  if (there) return there;
  if (isSameBox(box, wholeBox(shape))) return decodeWhole(layout, shape, encoded, site);
  const part =
    decodeRows(layout, shape, encoded, box, reading) ?? decodeKept(layout, shape, encoded, reading);
  if (isSameBox(part.box, box)) return part.bytes;
  const out = allocateFor(site, countOf(shapeOfBox(box)) * element.width, room);
  copyBox(part, { box, bytes: out }, element.width);
  return out;
}

const memoKey = ({ site }: Reading): string => `${site.tensor}/${site.what}`;

/** A box whose bytes lie together in a chunk that codecs leave as it is: read from there alone, once it was checked. */
function readInPlace(
  { element, bytes: codecs }: Layout,
  shape: readonly number[],
  encoded: Encoded,
  box: Box,
  reading: Reading,
): Uint8Array | undefined {
  const { site, memo, room } = reading;
  if (!isSameBox(runAround(box, shape), box)) return undefined;
  const key = memoKey(reading);
  const kept = recall(memo, key);
  const length = countOf(shape) * element.width;
  const stored = decodeInPlace(codecs, encoded, length, site, kept !== undefined);
  if (!stored) return undefined;
  requireLength(stored.size, length, site);
  if (!kept) memo.set(key, SOUND);
  const bytes = stored.read(rangeOfRows(box, shape, element), (size) => allocateFor(site, size, room));
  return toNative(element, bytes);
}

/** Where rows lie in a chunk, in bytes. */
const rangeOfRows = (rows: Box, shape: readonly number[], { width }: Element): ByteRange => ({
  offset: offsetOf(rows, shape) * width,
  length: countOf(shapeOfBox(rows)) * width,
});

/** All of a chunk, which is kept for the next box of it. */
function decodeKept(layout: Layout, shape: readonly number[], encoded: Encoded, reading: Reading): Part {
  const { site, memo } = reading;
  const key = memoKey(reading);
  const kept = recall(memo, key);
  const box = wholeBox(shape);
  if (kept && isWhole(kept)) return { box, bytes: kept.bytes };
  // Room is made first, so that the old and the new are never held together.
  memo.delete(key);
  const free = forget(memo, countOf(shape) * layout.element.width);
  let memory: Uint8Array | undefined;
  const read: Encoded["read"] = (range) =>
    encoded.read(range, (length) => {
      // What is read in several pieces is not what is kept.
      if (memory) return allocate(length);
      // Much larger memory than a chunk needs would be held with it.
      memory = free && free.length >= length && free.length <= 2 * length ? free : allocate(length);
      return memory.subarray(0, length);
    });
  const bytes = decodeWhole(layout, shape, { size: encoded.size, read }, site);
  memo.set(key, memory?.buffer === bytes.buffer ? { bytes, memory } : { bytes });
  return { box, bytes };
}

// Rows that are more of a chunk than this part of it might as well be taken from the whole.
const MAX_SHARE = 1 / 8;

/**
 * The rows around a box, of a chunk that is too large to be kept. Nothing where boxes do not follow each other: then it
 * is better decoded whole, and once.
 */
function decodeRows(
  { element, bytes: codecs }: Layout,
  shape: readonly number[],
  encoded: Encoded,
  box: Box,
  reading: Reading,
): Part | undefined {
  const { site, memo, room } = reading;
  const length = countOf(shape) * element.width;
  if (!isTooLarge(length)) return undefined;
  const rows = runAround(box, shape);
  const range = rangeOfRows(rows, shape, element);
  if (range.length > length * MAX_SHARE) return undefined;
  const key = memoKey(reading);
  const kept = recall(memo, key);
  if (kept && !isForward(kept)) return undefined;
  const open = (): Pieces => unpackBytes(codecs, encoded, length, site);
  const isSummed = codecs.some(({ checksum }) => checksum !== undefined);
  const forward = kept ?? readForward(open, length, isSummed, site);
  memo.delete(key);
  forget(memo, forward.held());
  memo.set(key, forward);
  const bytes = forward.read(range, (size) =>
    allocateFor(site, size, isSameBox(rows, box) ? room : allocate),
  );
  return bytes && { box: rows, bytes: toNative(element, bytes) };
}

function decodeWhole(
  { element, bytes: codecs }: Layout,
  shape: readonly number[],
  encoded: Encoded,
  site: Site,
): Uint8Array {
  const length = countOf(shape) * element.width;
  const stored = decodeBytes(codecs, encoded, length, site);
  requireLength(stored.length, length, site);
  return toNative(element, stored);
}

function requireLength(found: number, length: number, site: Site): void {
  if (found !== length) failDamaged(site, `expected ${length} bytes of elements, found ${found}`);
}

const ENTRY_BYTES = 16;

const indexLength = ({ index }: Sharding, count: number): number =>
  index.codecs.reduce((n, codec) => codec.encodedLength?.(n) ?? n, count * ENTRY_BYTES);

function unpackShard(
  sharding: Sharding,
  shape: readonly number[],
  codecs: readonly BytesCodec[],
  encoded: Encoded,
  { site }: Reading,
): Encoded {
  const count = countOf(gridOf(shape, sharding.chunk));
  const inner = longest(sharding.layout, sharding.chunk);
  const bytes = decodeBytes(codecs, encoded, inner * count + indexLength(sharding, count), site);
  return inMemory(bytes);
}

/** The check sums that every byte of the elements is under; none when damage can go unnoticed. */
export const checksumsOf = ({ bytes, sharding }: Layout): readonly string[] => [
  ...bytes.flatMap(({ checksum }) => checksum ?? []),
  ...(sharding ? checksumsOf(sharding.layout) : []),
];

/** The most bytes that a chunk of this shape takes. */
function longest({ element, sharding, bytes }: Layout, shape: readonly number[]): number {
  const plain = countOf(shape) * element.width;
  const count = sharding ? countOf(gridOf(shape, sharding.chunk)) : 0;
  const body = sharding
    ? longest(sharding.layout, sharding.chunk) * count + indexLength(sharding, count)
    : plain;
  return bytes.reduce((n, codec) => codec.encodedLimit(n), body);
}

const ABSENT = 0xffffffffffffffffn;

function readShards(
  sharding: Sharding,
  shape: readonly number[],
  shard: Encoded,
  box: Box,
  reading: Reading,
): Uint8Array {
  const { chunk, layout } = sharding;
  const grid = gridOf(shape, chunk);
  const entries = readIndex(sharding, countOf(grid), shard, reading.site);
  const readInner = (index: readonly number[], wanted: Box, room: Allocate): Uint8Array => {
    const at = index.reduce((n, i, axis) => n * (grid[axis] ?? 1) + i, 0);
    const site = { ...reading.site, what: `${reading.site.what}, inner chunk ${at}` };
    const range = rangeOf(entries, at, shard.size, site);
    if (!range) return filled(wanted, reading.fill ?? failAbsent(site), site);
    const inner: Encoded = {
      size: range.length,
      read: (sub) => shard.read(sub ? { offset: range.offset + sub.offset, length: sub.length } : range),
    };
    return readLayout(layout, chunk, inner, wanted, { ...reading, site, room });
  };
  return readChunks(box, chunk, layout.element.width, reading, readInner);
}

/**
 * Puts a box together from the chunks of a regular grid that it touches; from one alone without copying. `read` gives
 * a box of one chunk, whose coordinates begin with the chunk.
 */
export function readChunks(
  box: Box,
  chunk: readonly number[],
  width: number,
  { site, room }: Pick<Reading, "site" | "room">,
  read: (index: readonly number[], wanted: Box, room: Allocate) => Uint8Array,
): Uint8Array {
  let out: Uint8Array | undefined;
  for (const index of chunksIn(box, chunk)) {
    const wanted = intersect(box, chunkBox(index, chunk)) ?? box;
    const local = wanted.map(([start, stop], axis) => {
      const from = (index[axis] ?? 0) * (chunk[axis] ?? 1);
      return [start - from, stop - from] as const;
    });
    const isAlone = isSameBox(wanted, box);
    const bytes = read(index, local, isAlone ? room : allocate);
    if (isAlone) return bytes;
    // Not before the first chunk is known to be there and whole: only then is the size more than a claim.
    out ??= allocateFor(site, countOf(shapeOfBox(box)) * width, room);
    copyBox({ box: wanted, bytes }, { box, bytes: out }, width);
  }
  return out ?? new Uint8Array();
}

/** What an element that was never written fails with where everything must be there. */
export const failAbsent = ({ file, tensor, what }: Site): never =>
  fail({
    code: "chunk-missing",
    message: `tensor \`${tensor}\`: ${what} is missing, and this checkpoint says that every chunk was written`,
    at: { file },
    help: "the checkpoint is incomplete: copy it again, or use an earlier one",
  });

type Index = { readonly view: DataView; readonly isBigEndian: boolean };

function readIndex(sharding: Sharding, count: number, shard: Encoded, site: Site): Index {
  const { index } = sharding;
  const length = indexLength(sharding, count);
  if (length > shard.size)
    failDamaged(
      site,
      `an index of ${count} inner chunks takes ${length} bytes, but the shard has ${shard.size}`,
    );
  const offset = index.isAtStart ? 0 : shard.size - length;
  const bytes = decodeBytes(index.codecs, inMemory(shard.read({ offset, length })), count * ENTRY_BYTES, {
    ...site,
    what: `${site.what}, index of its inner chunks`,
  });
  return { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), isBigEndian: index.isBigEndian };
}

/** Where an inner chunk lies in its shard; nothing when it was never written. */
function rangeOf(index: Index, at: number, size: number, site: Site): ByteRange | undefined {
  const [offset, length] = [0, 8].map((field) =>
    index.view.getBigUint64(at * ENTRY_BYTES + field, !index.isBigEndian),
  );
  if (offset === undefined || length === undefined || (offset === ABSENT && length === ABSENT))
    return undefined;
  if (offset + length > BigInt(size))
    failDamaged(site, `lies at bytes ${offset} to ${offset + length}, but the shard has ${size}`);
  return { offset: Number(offset), length: Number(length) };
}
