import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { KvReader } from "../../runtime/checkpoint/kv.ts";
import type { Box } from "../../runtime/checkpoint/tensors.ts";
import { openArray, type ZarrVersion } from "../../runtime/checkpoint/zarr/array.ts";
import { checksum32c } from "../../runtime/checkpoint/zarr/codecs.ts";
import { heldBy, isWhole, type Memo } from "../../runtime/checkpoint/zarr/memo.ts";
import { failure } from "./support.ts";
import {
  type Chain,
  CRC32C,
  codecsJson,
  type Encoder,
  elementsIn,
  encodeChunk,
  GZIP,
  indicesOf,
  slice,
  storeOf,
  ZLIB,
  ZSTD,
} from "./zarr-support.ts";

const TYPES = [
  { v3: "bool", v2: "|b1", dtype: "BOOL", width: 1, unit: 1 },
  { v3: "int8", v2: "|i1", dtype: "I8", width: 1, unit: 1 },
  { v3: "float8_e4m3fn", v2: "float8_e4m3fn", dtype: "F8_E4M3", width: 1, unit: 1 },
  { v3: "bfloat16", v2: "bfloat16", dtype: "BF16", width: 2, unit: 2 },
  { v3: "uint16", v2: "<u2", dtype: "U16", width: 2, unit: 2 },
  { v3: "float32", v2: "<f4", dtype: "F32", width: 4, unit: 4 },
  { v3: "int64", v2: "<i8", dtype: "I64", width: 8, unit: 8 },
  { v3: "complex64", v2: "<c8", dtype: "C64", width: 8, unit: 4 },
] as const;

/** An array: rank, grid and values; the array's border cuts the last chunk of each axis by `cut`. */
const grids = fc.array(
  fc.record({
    chunk: fc.constantFrom(1, 2, 4, 6),
    count: fc.integer({ min: 1, max: 3 }),
    cut: fc.nat(3),
  }),
  { maxLength: 3 },
);

const codecs = fc.array(fc.constantFrom(GZIP, ZSTD, CRC32C), { maxLength: 3 });

const chains = (rank: number, depth: number): fc.Arbitrary<Chain> => {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const shard = fc.record({
    counts: fc.array(fc.constantFrom(1, 2), { minLength: rank, maxLength: rank }),
    chain: depth > 0 ? chains(rank, depth - 1) : fc.constant<Chain>({ isBigEndian: false, codecs: [ZSTD] }),
    isIndexAtStart: fc.boolean(),
    isIndexBigEndian: fc.boolean(),
    indexCodecs: fc.constantFrom([], [CRC32C]),
    absent: fc.uniqueArray(fc.nat(7), { maxLength: 2 }).map((numbers) => new Set(numbers)),
  });
  return fc.record({
    order: fc.option(fc.shuffledSubarray(axes, { minLength: rank }), { nil: undefined }),
    isBigEndian: fc.boolean(),
    shard: depth > 0 ? fc.option(shard, { nil: undefined }) : fc.constant(undefined),
    codecs,
  });
};

/** Inner chunks must divide the outer ones, or the chain does not fit the array. */
function fits({ shard, order }: Chain, shape: readonly number[]): boolean {
  const ordered = order?.map((axis) => shape[axis]!) ?? shape;
  if (!shard) return true;
  const inner = ordered.map((size, axis) => size / shard.counts[axis]!);
  return inner.every(Number.isInteger) && fits(shard.chain, inner);
}

const holes = ({ shard }: Chain): boolean =>
  shard !== undefined && (shard.absent.size > 0 || holes(shard.chain));

type Sample = {
  readonly shape: readonly number[];
  readonly chunk: readonly number[];
  readonly type: (typeof TYPES)[number];
  readonly bytes: Uint8Array;
};

const samples: fc.Arbitrary<Sample> = fc
  .tuple(grids, fc.constantFrom(...TYPES), fc.nat(255))
  .map(([axes, type, seed]) => {
    const shape = axes.map(({ chunk, count, cut }) => Math.max(chunk * count - cut, 0));
    const bytes = Uint8Array.from(
      { length: elementsIn(shape) * type.width },
      (_, i) => (seed + i * 37) % 251,
    );
    return { shape, chunk: axes.map(({ chunk }) => chunk), type, bytes };
  });

/** Every chunk of an array by its index, the last of an axis filled up with a byte that must never be seen. */
function chunksOf({ shape, chunk, type, bytes }: Sample): { index: number[]; body: Uint8Array }[] {
  const grid = shape.map((size, axis) => Math.ceil(size / chunk[axis]!));
  return indicesOf(grid.map((count) => [0, count] as const)).map((index) => {
    const box = index.map((i, axis) => [i * chunk[axis]!, (i + 1) * chunk[axis]!] as const);
    const parts = indicesOf(box).map((at) =>
      at.every((i, axis) => i < shape[axis]!)
        ? slice(
            bytes,
            shape,
            at.map((i) => [i, i + 1] as const),
            type.width,
          )
        : new Uint8Array(type.width).fill(0xee),
    );
    return { index, body: Buffer.concat(parts) };
  });
}

