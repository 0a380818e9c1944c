// Reading boxes of a chunk: from where it lies, if codecs leave it as it is; from all of it, which is kept for the next box;
// or, where it is large, from as much of it as is decoded at a time.
import { allocate, allocateAgain, fitting } from "../../files.ts";
import {
  bandsOf,
  copyBox,
  countOf,
  isSameBox,
  isWithin,
  offsetOf,
  type Part,
  runAround,
  shapeOfBox,
  wholeBox,
  widened,
} from "../box.ts";
import type { ByteRange, Encoded } from "../kv.ts";
import type { Allocate, Box } from "../tensors.ts";
import { type BytesCodec, decodeBytes, decodeInPlace, type Site, unpackBytes } from "./codecs.ts";
import { type Element, toNative } from "./element.ts";
import { beginLarge, type Forward, type Large, readDirect, readForward, requireLength } from "./forward.ts";
import { forget, isLarge, isTooLarge, isWhole, type Memo, recall, SOUND } from "./memo.ts";

/** Elements of a shape, row-major, that were encoded by codecs in their order. */
export type Chunk = {
  readonly shape: readonly number[];
  readonly element: Element;
  readonly codecs: readonly BytesCodec[];
  readonly encoded: Encoded;
};

/** What reading a chunk needs beside its bytes. */
export type Reading = {
  readonly site: Site;
  /** One element for those that were never written, or nothing if all of them must be there. */
  readonly fill: Uint8Array | undefined;
  readonly memo: Memo;
  /** For the elements that are wanted, unless they are what a codec has made. */
  readonly room: Allocate;
};

/** Memory for a tensor or a part of it; how much may come from a file, so that there may not be enough. */
export const allocateFor = ({ file, tensor }: Site, length: number, room: Allocate): Uint8Array =>
  fitting("tensor-too-large", `tensor \`${tensor}\`: a part of ${length} bytes`, { file }, () =>
    room(length),
  );

const bytesIn = (box: Box, { element }: Chunk): number => countOf(shapeOfBox(box)) * element.width;
const lengthOf = ({ shape, element }: Chunk): number => countOf(shape) * element.width;

/** The elements of a box of a chunk, row-major and in our byte order. */
export function readBox(chunk: Chunk, box: Box, reading: Reading): Uint8Array {
  const whole = wholeBox(chunk.shape);
  if (isSameBox(box, whole)) return decodeWhole(readingInto(chunk, reading.room), reading.site);
  const there = readInPlace(chunk, box, reading);
  if (there) return there;
  const large = isTooLarge(lengthOf(chunk)) ? findLarge(chunk, box, reading) : undefined;
  if (large) return readLarge(chunk, large, box, reading);
  return copyOf({ box: whole, bytes: decodeKept(chunk, reading) }, chunk, box, reading);
}

function copyOf(part: Part, chunk: Chunk, box: Box, { site, room }: Reading): Uint8Array {
  const bytes = allocateFor(site, bytesIn(box, chunk), room);
  copyBox(part, { box, bytes }, chunk.element.width);
  return bytes;
}

const memoKey = ({ site }: Reading): string => `${site.tensor}/${site.what}`;

/** A box whose bytes lie together in a chunk that codecs leave as it is: read from there alone, once it was checked. */
function readInPlace(chunk: Chunk, box: Box, reading: Reading): Uint8Array | undefined {
  const { site, memo, room } = reading;
  if (!isSameBox(runAround(box, chunk.shape), box)) return undefined;
  const key = memoKey(reading);
  const kept = recall(memo, key);
  const stored = findInPlace(chunk, site, kept !== undefined);
  if (!stored) return undefined;
  if (!kept) memo.set(key, SOUND);
  const bytes = stored.read(rangeAround(box, chunk), (size) => allocateFor(site, size, room));
  return toNative(chunk.element, bytes);
}

/** All elements as they are stored, where they lie, of a chunk that codecs leave as it is. */
function findInPlace(chunk: Chunk, site: Site, isChecked: boolean): Encoded | undefined {
  const length = lengthOf(chunk);
  const stored = decodeInPlace(chunk.codecs, chunk.encoded, length, site, isChecked);
  if (stored) requireLength(stored.size, length, site);
  return stored;
}

/** All of a chunk, which is kept for the next box of it. */
function decodeKept(chunk: Chunk, reading: Reading): Uint8Array {
  const { site, memo } = reading;
  const key = memoKey(reading);
  const kept = recall(memo, key);
  if (kept && isWhole(kept)) return kept.bytes;
  // Room is made first, so that the old and the new are never held together.
  memo.delete(key);
  const free = forget(memo, lengthOf(chunk));
  let memory: Uint8Array | undefined;
  const own: Allocate = (length) => {
    // Much larger memory than a chunk needs would be held with it.
    memory = free && free.length >= length && free.length <= 2 * length ? free : allocate(length);
    return memory.subarray(0, length);
  };
  const bytes = decodeWhole(readingInto(chunk, own), site);
  memo.set(key, memory?.buffer === bytes.buffer ? { bytes, memory } : { bytes });
  return bytes;
}

