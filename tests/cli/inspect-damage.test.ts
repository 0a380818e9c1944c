// `q3c inspect --verify` on checkpoints with damage in several places: all of it is named, and the rest is read.
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { readOcdbtEntries } from "../../runtime/checkpoint/ocdbt/read.ts";
import { createOrbax, openOrbaxPart } from "../../runtime/checkpoint/orbax/write.ts";
import { writeShardedSafetensors } from "../../runtime/checkpoint/write-safetensors.ts";
import { type Chain, CRC32C, codecsJson, encodeChunk, metadataV3 } from "../checkpoint/zarr-support.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const NAMES = ["a", "b", "c", "d"] as const;
const CHUNKS = 3;
/** Beyond what a database keeps in its tree. */
const CHUNK_BYTES = 4096;

/** Four tensors of three chunks, each in a part of its own: in a database, in a data file of its own. */
function saveOrbax(ocdbt: boolean): string {
  const path = join(scratch(), "item");
  const shape = [CHUNKS, CHUNK_BYTES];
  const tensors = NAMES.map((name) => ({
    path: [name],
    dtype: "U8" as const,
    shape,
    chunk: [1, CHUNK_BYTES],
  }));
  const writer = createOrbax(path, tensors, { ocdbt });
  for (const [i, name] of NAMES.entries()) {
    const part = openOrbaxPart(writer.plan, i + 1);
    for (const box of part.chunksOf(name)) part.write(name, box, new Uint8Array(CHUNK_BYTES).fill(i));
    part.commit();
  }
  writer.commit();
  return path;
}

/** Where each chunk of a checkpoint in a database lies. */
const placesIn = (path: string): ReadonlyMap<string, { readonly file: string; readonly offset: number }> =>
  new Map(
    readOcdbtEntries(path).flatMap(({ key, value }) =>
      "file" in value
        ? [[Buffer.from(key).toString(), { file: join(path, value.file.path), offset: value.offset }]]
        : [],
    ),
  );

function flip(file: string, at: number): void {
  const bytes = fs.readFileSync(file);
  bytes[at] = bytes[at]! ^ 1;
  fs.writeFileSync(file, bytes);
}

/** What verifying fails with: the problems, without what to do about them. */
async function problems(path: string): Promise<string[]> {
  const { code, err } = await q3c(["inspect", path, "--verify"]);
  expect(code).toBe(err === "" ? 0 : 1);
  return err.split("\n").filter((line) => line !== "" && !line.startsWith("help:"));
}

test("a database of which a file is gone, one is cut short and chunks of others are damaged", async () => {
  const path = saveOrbax(true);
  const places = placesIn(path);
  const at = (key: string) => places.get(key)!;
  fs.rmSync(at("a/c/0/0").file);
  fs.truncateSync(at("b/c/0/0").file, at("b/c/1/0").offset + 7);
  flip(at("c/c/0/0").file, at("c/c/0/0").offset + 5);
  flip(at("c/c/2/0").file, at("c/c/2/0").offset + 5);
  const found = await problems(path);
  expect(found).toEqual([
    expect.stringContaining(
      `${at("a/c/0/0").file}: file-missing: no such file or directory; cannot be read without it: a`,
    ),
    expect.stringMatching(/: ocdbt-damaged: the value of `b\/c\/1\/0` .*; cannot be read without it: b$/),
    expect.stringContaining(
      `${at("c/c/0/0").file}: chunk-damaged: tensor \`c\`: chunk c/0/0: its CRC-32C is`,
    ),
    expect.stringContaining(
      `${at("c/c/0/0").file}: chunk-damaged: tensor \`c\`: chunk c/2/0: its CRC-32C is`,
    ),
  ]);
});