const boxIn = (shape: readonly number[], picks: readonly number[]): Box =>
  shape.map((size, axis) => {
    const [a, b] = [picks[2 * axis]! % (size + 1), picks[2 * axis + 1]! % (size + 1)];
    return [Math.min(a, b), Math.max(a, b)] as const;
  });

const picks = fc.array(fc.nat(), { minLength: 6, maxLength: 6 });

const json = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Opens the array `w` in a store of these values. */
const open = (values: ReadonlyMap<string, Uint8Array>, version: ZarrVersion, isComplete = false) =>
  openArray(storeOf(values), "w", { version, isComplete, memo: new Map() });

function expectRead(
  values: ReadonlyMap<string, Uint8Array>,
  version: ZarrVersion,
  sample: Sample,
  box: Box,
): void {
  const { shape, type, bytes } = sample;
  const array = open(values, version, true);
  expect(array.tensor).toEqual({ name: "w", dtype: type.dtype, shape });
  const whole = shape.map((size) => [0, size] as const);
  for (const wanted of [whole, box, ...array.chunks()])
    expect(Buffer.from(array.read(wanted))).toEqual(Buffer.from(slice(bytes, shape, wanted, type.width)));
}

test("zarr v3: any shape, grid, chain of codecs, byte order and nesting of shards reads as what was encoded", () => {
  const cases = samples.chain((sample) =>
    fc.tuple(
      fc.constant(sample),
      chains(sample.shape.length, 2).filter((chain) => fits(chain, sample.chunk) && !holes(chain)),
      fc.constantFrom("default", "v2"),
      fc.constantFrom("/", "."),
      picks,
    ),
  );
  fc.assert(
    fc.property(cases, ([sample, chain, encoding, separator, pick]) => {
      const { shape, chunk, type } = sample;
      const metadata = {
        zarr_format: 3,
        node_type: "array",
        shape,
        data_type: type.v3,
        chunk_grid: { name: "regular", configuration: { chunk_shape: chunk } },
        chunk_key_encoding: { name: encoding, configuration: { separator } },
        fill_value: 0,
        codecs: codecsJson(chain, chunk),
        attributes: {},
      };
      const keyOf = (index: number[]): string =>
        encoding === "default" ? ["c", ...index].join(separator) : index.join(separator) || "0";
      const values = new Map([["w/zarr.json", json(metadata)]]);
      for (const { index, body } of chunksOf(sample))
        values.set(`w/${keyOf(index)}`, encodeChunk(chain, chunk, body, type.width, type.unit));
      expectRead(values, 3, sample, boxIn(shape, pick));
    }),
    { numRuns: 60 },
  );
});

const v2 = ({ shape, chunk, type }: Sample, fields: object = {}): object => ({
  zarr_format: 2,
  shape,
  chunks: chunk,
  dtype: type.v2,
  compressor: null,
  filters: null,
  fill_value: null,
  order: "C",
  ...fields,
});

test("zarr v2: any shape, grid, compressor, order and byte order reads as what was encoded", () => {
  const compressors: readonly (Encoder | undefined)[] = [undefined, GZIP, ZLIB, ZSTD];
  const cases = fc.record({
    sample: samples,
    compressor: fc.constantFrom(...compressors),
    isBigEndian: fc.boolean(),
    order: fc.constantFrom("C", "F"),
    separator: fc.constantFrom(".", "/", undefined),
    pick: picks,
  });
  fc.assert(
    fc.property(cases, ({ sample, compressor, isBigEndian, order, separator, pick }) => {
      const { shape, chunk, type } = sample;
      const isSwapped = isBigEndian && type.v2.startsWith("<");
      const metadata = v2(sample, {
        dtype: isSwapped ? type.v2.replace("<", ">") : type.v2,
        compressor: compressor ? { id: compressor.name, level: 1 } : null,
        order,
        ...(separator === undefined ? {} : { dimension_separator: separator }),
      });
      const chain: Chain = {
        order: order === "F" ? shape.map((_, axis) => shape.length - 1 - axis) : undefined,
        isBigEndian: isSwapped,
        codecs: compressor ? [compressor] : [],
      };
      const values = new Map([["w/.zarray", json(metadata)]]);
      for (const { index, body } of chunksOf(sample))
        values.set(
          `w/${index.join(separator ?? ".") || "0"}`,
          encodeChunk(chain, chunk, body, type.width, type.unit),
        );
      expectRead(values, 2, sample, boxIn(shape, pick));
    }),
    { numRuns: 60 },
  );
});

/** The metadata of an array of bytes. */
const bytesMetadata = (shape: number[], chunks: number[], compressor: object | null = null) => ({
  zarr_format: 2,
  shape,
  chunks,
  dtype: "|u1",
  compressor,
  order: "C",
});

