// How the elements of a chunk lie in its encoded bytes, and reading a box of them through orders of axes and shards.
import { fail } from "../../../compiler/diag.ts";
import { allocate } from "../../files.ts";
import {
  chunkBox,
  chunksIn,
  copyBox,
  countOf,
  gridOf,
  intersect,
  isSameBox,
  permute,
  shapeOfBox,
} from "../box.ts";
import { type ByteRange, type Encoded, inMemory } from "../kv.ts";
import type { Allocate, Box } from "../tensors.ts";
import { allocateFor, type Reading, readBox } from "./chunk.ts";
import { type BytesCodec, decodeBytes, failDamaged, type Site } from "./codecs.ts";
import type { Element } from "./element.ts";

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

/** Elements of a box, all of them `fill`. */
export function filled(box: Box, fill: Uint8Array, site: Site): Uint8Array {
  const bytes = allocateFor(site, countOf(shapeOfBox(box)) * fill.length, (length) => new Uint8Array(length));
  if (fill.some((byte) => byte !== 0))
    for (let at = 0; at < bytes.length; at += fill.length) bytes.set(fill, at);
  return bytes;
}

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
  return readBox({ shape, element, codecs, encoded }, box, reading);
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

/** The shape of the parts of a chunk that are decoded each by itself: of what is in shards, or of the chunk. */
export function innermost({ order, sharding, bytes }: Layout, shape: readonly number[]): readonly number[] {
  if (!sharding || bytes.length > 0) return shape;
  const inner = innermost(sharding.layout, sharding.chunk);
  return order ? order.map((_, axis) => inner[order.indexOf(axis)] ?? 1) : inner;
}

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
      read: (sub, room) =>
        shard.read(sub ? { offset: range.offset + sub.offset, length: sub.length } : range, room),
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