test("files of chunks: every chunk is named, metadata that is damaged or gone, and the step's too", async () => {
  const path = saveOrbax(false);
  fs.rmSync(join(path, "a", "c", "0", "0"));
  fs.truncateSync(join(path, "a", "c", "2", "0"), 9);
  fs.writeFileSync(join(path, "b", "zarr.json"), "{");
  fs.rmSync(join(path, "c", "zarr.json"));
  flip(join(path, "d", "c", "1", "0"), 3);
  fs.writeFileSync(join(path, "_CHECKPOINT_METADATA"), "{}");
  const text = (await problems(path)).join("\n");
  expect(text).toMatch(/_CHECKPOINT_METADATA: orbax-damaged: its CRC-32C is/);
  expect(text).toMatch(/tensor `a`: chunk c\/0\/0 is missing/);
  expect(text).toMatch(/tensor `a`: chunk c\/2\/0: /);
  expect(text).toMatch(/tensor `b`: zarr.json: not JSON/);
  expect(text).toMatch(/tensor `c` has no zarr.json/);
  expect(text).toMatch(/tensor `d`: chunk c\/1\/0: its CRC-32C is/);
});

test("hundreds of chunks are counted", async () => {
  const path = join(scratch(), "item");
  const writer = createOrbax(path, [{ path: ["w"], dtype: "U8", shape: [250], chunk: [1] }], {
    ocdbt: false,
  });
  for (const box of writer.chunksOf("w")) writer.write("w", box, new Uint8Array(1));
  writer.commit();
  fs.rmSync(join(path, "w", "c"), { recursive: true });
  const found = await problems(path);
  expect(found).toHaveLength(102);
  expect(found[0]).toContain("tensor `w`: shape [250] is made of 250 chunks, more than");
  expect(found[100]).toContain("chunk c/99 is missing");
  expect(found[101]).toContain("tensor `w`: at least 150 more chunks cannot be read");
});

test("a large chunk of several is read part by part, each of which may be damaged", async () => {
  const path = join(scratch(), "item");
  const shape = [3, 1 << 26];
  const writer = createOrbax(path, [{ path: ["w"], dtype: "U8", shape: [1] }], { ocdbt: false });
  writer.write("w", [[0, 1]], new Uint8Array(1));
  writer.commit();
  fs.rmSync(join(path, "q3c_checksums.json"));
  fs.rmSync(join(path, "w"), { recursive: true });
  fs.mkdirSync(join(path, "w", "c", "0"), { recursive: true });
  const inner = { chunk_shape: [1, shape[1]], codecs: [{ name: "bytes" }, { name: "zstd" }] };
  const sharding = { ...inner, index_codecs: [{ name: "bytes", configuration: { endian: "little" } }] };
  const metadata = metadataV3(shape, shape, [{ name: "sharding_indexed", configuration: sharding }]);
  fs.writeFileSync(join(path, "w", "zarr.json"), JSON.stringify(metadata));
  // Blocks of 128 KiB of zeros.
  const blocks = Array.from({ length: 512 }, (_, i) => [i === 511 ? 3 : 2, 0, 16, 0]);
  const frame = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0, ...blocks.flat()]);
  const index = new BigUint64Array(
    [0, 1, 2].flatMap((i) => [BigInt(i * frame.length), BigInt(frame.length)]),
  );
  const chunk = Buffer.concat([frame, frame, frame, new Uint8Array(index.buffer)]);
  const file = join(path, "w", "c", "0", "0");
  fs.writeFileSync(file, chunk);
  expect(await problems(path)).toEqual([]);
  for (const i of [0, 2]) chunk[i * frame.length + 6 + 4 * 100] = 7;
  fs.writeFileSync(file, chunk);
  expect(await problems(path)).toEqual(
    [0, 2].map((i) => expect.stringContaining(`tensor \`w\`: chunk c/0/0, inner chunk ${i}: not whole`)),
  );
});