test("a chunk of which parts are wanted is decoded once, and what is held of chunks is limited", () => {
  const rows = 48;
  const row = 1 << 20;
  // Three chunks of 48 MiB, of which two fit.
  const metadata = bytesMetadata([3 * rows, row], [rows, row]);
  const body = new Uint8Array(rows * row);
  const values = new Map([
    ["w/.zarray", json(metadata)],
    ...[0, 1, 2].map((i) => [`w/${i}.0`, body] as const),
  ]);
  const reads: string[] = [];
  const store = storeOf(values);
  const counted: KvReader = {
    ...store,
    read(key) {
      reads.push(key);
      return store.read(key);
    },
  };
  const memo: Memo = new Map();
  const array = openArray(counted, "w", { version: 2, isComplete: true, memo });
  const touch = (chunk: number): number => {
    reads.length = 0;
    array.read([
      [chunk * rows, chunk * rows + 2],
      [0, 8],
    ]);
    return reads.length;
  };
  expect([0, 0, 1, 0, 2, 0, 1].map(touch)).toEqual([1, 0, 1, 0, 1, 0, 1]);
  expect([...memo.values()].reduce((sum, kept) => sum + (isWhole(kept) ? kept.bytes.length : 0), 0)).toBe(
    2 * rows * row,
  );
});

test("the memory of a chunk that is no longer held goes to another, not that of what was read", () => {
  const [rows, row] = [60, 1 << 20];
  const metadata = bytesMetadata([3 * rows, row], [rows, row]);
  const given = new Set<ArrayBufferLike>();
  const filled: KvReader = {
    ...storeOf(
      new Map([
        ["w/.zarray", json(metadata)],
        ...[0, 1, 2].map((i) => [`w/${i}.0`, new Uint8Array()] as const),
      ]),
    ),
    read(key, range, room) {
      if (key === "w/.zarray") return json(metadata);
      expect(range).toBe(undefined);
      const bytes = room!(rows * row).fill(key.charCodeAt(2));
      given.add(bytes.buffer);
      return bytes;
    },
  };
  const array = openArray(filled, "w", { version: 2, isComplete: true, memo: new Map() });
  const order = [0, 1, 2, 0, 1, 1, 2, 0];
  const read = order.map((chunk) =>
    array.read([
      [chunk * rows + 3, chunk * rows + 5],
      [7, 15],
    ]),
  );
  expect(read.map((bytes) => [...new Set(bytes)])).toEqual(order.map((chunk) => [48 + chunk]));
  // Two are held, and the first was not held when it was read again.
  expect(given.size).toBeLessThan(new Set(order).size + 1);
});

describe("a chunk that codecs leave as it is", () => {
  const [rows, row] = [16, 1 << 17];
  const body = Uint8Array.from({ length: rows * row }, (_, i) => i % 251);
  const bytesMetadataV3 = (shape: number[], codecs: readonly object[]) => ({
    zarr_format: 3,
    node_type: "array",
    shape,
    data_type: "uint8",
    chunk_grid: { name: "regular", configuration: { chunk_shape: shape } },
    chunk_key_encoding: { name: "default" },
    fill_value: 0,
    codecs,
  });
  const opened = (codecs: readonly object[], chunk: Uint8Array) => {
    const values = new Map([
      ["w/zarr.json", json(bytesMetadataV3([rows, row], codecs))],
      ["w/c/0/0", chunk],
    ]);
    const store = storeOf(values);
    let taken = 0;
    const counted: KvReader = {
      ...store,
      read(key, range, room) {
        if (key === "w/c/0/0") taken += range?.length ?? chunk.length;
        return store.read(key, range, room);
      },
    };
    const memo: Memo = new Map();
    const array = openArray(counted, "w", { version: 3, isComplete: true, memo });
    const held = (): number => [...memo.values()].reduce((n, kept) => n + heldBy(kept), 0);
    return { array, held, taken: () => taken };
  };
  const bytesCodec = { name: "bytes" };
  const rowAt = (i: number): Box => [
    [i, i + 1],
    [0, row],
  ];
  const summed = (bytes: Uint8Array): Uint8Array => Buffer.concat(checksum32c.encode!(bytes));

  test("is read where it lies: no more than is wanted, beside once to check it", () => {
    const { array, held, taken } = opened([bytesCodec, { name: "crc32c" }], summed(body));
    for (const i of [3, 9, 0]) expect(array.read(rowAt(i))).toEqual(body.subarray(i * row, (i + 1) * row));
    expect(taken()).toBe(body.length + 4 + 3 * row);
    expect(
      array.read([
        [2, 5],
        [7, 7 + 300],
      ]),
    ).toEqual(Buffer.concat([2, 3, 4].map((i) => body.subarray(i * row + 7, i * row + 307))));
    expect(held()).toBe(body.length);
    const bare = opened([bytesCodec], body);
    expect(bare.array.read(rowAt(5))).toEqual(body.subarray(5 * row, 6 * row));
    expect([bare.taken(), bare.held()]).toEqual([row, 0]);
  });

  test("is an error wherever it is damaged, whatever is wanted of it", () => {
    for (const at of [0, 5 * row + 1, body.length - 1, body.length, body.length + 3]) {
      const damaged = Uint8Array.from(summed(body));
      damaged[at]! ^= 4;
      const { array } = opened([bytesCodec, { name: "crc32c" }], damaged);
      for (const i of [0, 1])
        expect(failure(() => array.read(rowAt(i)))).toMatchObject({
          code: "chunk-damaged",
          message: expect.stringMatching(/chunk c\/0\/0: its CRC-32C is [0-9a-f]{8}, but/),
        });
    }
    const short = summed(body.subarray(row));
    expect(
      failure(() => opened([bytesCodec, { name: "crc32c" }], short).array.read(rowAt(0))).message,
    ).toContain(`expected ${body.length} bytes of elements, found ${body.length - row}`);
    expect(failure(() => opened([bytesCodec], body.subarray(1)).array.read(rowAt(0))).message).toContain(
      `found ${body.length - 1}`,
    );
  });
});

