// Row-major arrays and zarr's encodings by the plainest means, to hold the readers and writers against.
import { deflateSync, gzipSync } from "node:zlib";
import type { KvReader } from "../../runtime/checkpoint/kv.ts";
import type { Box } from "../../runtime/checkpoint/tensors.ts";
import { openArray, type ZarrVersion } from "../../runtime/checkpoint/zarr/array.ts";

/** How many elements a shape has. */
export const elementsIn = (shape: readonly number[]): number => shape.reduce((n, size) => n * size, 1);

/** Every index of a box, row-major. */
export const indicesOf = (box: Box): number[][] =>
  box.reduce<number[][]>(
    (outer, [start, stop]) =>
      outer.flatMap((index) => Array.from({ length: stop - start }, (_, i) => [...index, start + i])),
    [[]],
  );

/** Where an element lies in a row-major array. */
export const offsetOf = (shape: readonly number[], index: readonly number[]): number =>
  index.reduce((at, i, axis) => at * shape[axis]! + i, 0);

/** The elements of a box, one by one. */
export function slice(bytes: Uint8Array, shape: readonly number[], box: Box, width: number): Uint8Array {
  const at = indicesOf(box).map((index) => offsetOf(shape, index) * width);
  return Uint8Array.from(at.flatMap((offset) => [...bytes.subarray(offset, offset + width)]));
}

/** A codec from bytes to bytes as metadata names it, with its encoder. */
export type Encoder = { readonly name: string; encode(bytes: Uint8Array): Uint8Array };

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

// A frame of one segment whose blocks are raw: Zstandard without compression.
function rawFrame(bytes: Uint8Array): Uint8Array {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(0xfd2fb528, 0);
  header.writeUInt8(0xa0, 4);
  header.writeUInt32LE(bytes.length, 5);
  const block = Buffer.alloc(3);
  block.writeUIntLE((bytes.length << 3) | 1, 0, 3);
  return Buffer.concat([header, block, bytes]);
}

export const GZIP: Encoder = { name: "gzip", encode: (bytes) => gzipSync(bytes) };
export const ZLIB: Encoder = { name: "zlib", encode: (bytes) => deflateSync(bytes) };
export const ZSTD: Encoder = { name: "zstd", encode: rawFrame };
export const CRC32C: Encoder = {
  name: "crc32c",
  encode(bytes) {
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(crc32c(bytes));
    return Buffer.concat([bytes, sum]);
  },
};

/** How chunks are encoded: zarr v3's chain of codecs. */
export type Chain = {
  readonly order?: readonly number[] | undefined;
  readonly isBigEndian: boolean;
  readonly shard?: Shard | undefined;
  readonly codecs: readonly Encoder[];
};

/** Inner chunks, `counts` of them along each axis of the (transposed) outer one. */
export type Shard = {
  readonly counts: readonly number[];
  readonly chain: Chain;
  readonly isIndexAtStart: boolean;
  readonly isIndexBigEndian: boolean;
  readonly indexCodecs: readonly Encoder[];
  /** Inner chunks that are left out, by their number. */
  readonly absent: ReadonlySet<number>;
};

const encodeAll = (codecs: readonly Encoder[], bytes: Uint8Array): Uint8Array =>
  codecs.reduce((coded, codec) => codec.encode(coded), bytes);

/** Encodes the elements of a chunk of this shape, `width` bytes each, `unit` bytes in one number. */
export function encodeChunk(
  chain: Chain,
  shape: readonly number[],
  bytes: Uint8Array,
  width: number,
  unit: number,
): Uint8Array {
  const order = chain.order ?? shape.map((_, axis) => axis);
  const ordered = order.map((axis) => shape[axis]!);
  const whole = ordered.map((size) => [0, size] as const);
  const turned = Buffer.concat(
    indicesOf(whole).map((index) => {
      const at = offsetOf(
        shape,
        shape.map((_, axis) => index[order.indexOf(axis)]!),
      );
      return bytes.subarray(at * width, (at + 1) * width);
    }),
  );
  const { shard } = chain;
  if (shard) return encodeAll(chain.codecs, encodeShard(shard, ordered, turned, width, unit));
  if (chain.isBigEndian)
    for (let at = 0; at < turned.length; at += unit) turned.subarray(at, at + unit).reverse();
  return encodeAll(chain.codecs, turned);
}