test("of the small chunks in a shard each that is damaged is named, and an index that is damaged once", async () => {
  const path = join(scratch(), "item");
  // Stored with its axes in another order: ten times three of the shard's chunks, of 2 by 4 elements.
  const shape = [12, 20];
  const chain: Chain = {
    order: [1, 0],
    isBigEndian: false,
    shard: {
      counts: [10, 3],
      chain: { isBigEndian: false, codecs: [CRC32C] },
      isIndexAtStart: false,
      isIndexBigEndian: false,
      indexCodecs: [CRC32C],
      absent: new Set(),
    },
    codecs: [],
  };
  const writer = createOrbax(path, [{ path: ["w"], dtype: "U8", shape }], { ocdbt: false });
  writer.write(
    "w",
    shape.map((size) => [0, size] as const),
    new Uint8Array(240),
  );
  writer.commit();
  fs.rmSync(join(path, "q3c_checksums.json"));
  const json = join(path, "w", "zarr.json");
  fs.writeFileSync(
    json,
    JSON.stringify({ ...JSON.parse(fs.readFileSync(json, "utf8")), codecs: codecsJson(chain, shape) }),
  );
  const file = join(path, "w", "c", "0", "0");
  const values = Uint8Array.from({ length: 240 }, (_, i) => i);
  fs.writeFileSync(file, encodeChunk(chain, shape, values, 1, 1));
  expect(await problems(path)).toEqual([]);
  const damaged = [0, 1, 7, 8, 16, 29];
  for (const inner of damaged) flip(file, inner * 12 + 5);
  const named = (await problems(path)).map((line) =>
    Number(/inner chunk (\d+): its CRC-32C is/.exec(line)?.[1]),
  );
  expect(named.toSorted((a, b) => a - b)).toEqual(damaged);
  flip(file, 30 * 12 + 5);
  expect(await problems(path)).toEqual([
    expect.stringContaining("tensor `w`: chunk c/0/0, index of its inner chunks: its CRC-32C is"),
  ]);
});

/** Six tensors in as many shards. */
function saveShards(): string {
  const path = scratch();
  const tensors = ["a", "b", "c", "d", "e", "f"].map((name) => ({
    name,
    dtype: "U8" as const,
    shape: [10],
    bytes: () => new Uint8Array(10),
  }));
  writeShardedSafetensors(path, tensors, {}, { maxShardBytes: 10 });
  return path;
}
const shard = (path: string, i: number): string => join(path, `model-0000${i}-of-00006.safetensors`);

test("shards that are gone, cut short or without a header", async () => {
  const path = saveShards();
  fs.rmSync(shard(path, 1));
  for (const i of [2, 3]) fs.truncateSync(shard(path, i), fs.statSync(shard(path, i)).size - 4);
  fs.writeFileSync(shard(path, 4), "no header");
  fs.copyFileSync(shard(path, 6), shard(path, 5));
  const text = (await problems(path)).join("\n");
  expect(text).toMatch(/shard `model-00001-.*which should hold tensor `a`, is missing/);
  expect(text).toMatch(/model-00002-.*tensor `b` ends at byte \d+, but the file ends at/);
  expect(text).toMatch(/model-00003-.*tensor `c` ends at byte \d+, but the file ends at/);
  expect(text).toMatch(/model-00004-.*the header claims .*; cannot be read without it: d$/m);
  expect(text).toMatch(/tensor `e` is not in its shard `model-00005-/);
  expect(text).toMatch(/safetensors-two-shards: tensor `f` is in model-\S+ too/);
  expect(text.match(/tensor `b`/g)).toHaveLength(1);
});

test("an index that is damaged hides no damage of the shards", async () => {
  const path = saveShards();
  fs.writeFileSync(join(path, "model.safetensors.index.json"), "{");
  fs.truncateSync(shard(path, 2), fs.statSync(shard(path, 2)).size - 1);
  const text = (await problems(path)).join("\n");
  expect(text).toContain("model.safetensors.index.json");
  expect(text).toContain("tensor `b` ends at byte");
});

test("whatever chunks of a checkpoint are damaged, these are named and no others", async () => {
  const chunk = fc.tuple(fc.constantFrom(...NAMES), fc.nat(CHUNKS - 1));
  const damaged = fc.uniqueArray(chunk, { selector: String });
  for (const ocdbt of [true, false]) {
    const path = saveOrbax(ocdbt);
    const places = ocdbt ? placesIn(path) : undefined;
    await fc.assert(
      fc.asyncProperty(damaged, fc.nat(CHUNK_BYTES - 1), async (chunks, at) => {
        const flipAll = (): void => {
          for (const [name, i] of chunks) {
            const place = places?.get(`${name}/c/${i}/0`) ?? {
              file: join(path, name, "c", `${i}`, "0"),
              offset: 0,
            };
            flip(place.file, place.offset + at);
          }
        };
        flipAll();
        const found = (await problems(path)).map((line) => /tensor `(.*)`: chunk c\/(\d)\/0/.exec(line));
        flipAll();
        expect(found.map((match) => `${match?.[1]},${match?.[2]}`)).toEqual(chunks.map(String).toSorted());
      }),
      { numRuns: 20 },
    );
  }
});
