import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Q3Error } from "../../compiler/diag.ts";
import { openSafetensors } from "../../runtime/checkpoint/safetensors.ts";
import { scratch } from "../support/scratch.ts";
import { container, failure, fileOf } from "./support.ts";

const f32 = (shape: unknown, begin: unknown, end: unknown): object => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});
const zeros = (n: number): Uint8Array => new Uint8Array(n);
const long = (length: bigint): Uint8Array => {
  const bytes = zeros(64);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  return bytes;
};

const DAMAGED: readonly [claim: string, code: string, bytes: Uint8Array][] = [
  ["an empty file", "safetensors-too-short", zeros(0)],
  ["seven bytes", "safetensors-too-short", zeros(7)],
  ["a header longer than the file", "safetensors-header-length", long(57n)],
  ["a header length of 2^64 - 1", "safetensors-header-length", long(2n ** 64n - 1n)],
  ["a header that is not JSON", "safetensors-header-json", container('{"a": }')],
  ["a header of length 0", "safetensors-header-json", zeros(8)],
  ["a header that is an array", "safetensors-header-json", container("[]")],
  ["a header nested beyond reason", "safetensors-header-json", container("[".repeat(100_000))],
  ["a header that is not UTF-8", "file-not-utf8", Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d)],
  ["metadata that is not strings", "safetensors-metadata", container({ __metadata__: { step: 3 } })],
  ["metadata that is a string", "safetensors-metadata", container({ __metadata__: "pt" })],
  ["an entry that is null", "safetensors-entry", container({ w: null })],
  [
    "an entry without dtype",
    "safetensors-entry",
    container({ w: { shape: [1], data_offsets: [0, 4] } }, zeros(4)),
  ],
  [
    "an entry without shape",
    "safetensors-entry",
    container({ w: { dtype: "F32", data_offsets: [0, 4] } }, zeros(4)),
  ],
  ["an entry without offsets", "safetensors-entry", container({ w: { dtype: "F32", shape: [1] } }, zeros(4))],
  [
    "an unknown dtype",
    "safetensors-dtype",
    container({ w: { dtype: "F23", shape: [1], data_offsets: [0, 4] } }, zeros(4)),
  ],
  [
    "a dtype of Object.prototype",
    "safetensors-dtype",
    container({ w: { dtype: "toString", shape: [], data_offsets: [0, 4] } }),
  ],
  ["a fractional shape", "safetensors-shape", container({ w: f32([1.5], 0, 4) }, zeros(4))],
  ["a negative shape", "safetensors-shape", container({ w: f32([-1], 0, 4) }, zeros(4))],
  ["a shape beyond 2^53", "safetensors-shape", container({ w: f32([2 ** 60], 0, 4) }, zeros(4))],
  ["a shape that is a number", "safetensors-shape", container({ w: f32(1, 0, 4) }, zeros(4))],
  [
    "a shape whose product overflows",
    "safetensors-size",
    container({ w: f32([2 ** 40, 2 ** 40], 0, 4) }, zeros(4)),
  ],
  ["offsets in reverse", "safetensors-offsets", container({ w: f32([1], 4, 0) }, zeros(4))],
  [
    "three offsets",
    "safetensors-offsets",
    container({ w: { ...f32([1], 0, 4), data_offsets: [0, 4, 8] } }, zeros(4)),
  ],
  ["offsets that do not match the shape", "safetensors-size", container({ w: f32([2], 0, 4) }, zeros(4))],
  [
    "offsets that overlap",
    "safetensors-overlap",
    container({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, zeros(12)),
  ],
  ["a hole at the start", "safetensors-hole", container({ w: f32([1], 4, 8) }, zeros(8))],
  [
    "a hole between tensors",
    "safetensors-hole",
    container({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, zeros(12)),
  ],
  ["data that no tensor claims", "safetensors-hole", container({ w: f32([1], 0, 4) }, zeros(5))],
  ["truncated data", "safetensors-truncated", container({ w: f32([2], 0, 8) }, zeros(7))],
  [
    "half a byte",
    "safetensors-size",
    container({ w: { dtype: "F4", shape: [3], data_offsets: [0, 1] } }, zeros(1)),
  ],
  [
    "a tensor twice",
    "safetensors-duplicate",
    container(`{"w":${JSON.stringify(f32([0], 0, 0))},"\\u0077":${JSON.stringify(f32([0], 0, 0))}}`),
  ],
  [
    "a field twice",
    "safetensors-duplicate",
    container('{"w":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
  ],
];

test.each(DAMAGED)("%s is refused as %s", (_, code, bytes) => {
  const path = fileOf(bytes);
  const found = failure(() => openSafetensors(path));
  expect(found.code).toBe(code);
  expect(found.message).toContain(path);
});

test("a damaged tensor is named", () => {
  const path = fileOf(container({ "layers.0.w": f32([2], 0, 8) }, zeros(7)));
  expect(failure(() => openSafetensors(path)).message).toContain("tensor `layers.0.w` ends at byte");
});

test("zero-size tensors and rank 0 are legal anywhere in the data", () => {
  const path = fileOf(
    container({ z: f32([0, 2 ** 52, 2 ** 52], 4, 4), s: f32([], 0, 4), a: f32([0], 0, 0) }, zeros(4)),
  );
  const file = openSafetensors(path);
  expect([...file.entries.keys()]).toEqual(["z", "s", "a"]);
  expect(file.read("z").length).toBe(0);
  expect(file.read("s")).toEqual(Float32Array.of(0));
  file.close();
});

test("a file that shrinks while open is a clear error", () => {
  const path = fileOf(container({ w: f32([4], 0, 16) }, zeros(16)));
  const file = openSafetensors(path);
  fs.truncateSync(path, fs.statSync(path).size - 1);
  expect(failure(() => file.read("w")).code).toBe("safetensors-truncated");
  file.close();
});

function checkpoint(index: unknown, shards: Readonly<Record<string, object>>): string {
  const directory = scratch();
  fs.writeFileSync(
    join(directory, "model.safetensors.index.json"),
    typeof index === "string" ? index : JSON.stringify(index),
  );
  for (const [name, header] of Object.entries(shards))
    fs.writeFileSync(join(directory, name), container(header, zeros(4)));
  return directory;
}

const A = { "a.safetensors": { x: f32([1], 0, 4) } };
const INDICES: readonly [
  claim: string,
  code: string,
  index: unknown,
  shards: Readonly<Record<string, object>>,
][] = [
  ["a missing shard", "safetensors-shard-missing", { weight_map: { x: "b.safetensors" } }, A],
  [
    "a tensor absent from its shard",
    "safetensors-not-in-shard",
    { weight_map: { x: "a.safetensors", y: "a.safetensors" } },
    A,
  ],
  [
    "a tensor in two shards",
    "safetensors-two-shards",
    { weight_map: { x: "a.safetensors", y: "b.safetensors" } },
    { ...A, "b.safetensors": { x: f32([1], 0, 4), y: f32([0], 4, 4) } },
  ],
  ["no weight map", "safetensors-index", { metadata: {} }, A],
  ["a shard elsewhere", "safetensors-index", { weight_map: { x: "../a.safetensors" } }, A],
  ["a shard that is no string", "safetensors-index", { weight_map: { x: 1 } }, A],
  [
    "a tensor twice in the index",
    "safetensors-duplicate",
    '{"weight_map":{"x":"a.safetensors","x":"a.safetensors"}}',
    A,
  ],
  ["an index that is not JSON", "json-syntax", '{"weight_map": {', A],
];

test.each(INDICES)("%s is refused as %s", (_, code, index, shards) => {
  const directory = checkpoint(index, shards);
  expect(failure(() => openSafetensors(directory)).code).toBe(code);
});

test("a directory without safetensors, and a path to nothing, are refused", () => {
  const directory = scratch();
  expect(failure(() => openSafetensors(directory)).code).toBe("checkpoint-missing");
  expect(failure(() => openSafetensors(join(directory, "nowhere"))).code).toBe("file-missing");
});

const VALID = container(
  {
    __metadata__: { format: "pt" },
    "model.embed": { dtype: "BF16", shape: [3, 4], data_offsets: [0, 24] },
    "model.norm": { dtype: "F32", shape: [4], data_offsets: [24, 40] },
    scalar: { dtype: "I64", shape: [], data_offsets: [40, 48] },
    bits: { dtype: "F4", shape: [2, 2], data_offsets: [48, 50] },
  },
  Uint8Array.from({ length: 50 }, (_, i) => (i * 37) & 0xff),
);

// Either every entry lies inside the file and reads, or one of our errors says why not.
function survives(bytes: Uint8Array, path: string): void {
  fs.writeFileSync(path, bytes);
  try {
    const file = openSafetensors(path);
    for (const { name, start, end } of file.entries.values()) {
      expect(start).toBeGreaterThanOrEqual(8);
      expect(end).toBeLessThanOrEqual(bytes.length);
      expect(file.readRaw(name)).toEqual(bytes.slice(start, end));
    }
    file.close();
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    expect(error.exitCode).toBe(1);
    expect(error.message).toContain(path);
  }
}

test("flipped, cut and overwritten files either read within bounds or give one of our errors", () => {
  const path = fileOf(VALID);
  const at = fc.nat(VALID.length - 1);
  const damage = fc.oneof(
    fc.array(fc.tuple(at, fc.nat(255)), { minLength: 1, maxLength: 4 }).map((edits) => {
      const bytes = VALID.slice();
      for (const [i, value] of edits) bytes[i] = value;
      return bytes;
    }),
    fc.tuple(at, fc.nat(7)).map(([i, bit]) => VALID.map((byte, j) => (i === j ? byte ^ (1 << bit) : byte))),
    at.map((length) => VALID.slice(0, length)),
    fc.uint8Array({ maxLength: 64 }).map((tail) => Uint8Array.from([...VALID, ...tail])),
    // Digits are where offsets and shapes live: swap them for other digits so that the JSON stays whole.
    fc.tuple(fc.nat(1000), fc.nat(9)).map(([pick, digit]) => {
      const digits = [...VALID.keys()].filter(
        (i) => i > 8 && i < VALID.length - 50 && VALID[i]! >= 48 && VALID[i]! <= 57,
      );
      const target = digits[pick % digits.length];
      return VALID.map((byte, j) => (j === target ? 48 + digit : byte));
    }),
  );
  fc.assert(
    fc.property(damage, (bytes) => survives(bytes, path)),
    { numRuns: 600 },
  );
});
