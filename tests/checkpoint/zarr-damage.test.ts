// Arrays of zarr that lack something, or are not what their format says.
import { describe, expect, test } from "@jest/globals";
import { openArray } from "../../runtime/checkpoint/zarr/array.ts";
import { failure } from "./support.ts";
import {
  type Chain,
  CRC32C,
  codecsJson,
  encodeChunk,
  GZIP,
  json,
  metadataV2,
  metadataV3,
  open,
  storeOf,
  ZLIB,
} from "./zarr-support.ts";

describe("chunks that were never written", () => {
  const metadataOf = (shape: number[], fill: unknown) =>
    json(metadataV2(shape, [2], { dtype: "<f4", fill_value: fill }));
  const values = (fill: unknown): Map<string, Uint8Array> =>
    new Map([
      ["w/.zarray", metadataOf([4], fill)],
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
    const long = metadataOf([8], null);
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
    const fields = { data_type: "bfloat16", fill_value: 1 };
    const metadata = metadataV3([4], [4], codecsJson(chain, [4]), fields);
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
  const metadata = metadataV3(
    [4],
    [4],
    [
      {
        name: "sharding_indexed",
        configuration: { chunk_shape: [2], codecs: [{ name: "bytes" }], index_codecs: [{ name: "bytes" }] },
      },
    ],
  );
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

describe("metadata that cannot be", () => {
  const codecs = [{ name: "bytes", configuration: { endian: "little" } }];
  const good = metadataV3([4], [2], codecs, { data_type: "float32" });
  const sharded = (configuration: object): object => ({
    codecs: [
      {
        name: "sharding_indexed",
        configuration: { chunk_shape: [1], codecs: codecs, ...configuration },
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
    ["an unknown codec", { codecs: [...codecs, { name: "blosc" }] }, "zarr-unsupported", '"blosc"'],
    ["no codec to bytes", { codecs: [] }, "zarr-metadata", "from elements to bytes"],
    [
      "another byte order",
      { codecs: [{ name: "bytes", configuration: { endian: "middle" } }] },
      "zarr-metadata",
      "middle",
    ],
    [
      "axes that are none",
      { codecs: [{ name: "transpose", configuration: { order: [1] } }, ...codecs] },
      "zarr-metadata",
      "[1]",
    ],
    [
      "inner chunks that do not divide",
      sharded({ chunk_shape: [3], index_codecs: codecs }),
      "zarr-metadata",
      "do not divide",
    ],
    [
      "an index of any length",
      sharded({ index_codecs: [...codecs, { name: "gzip" }] }),
      "zarr-metadata",
      "fixed length",
    ],
    [
      "an index in the middle",
      sharded({ index_codecs: codecs, index_location: "middle" }),
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
    const metadata = metadataV2([4], [2], { dtype: "<f4", ...fields });
    const found = failure(() => open(new Map([["w/.zarray", json(metadata)]]), 2));
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
    const metadata = metadataV2([4], [4], { compressor: { id } });
    const store = new Map([
      ["w/.zarray", json(metadata)],
      ["w/0", bytes],
    ]);
    expect(failure(() => open(store, 2).read([[0, 4]])).message).toMatch(
      /memory\/w\/0: (chunk-damaged|zstd-too-large): tensor `w`: chunk 0: /,
    );
  }
});