/** The same chunk; what is read of it in one piece, by a codec that brings no memory of its own, goes into `room`. */
const readingInto = (chunk: Chunk, own: Allocate): Chunk => ({
  ...chunk,
  encoded: {
    size: chunk.encoded.size,
    read: (range, room = own) => chunk.encoded.read(range, room),
  },
});

function decodeWhole(chunk: Chunk, site: Site): Uint8Array {
  const length = lengthOf(chunk);
  const stored = decodeBytes(chunk.codecs, chunk.encoded, length, site);
  requireLength(stored.length, length, site);
  return toNative(chunk.element, stored);
}

// What is held of a chunk at once, unless all of it is wanted at once.
const MAX_HELD = 1 << 29;
// Rows that are more of a chunk than this part of it might as well be taken from what is held of it.
const MAX_SHARE = 1 / 8;

/** Where the elements of a box lie, with those between them. */
function rangeAround(box: Box, chunk: Chunk): ByteRange {
  const rows = runAround(box, chunk.shape);
  return { offset: offsetOf(rows, chunk.shape) * chunk.element.width, length: bytesIn(rows, chunk) };
}

const isNarrow = ({ length }: ByteRange, chunk: Chunk): boolean => length <= lengthOf(chunk) * MAX_SHARE;

/**
 * What there is of a chunk that is too large to be kept. Nothing where boxes do not follow each other, or reach across it:
 * then it is better decoded whole, and once, if it may be held.
 */
function findLarge(chunk: Chunk, box: Box, reading: Reading): Large | undefined {
  const { memo } = reading;
  const kept = recall(memo, memoKey(reading));
  if (kept && isWhole(kept)) return undefined;
  const large = kept && isLarge(kept) ? kept : undefined;
  const wanted = rangeAround(box, chunk);
  const isInOrder = isNarrow(wanted, chunk) && !large?.forward.isPast(wanted.offset);
  if (!isInOrder && lengthOf(chunk) <= MAX_HELD) return undefined;
  return large ?? beginLarge(openForward(chunk, reading.site, kept !== undefined));
}

function openForward(chunk: Chunk, site: Site, isChecked: boolean): Forward {
  const stored = findInPlace(chunk, site, isChecked);
  if (stored) return readDirect(stored);
  const { codecs, encoded } = chunk;
  const length = lengthOf(chunk);
  const isSummed = codecs.some(({ checksum }) => checksum !== undefined);
  return readForward(() => unpackBytes(codecs, encoded, length, site), length, isSummed, site);
}

/** Reads a narrow box by itself, and one that reaches across the chunk with those that may follow it, which are held. */
function readLarge(chunk: Chunk, large: Large, box: Box, reading: Reading): Uint8Array {
  const { memo } = reading;
  const key = memoKey(reading);
  const isThere = large.part !== undefined && isWithin(box, large.part.box);
  const isNew = !isThere && !isNarrow(rangeAround(box, chunk), chunk);
  const wide = isNew ? widened(box, chunk.shape, MAX_HELD / chunk.element.width) : box;
  if (isNew) large.part = undefined;
  memo.delete(key);
  forget(memo, large.held() + (isNew ? bytesIn(wide, chunk) : 0));
  memo.set(key, large);
  if (large.part && isThere) return copyOf(large.part, chunk, box, reading);
  if (isSameBox(wide, box)) return readBands(chunk, large.forward, box, reading);
  large.part = { box: wide, bytes: readBands(chunk, large.forward, wide, { ...reading, room: allocate }) };
  return copyOf(large.part, chunk, box, reading);
}

// What is taken of a chunk at a time.
const BAND_BYTES = 1 << 25;

function readBands(chunk: Chunk, forward: Forward, box: Box, { site, room }: Reading): Uint8Array {
  const { shape, element } = chunk;
  let out: Uint8Array | undefined;
  const again = allocateAgain(BAND_BYTES);
  for (const part of bandsOf(box, shape, BAND_BYTES / element.width)) {
    const rows = runAround(part, shape);
    const isAll = isSameBox(rows, box);
    const stored = forward.read(rangeAround(part, chunk), isAll ? room : again);
    const bytes = toNative(element, stored);
    if (isAll) return bytes;
    // Not before some of it is known to be there: only then is the size more than a claim.
    out ??= allocateFor(site, bytesIn(box, chunk), room);
    copyBox({ box: rows, bytes }, { box, bytes: out }, element.width);
  }
  return out ?? new Uint8Array();
}