describe("a chunk too large to be kept", () => {
  // 1280 blocks of 128 KiB, each of one byte repeated; rows of 1 MiB.
  const [rows, columns, row] = [10, 16, 1 << 20];
  const BLOCK = 1 << 17;
  const blocks = (rows * columns * row) / BLOCK;
  const valueAt = (at: number): number => Math.floor(at / BLOCK) % 251;
  /** Its blocks may refer back 2^log bytes. */
  const frame = (count = blocks, log = 20): Uint8Array => {
    const bytes = Buffer.alloc(6 + count * 4);
    bytes.writeUInt32LE(0xfd2fb528, 0);
    bytes.writeUInt8(0, 4);
    bytes.writeUInt8((log - 10) << 3, 5);
    for (let i = 0; i < count; i++) {
      bytes.writeUIntLE((BLOCK << 3) | 2 | (i === count - 1 ? 1 : 0), 6 + i * 4, 3);
      bytes.writeUInt8(valueAt(i * BLOCK), 9 + i * 4);
    }
    return bytes;
  };
  /** The array, what is held of it, and how often its chunk was begun. */
  const opened = (body = frame(), id = "zstd", height = rows) => {
    const shape = [height, columns, row];
    const store = storeOf(
      new Map([
        ["w/.zarray", json(bytesMetadata(shape, shape, { id }))],
        ["w/0.0.0", body],
      ]),
    );
    let begun = 0;
    const counted: KvReader = {
      ...store,
      read(key, range) {
        if (key === "w/0.0.0" && !range?.offset) begun++;
        return store.read(key, range);
      },
    };
    const memo: Memo = new Map();
    const array = openArray(counted, "w", { version: 2, isComplete: true, memo });
    const held = (): number => [...memo.values()].reduce((n, kept) => n + heldBy(kept), 0);
    return { array, held, begun: () => begun };
  };
  const boxAt = (i: number, first = 0, last = row): Box => [
    [Math.floor(i / columns), Math.floor(i / columns) + 1],
    [i % columns, (i % columns) + 1],
    [first, last],
  ];
  const valuesAt = (at: number, bytes: Uint8Array): Uint8Array => {
    for (let i = 0; i < bytes.length; ) {
      const end = Math.min(bytes.length, i + BLOCK - ((at + i) % BLOCK));
      bytes.fill(valueAt(at + i), i, end);
      i = end;
    }
    return bytes;
  };
  const isRight = (bytes: Uint8Array, at: number): boolean =>
    Buffer.compare(valuesAt(at, Buffer.alloc(bytes.length)), bytes) === 0;

  test("is decoded once and not held while its boxes come in order, and held whole when they do not", () => {
    const { array, held, begun } = opened();
    for (let i = 1; i < rows * columns; i += 7) {
      expect(isRight(array.read(boxAt(i, 5, row - 3)), i * row + 5)).toBe(true);
      expect(held()).toBeLessThan(1 << 23);
    }
    expect(begun()).toBe(1);
    for (const i of [3, 1, 2, 159]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect(begun()).toBe(2);
    expect(held()).toBe(rows * columns * row);
  });

  test("is decoded once even if its blocks may refer to all of it", () => {
    const { array, begun } = opened(frame(blocks, 30));
    for (let i = 0; i < rows * columns; i += 3)
      expect(isRight(array.read(boxAt(i, 0, 9)), i * row)).toBe(true);
    expect(begun()).toBe(1);
  });

  test("is held whole at once where boxes reach over most of it", () => {
    const { array, held, begun } = opened();
    const at = [3, 2, 11];
    for (const start of at) {
      const bytes = array.read([
        [0, rows],
        [start, start + 1],
        [9, 10],
      ]);
      expect([...bytes]).toEqual(
        Array.from({ length: rows }, (_, i) => valueAt((i * columns + start) * row + 9)),
      );
    }
    expect(begun()).toBe(1);
    expect(held()).toBe(rows * columns * row);
  });

  const plain = (): Buffer => {
    const bytes = Buffer.alloc(rows * columns * row);
    valuesAt(0, bytes);
    return bytes;
  };

  test.each([
    ["gzip", GZIP],
    ["zlib", ZLIB],
  ])("is decoded as boxes reach from %s too, after its check sum was", (id, { encode }) => {
    const body = encode(plain());
    const { array, held, begun } = opened(body, id);
    for (let i = 1; i < rows * columns; i += 7) {
      expect(isRight(array.read(boxAt(i, 5, row - 3)), i * row + 5)).toBe(true);
      expect(held()).toBeLessThan(1 << 23);
    }
    expect(begun()).toBe(2);
    // Before it, none of its elements are given.
    body[body.length - 1]! ^= 1;
    expect(failure(() => opened(body, id).array.read(boxAt(0))).message).toMatch(
      /^memory\/w\/0.0.0: chunk-damaged: tensor `w`: chunk 0.0.0: not whole (gzip|zlib) data: /,
    );
  });

  test("is decoded as boxes reach through any chain of codecs, after its check sums were", () => {
    const chain: Chain = { isBigEndian: false, codecs: [GZIP, CRC32C] };
    const shape = [rows, columns, row];
    const body = CRC32C.encode(GZIP.encode(plain()));
    const metadata = {
      zarr_format: 3,
      node_type: "array",
      shape,
      data_type: "uint8",
      chunk_grid: { name: "regular", configuration: { chunk_shape: shape } },
      chunk_key_encoding: { name: "default" },
      fill_value: 0,
      codecs: codecsJson(chain, shape),
    };
    const memo: Memo = new Map();
    const store = storeOf(
      new Map([
        ["w/zarr.json", json(metadata)],
        ["w/c/0/0/0", body],
      ]),
    );
    const array = openArray(store, "w", { version: 3, isComplete: true, memo });
    for (const i of [2, 77, 159]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect([...memo.values()].some(isWhole)).toBe(false);
  });

  test("may be under a check sum that comes last, in whatever pieces it comes", () => {
    function* inPieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array, void> {
      let at = 0;
      for (const size of [...sizes, bytes.length]) {
        yield bytes.subarray(at, at + size);
        at += size;
      }
    }
    const site = { file: "a file", tensor: "w", what: "a chunk" };
    fc.assert(
      fc.property(fc.uint8Array(), fc.array(fc.nat(9)), fc.nat(), (bytes, sizes, place) => {
        const summed = CRC32C.encode(bytes);
        const read = (limit: number): Buffer =>
          Buffer.concat([...checksum32c.unpack(inPieces(summed, sizes), limit, site)]);
        expect(read(bytes.length).equals(bytes)).toBe(true);
        expect(bytes.length === 0 || failure(() => read(bytes.length - 1)).code === "chunk-damaged").toBe(
          true,
        );
        summed[place % summed.length]! ^= 1;
        expect(failure(() => read(bytes.length)).message).toMatch(/its CRC-32C is [0-9a-f]{8}, but/);
      }),
    );
    expect(failure(() => [...checksum32c.unpack([Buffer.of(1, 2, 3)], 9, site)]).message).toContain(
      "found 3",
    );
  });

  test("is not held whole if it is larger still, in whatever order and however far boxes reach", () => {
    const height = 40;
    const { array, held, begun } = opened(frame((blocks / rows) * height), "zstd", height);
    const column = (start: number): Box => [
      [1, height],
      [start, start + 2],
      [row - 5, row - 2],
    ];
    // Each across all of it, from its first row to its last.
    const readColumn = (start: number): void => {
      const wanted = Array.from({ length: 2 * (height - 1) }, (_, i) => {
        const at = ((1 + (i >> 1)) * columns + start + (i & 1)) * row + row - 5;
        return [0, 1, 2].map((n) => valueAt(at + n));
      });
      expect([...array.read(column(start))]).toEqual(wanted.flat());
    };
    // Of its 16 columns, 13 fit into what may be held.
    const passes = [0, 1, 2, 5, 11, 9, 13, 14, 3, 0].map((start) => {
      readColumn(start);
      expect(held()).toBeLessThan((1 << 29) + (1 << 23));
      return begun();
    });
    expect(passes).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 3, 4]);
    for (const i of [3, 1, 639, 2, 638]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect(begun()).toBe(7);
  });

  test("is read where boxes lie, and what is between their rows, if it went through no codec", () => {
    const shape = [40, columns, row];
    const metadata = json(bytesMetadata(shape, shape));
    let read = 0;
    const store: KvReader = {
      ...storeOf(new Map([["w/.zarray", metadata]])),
      keys: new Map([
        ["w/.zarray", metadata.length],
        ["w/0.0.0", elementsIn(shape)],
      ]),
      read(key, range, room) {
        if (key === "w/.zarray") return metadata;
        const { offset, length } = range!;
        read += length;
        return valuesAt(offset, room!(length));
      },
    };
    const memo: Memo = new Map();
    const array = openArray(store, "w", { version: 2, isComplete: true, memo });
    for (const i of [150, 3, 77]) expect(isRight(array.read(boxAt(i)), i * row)).toBe(true);
    expect(read).toBe(3 * row);
    const across = array.read([
      [1, 3],
      [0, columns],
      [7, 8],
    ]);
    expect([...across]).toEqual(
      Array.from({ length: 2 * columns }, (_, i) => valueAt((i + columns) * row + 7)),
    );
    expect(read).toBe((3 + 2 * columns) * row);
    expect([...memo.values()].reduce((n, kept) => n + heldBy(kept), 0)).toBe(0);
  });

  test("is right up to where it is damaged, and an error from there on", () => {
    const body = frame();
    body[6 + 800 * 4] = 7;
    const { array, begun } = opened(body);
    expect(isRight(array.read(boxAt(99)), 99 * row)).toBe(true);
    for (const i of [100, 101])
      expect(failure(() => array.read(boxAt(i)))).toMatchObject({
        code: "zstd-damaged",
        message: expect.stringContaining("memory/w/0.0.0: zstd-damaged: tensor `w`: chunk 0.0.0"),
      });
    expect(begun()).toBe(1);
    expect(failure(() => array.read(boxAt(3))).code).toBe("zstd-damaged");
  });

  test.each([
    ["shorter", -1, "expected 167772160 bytes of elements, found 167641088"],
    ["longer", 1, "decodes to more than the 167772160 bytes expected at most"],
  ])("that is %s than its shape says is an error with its last elements", (_, more, wanted) => {
    const { array } = opened(frame(blocks + more));
    array.read(boxAt(150));
    expect(failure(() => array.read(boxAt(rows * columns - 1))).message).toContain(wanted);
  });
});

describe("chunks that were never written", () => {
  const [F32] = TYPES.filter(({ v3 }) => v3 === "float32");
  const sample: Sample = { shape: [4], chunk: [2], type: F32!, bytes: new Uint8Array(16) };
  const values = (fill: unknown): Map<string, Uint8Array> =>
    new Map([
      ["w/.zarray", json(v2(sample, { fill_value: fill }))],
      ["w/1", new Uint8Array(8)],
    ]);

  test.each([
    [null, [0, 0, 0, 0]],
    [1.5, [1.5, 1.5, 0, 0]],
    ["NaN", [Number.NaN, Number.NaN, 0, 0]],
    ["-Infinity", [-Infinity, -Infinity, 0, 0]],
  ])("hold the fill value %p", (fill, wanted) => {
    const array = open(values(fill), 2);
    expect([...new Float32Array(array.read([[0, 4]]).buffer)]).toEqual(wanted);
    expect(array.countAbsent()).toBe(1);
  });

  test("are an error where every chunk was written, unless the box lies in others", () => {
    const array = openArray(storeOf(new Map([...values(null), ["other", new Uint8Array()]])), "w", {
      version: 2,
      isComplete: true,
      memo: new Map(),
    });
    expect(failure(() => array.read([[0, 4]]))).toMatchObject({
      code: "chunk-missing",
      message: expect.stringContaining("memory: chunk-missing: tensor `w`: chunk 0 is missing"),
    });
    expect(array.read([[2, 4]])).toEqual(new Uint8Array(8));
    const long = json(v2({ ...sample, shape: [8] }));
    expect(failure(() => open(new Map([["w/.zarray", long]]), 2, true)).message).toContain(
      "memory/w/.zarray: chunk-missing: tensor `w`: shape [8] is made of 4 chunks, more than memory holds",
    );
  });

  test("in shards hold the fill value too, or are an error", () => {
    const shard = {
      counts: [2],
      chain: { isBigEndian: false, codecs: [] },
      isIndexAtStart: false,
      isIndexBigEndian: false,
      indexCodecs: [CRC32C],
      absent: new Set([1]),
    };
    const chain: Chain = { isBigEndian: false, codecs: [], shard };
    const metadata = {
      zarr_format: 3,
      node_type: "array",
      shape: [4],
      data_type: "bfloat16",
      chunk_grid: { name: "regular", configuration: { chunk_shape: [4] } },
      chunk_key_encoding: { name: "default" },
      fill_value: 1,
      codecs: codecsJson(chain, [4]),
    };
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const store = new Map([
      ["w/zarr.json", json(metadata)],
      ["w/c/0", encodeChunk(chain, [4], bytes, 2, 2)],
    ]);
    expect([...open(store, 3).read([[0, 4]])]).toEqual([1, 2, 3, 4, 0x80, 0x3f, 0x80, 0x3f]);
    expect(failure(() => open(store, 3, true).read([[1, 3]]))).toMatchObject({
      code: "chunk-missing",
      message: expect.stringContaining(
        "memory/w/c/0: chunk-missing: tensor `w`: chunk c/0, inner chunk 1 is missing",
      ),
    });
  });
});

describe("a shard whose index is wrong", () => {
  const metadata = {
    zarr_format: 3,
    node_type: "array",
    shape: [4],
    data_type: "uint8",
    chunk_grid: { name: "regular", configuration: { chunk_shape: [4] } },
    chunk_key_encoding: { name: "default" },
    fill_value: 0,
    codecs: [
      {
        name: "sharding_indexed",
        configuration: { chunk_shape: [2], codecs: [{ name: "bytes" }], index_codecs: [{ name: "bytes" }] },
      },
    ],
  };
  const shard = (...entries: readonly bigint[]): Uint8Array => {
    const index = new Uint8Array(new BigUint64Array(entries).buffer);
    return Uint8Array.of(1, 2, 3, 4, ...index);
  };
  test.each([
    ["reads where it is right", shard(0n, 2n, 2n, 2n), undefined],
    [
      "points behind the end",
      shard(0n, 2n, 35n, 2n),
      "inner chunk 1: lies at bytes 35 to 37, but the shard has 36",
    ],
    ["points nowhere near", shard(0n, 2n, 2n ** 63n, 2n), "inner chunk 1: lies at bytes 9223372036854775808"],
    [
      "is longer than the shard",
      Uint8Array.of(1, 2, 3),
      "an index of 2 inner chunks takes 32 bytes, but the shard has 3",
    ],
    ["gives another length", shard(0n, 2n, 2n, 1n), "inner chunk 1: expected 2 bytes of elements, found 1"],
  ])("%s", (_claim, body, part) => {
    const array = open(
      new Map([
        ["w/zarr.json", json(metadata)],
        ["w/c/0", body],
      ]),
      3,
    );
    if (part === undefined) expect([...array.read([[0, 4]])]).toEqual([1, 2, 3, 4]);
    else {
      const found = failure(() => array.read([[0, 4]]));
      expect(found.code).toBe("chunk-damaged");
      expect(found.message).toContain("memory/w/c/0: chunk-damaged: tensor `w`: chunk c/0");
      expect(found.message).toContain(part);
    }
  });
});

test("integers narrower than a byte are widened by their sign", () => {
  for (const [dtype, wanted] of [
    ["int4", [7, -8, -1]],
    ["int2", [-1, 0, -1]],
  ] as const) {
    const metadata = {
      zarr_format: 2,
      shape: [3],
      chunks: [3],
      dtype,
      compressor: null,
      fill_value: null,
      order: "C",
    };
    const store = new Map([
      ["w/.zarray", json(metadata)],
      ["w/0", Uint8Array.of(0x07, 0xf8, 0x0f)],
    ]);
    const read = open(store, 2).read([[0, 3]]);
    expect([...new Int8Array(read.buffer)]).toEqual(wanted);
  }
});

describe("metadata that cannot be", () => {
  const good = {
    zarr_format: 3,
    node_type: "array",
    shape: [4],
    data_type: "float32",
    chunk_grid: { name: "regular", configuration: { chunk_shape: [2] } },
    chunk_key_encoding: { name: "default" },
    fill_value: 0,
    codecs: [{ name: "bytes", configuration: { endian: "little" } }],
  };
  const sharded = (configuration: object): object => ({
    codecs: [
      {
        name: "sharding_indexed",
        configuration: { chunk_shape: [1], codecs: good.codecs, ...configuration },
      },
    ],
  });
  test.each<[string, object, string, string]>([
    ["a version", { zarr_format: 2 }, "zarr-metadata", "expected zarr_format 3, found 2"],
    ["a group", { node_type: "group" }, "zarr-metadata", "node_type"],
    ["a negative size", { shape: [-1] }, "zarr-metadata", "whole numbers, found [-1]"],
    [
      "a chunk of nothing",
      { chunk_grid: { name: "regular", configuration: { chunk_shape: [0] } } },
      "zarr-metadata",
      "above 0",
    ],
    ["another rank", { shape: [4, 4] }, "zarr-metadata", "expected chunks of 2 whole numbers"],
    ["too many elements", { shape: [2 ** 52] }, "zarr-metadata", "more elements than can be counted"],
    ["another grid", { chunk_grid: { name: "rectangular" } }, "zarr-unsupported", "rectangular"],
    ["an unknown type", { data_type: "float4" }, "zarr-unsupported", '"float4"'],
    ["a type of Object.prototype", { data_type: "constructor" }, "zarr-unsupported", "constructor"],
    ["an unknown codec", { codecs: [...good.codecs, { name: "blosc" }] }, "zarr-unsupported", '"blosc"'],
    ["no codec to bytes", { codecs: [] }, "zarr-metadata", "from elements to bytes"],
    [
      "another byte order",
      { codecs: [{ name: "bytes", configuration: { endian: "middle" } }] },
      "zarr-metadata",
      "middle",
    ],
    [
      "axes that are none",
      { codecs: [{ name: "transpose", configuration: { order: [1] } }, ...good.codecs] },
      "zarr-metadata",
      "[1]",
    ],
    [
      "inner chunks that do not divide",
      sharded({ chunk_shape: [3], index_codecs: good.codecs }),
      "zarr-metadata",
      "do not divide",
    ],
    [
      "an index of any length",
      sharded({ index_codecs: [...good.codecs, { name: "gzip" }] }),
      "zarr-metadata",
      "fixed length",
    ],
    [
      "an index in the middle",
      sharded({ index_codecs: good.codecs, index_location: "middle" }),
      "zarr-metadata",
      "middle",
    ],
    ["a key encoding", { chunk_key_encoding: { name: "hash" } }, "zarr-unsupported", "hash"],
    ["a field to be understood", { color: "red" }, "zarr-unsupported", '"color"'],
    ["a fill value", { fill_value: "many" }, "zarr-metadata", '"many"'],
    ["storage transformers", { storage_transformers: [{}] }, "zarr-unsupported", "transformers"],
  ])("%s", (_claim, fields, code, part) => {
    const store = new Map([["w/zarr.json", json({ ...good, ...fields })]]);
    const found = failure(() => open(store, 3));
    expect(found.code).toBe(code);
    expect(found.message).toContain(`memory/w/zarr.json: ${found.code}: tensor \`w\`: zarr.json: `);
    expect(found.message).toContain(part);
  });

  test.each<[string, object, string, string]>([
    ["a filter", { filters: [{ id: "delta" }] }, "zarr-unsupported", "delta"],
    [
      "a compressor",
      { compressor: { id: "blosc" } },
      "zarr-unsupported",
      '"blosc", only by zstd, gzip, zlib',
    ],
    ["an order", { order: "A" }, "zarr-metadata", '"A"'],
    ["a separator", { dimension_separator: "-" }, "zarr-metadata", '"-"'],
    ["a type", { dtype: "<f16" }, "zarr-unsupported", '"<f16"'],
    ["a type without byte order", { dtype: "|f4" }, "zarr-unsupported", '"|f4"'],
    ["a name of v3", { dtype: "float32" }, "zarr-unsupported", '"float32"'],
  ])("of v2: %s", (_claim, fields, code, part) => {
    const metadata = { zarr_format: 2, shape: [4], chunks: [2], dtype: "<f4", compressor: null, order: "C" };
    const found = failure(() => open(new Map([["w/.zarray", json({ ...metadata, ...fields })]]), 2));
    expect(found.code).toBe(code);
    expect(found.message).toContain(part);
  });
});

test("what a chunk unpacks to is limited beforehand", () => {
  const bomb = GZIP.encode(new Uint8Array(1 << 24));
  const chunks: readonly [string, Uint8Array][] = [
    ["gzip", bomb],
    ["zlib", ZLIB.encode(new Uint8Array(1 << 24))],
    ["zstd", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 1, 3, 0, 0x80, 7)],
  ];
  for (const [id, bytes] of chunks) {
    const metadata = bytesMetadata([4], [4], { id });
    const store = new Map([
      ["w/.zarray", json(metadata)],
      ["w/0", bytes],
    ]);
    expect(failure(() => open(store, 2).read([[0, 4]])).message).toMatch(
      /memory\/w\/0: (chunk-damaged|zstd-too-large): tensor `w`: chunk 0: /,
    );
  }
});