function encodeShard(
  shard: Shard,
  shape: readonly number[],
  bytes: Uint8Array,
  width: number,
  unit: number,
): Uint8Array {
  const inner = shape.map((size, axis) => size / shard.counts[axis]!);
  const boxes = indicesOf(shard.counts.map((count) => [0, count] as const)).map((index) =>
    index.map((i, axis) => [i * inner[axis]!, (i + 1) * inner[axis]!] as const),
  );
  const bodies = boxes.map((box, i) =>
    shard.absent.has(i)
      ? undefined
      : encodeChunk(shard.chain, inner, slice(bytes, shape, box, width), width, unit),
  );
  const index = Buffer.alloc(16 * bodies.length, 0xff);
  const length = encodeAll(shard.indexCodecs, index).length;
  let at = shard.isIndexAtStart ? length : 0;
  const write = (value: number, offset: number): unknown =>
    shard.isIndexBigEndian
      ? index.writeBigUInt64BE(BigInt(value), offset)
      : index.writeBigUInt64LE(BigInt(value), offset);
  for (const [i, body] of bodies.entries()) {
    if (!body) continue;
    write(at, 16 * i);
    write(body.length, 16 * i + 8);
    at += body.length;
  }
  const coded = encodeAll(shard.indexCodecs, index);
  const parts = bodies.filter((body) => body !== undefined);
  return Buffer.concat(shard.isIndexAtStart ? [coded, ...parts] : [...parts, coded]);
}

/** The codecs of a chain as `zarr.json` has them, for chunks of this shape. */
export function codecsJson(chain: Chain, shape: readonly number[]): object[] {
  const ordered = chain.order?.map((axis) => shape[axis]!) ?? shape;
  const endian = (isBig: boolean): object => ({
    name: "bytes",
    configuration: { endian: isBig ? "big" : "little" },
  });
  const { shard } = chain;
  const inner = ordered.map((size, axis) => size / (shard?.counts[axis] ?? 1));
  const sharding = shard && {
    name: "sharding_indexed",
    configuration: {
      chunk_shape: inner,
      codecs: codecsJson(shard.chain, inner),
      index_codecs: [endian(shard.isIndexBigEndian), ...shard.indexCodecs.map(({ name }) => ({ name }))],
      index_location: shard.isIndexAtStart ? "start" : "end",
    },
  };
  return [
    ...(chain.order ? [{ name: "transpose", configuration: { order: chain.order } }] : []),
    sharding ?? endian(chain.isBigEndian),
    ...chain.codecs.map(({ name }) => ({ name })),
  ];
}

/** A store in memory. */
export function storeOf(values: ReadonlyMap<string, Uint8Array>): KvReader {
  return {
    path: "memory",
    keys: new Map([...values].map(([key, value]) => [key, value.length])),
    fileOf: (key) => `memory/${key}`,
    read: (key, range) =>
      range ? values.get(key)!.slice(range.offset, range.offset + range.length) : values.get(key)!.slice(),
    close() {},
  };
}

export const json = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Opens the array `w` in a store of these values. */
export const open = (values: ReadonlyMap<string, Uint8Array>, version: ZarrVersion, isComplete = false) =>
  openArray(storeOf(values), "w", { version, isComplete, memo: new Map() });

/** The metadata of a v2 array: of bytes, in C order and bare unless `fields` say otherwise. */
export const metadataV2 = (
  shape: readonly number[],
  chunks: readonly number[],
  fields: object = {},
): object => ({
  zarr_format: 2,
  shape,
  chunks,
  dtype: "|u1",
  compressor: null,
  order: "C",
  ...fields,
});

/** The metadata of a v3 array: of bytes that begin as zeros unless `fields` say otherwise. */
export const metadataV3 = (
  shape: readonly number[],
  chunk: readonly number[],
  codecs: readonly object[],
  fields: object = {},
): object => ({
  zarr_format: 3,
  node_type: "array",
  shape,
  data_type: "uint8",
  chunk_grid: { name: "regular", configuration: { chunk_shape: chunk } },
  chunk_key_encoding: { name: "default" },
  fill_value: 0,
  codecs,
  ...fields,
});
