// Arrays of zarr v2 and v3 read as what was encoded.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Box } from "../../runtime/checkpoint/tensors.ts";
import type { ZarrVersion } from "../../runtime/checkpoint/zarr/array.ts";
import {
  type Chain,
  CRC32C,
  codecsJson,
  type Encoder,
  elementsIn,
  encodeChunk,
  GZIP,
  indicesOf,
  json,
  metadataV2,
  metadataV3,
  open,
  slice,
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
      const metadata = metadataV3(shape, chunk, codecsJson(chain, chunk), {
        data_type: type.v3,
        chunk_key_encoding: { name: encoding, configuration: { separator } },
        attributes: {},
      });
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
      const metadata = metadataV2(shape, chunk, {
        filters: null,
        fill_value: null,
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

test("integers narrower than a byte are widened by their sign", () => {
  for (const [dtype, wanted] of [
    ["int4", [7, -8, -1]],
    ["int2", [-1, 0, -1]],
  ] as const) {
    const metadata = metadataV2([3], [3], { dtype, fill_value: null });
    const store = new Map([
      ["w/.zarray", json(metadata)],
      ["w/0", Uint8Array.of(0x07, 0xf8, 0x0f)],
    ]);
    const read = open(store, 2).read([[0, 3]]);
    expect([...new Int8Array(read.buffer)]).toEqual(wanted);
  }
});