test("small chunks after large ones do not hold the memory of these", () => {
  const [large, small] = [100, 5].map((megabytes) => megabytes << 20) as [number, number];
  const array = (name: string, bytes: number): [string, Uint8Array] => [
    `${name}/.zarray`,
    json(bytesMetadata([80, bytes / 2], [2, bytes / 2])),
  ];
  const stored = new Map([array("l", large), array("s", small)]);
  for (let i = 0; i < 40; i++) for (const name of ["l", "s"]) stored.set(`${name}/${i}.0`, new Uint8Array());
  const given = new Map<ArrayBufferLike, number>();
  const store: KvReader = {
    ...storeOf(stored),
    read(key, _range, room) {
      if (key.endsWith(".zarray")) return stored.get(key)!;
      const bytes = room!(key.startsWith("l") ? large : small);
      given.set(bytes.buffer, bytes.buffer.byteLength);
      return bytes;
    },
  };
  const memo: Memo = new Map();
  const [l, s] = ["l", "s"].map((name) => openArray(store, name, { version: 2, isComplete: true, memo }));
  const columnOf = (i: number): Box => [
    [2 * i, 2 * i + 2],
    [0, 1],
  ];
  for (let i = 0; i < 6; i++) {
    l!.read(columnOf(i));
    for (let j = 6 * i; j < 6 * i + 6; j++) s!.read(columnOf(j));
    const held = [...memo.values()].map((kept) => (isWhole(kept) ? kept.bytes.buffer : undefined));
    const bytes = held.reduce((sum, buffer) => sum + (buffer ? (given.get(buffer) ?? 0) : 0), 0);
    expect(bytes).toBeLessThanOrEqual(1 << 27);
  }
});
