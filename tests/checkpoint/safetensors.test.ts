import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { compareNames, requireNames } from "../../runtime/checkpoint/compare-names.ts";
import { openSafetensors } from "../../runtime/checkpoint/safetensors.ts";
import {
  type TensorToWrite,
  writeSafetensors,
  writeShardedSafetensors,
} from "../../runtime/checkpoint/write-safetensors.ts";
import { scratch } from "../support/scratch.ts";
import { failure } from "./support.ts";

const tensor = (name: string, values: readonly number[], shape = [values.length]): TensorToWrite => ({
  name,
  dtype: "F32",
  shape,
  bytes: () => new Uint8Array(Float32Array.from(values).buffer),
});

const DTYPES = [
  "F64",
  "I64",
  "C64",
  "F32",
  "U32",
  "BF16",
  "I16",
  "F8_E4M3",
  "BOOL",
  "F4",
  "F6_E2M3",
] as const;
const WIDTHS = [8, 8, 8, 4, 4, 2, 2, 1, 1, 0.5, 0.75] as const;

test("what is written reads back, for any names, dtypes and shapes", () => {
  const path = join(scratch(), "model.safetensors");
  const one = fc.record({
    name: fc.string({ unit: "grapheme", maxLength: 12 }).filter((name) => name !== "__metadata__"),
    pick: fc.nat(DTYPES.length - 1),
    shape: fc.array(
      fc.nat(3).map((n) => n * 4),
      { maxLength: 3 },
    ),
    fill: fc.nat(255),
  });
  fc.assert(
    fc.property(fc.uniqueArray(one, { selector: ({ name }) => name, maxLength: 6 }), (specs) => {
      const tensors = specs.map(({ name, pick, shape: sizes, fill }): TensorToWrite => {
        const shape = WIDTHS[pick]! < 1 ? [4, ...sizes] : sizes;
        const bytes = new Uint8Array(shape.reduce((a, b) => a * b, 1) * WIDTHS[pick]!).fill(fill);
        return { name, dtype: DTYPES[pick]!, shape, bytes: () => [bytes.subarray(0, 3), bytes.subarray(3)] };
      });
      writeSafetensors(path, tensors, { note: "é" }, { overwrite: true });
      const file = openSafetensors(path);
      expect(new Set(file.entries.keys())).toEqual(new Set(tensors.map(({ name }) => name)));
      expect(Object.fromEntries(file.metadata)).toEqual({ format: "pt", note: "é" });
      for (const { name, dtype, shape, bytes } of tensors) {
        expect(file.entries.get(name)).toMatchObject({ name, dtype, shape });
        expect([...file.readRaw(name)]).toEqual([...bytes()].flatMap((chunk) => [...(chunk as Uint8Array)]));
      }
      file.close();
    }),
    { numRuns: 60 },
  );
});

test("the data of a written file starts at a multiple of 8 and wide dtypes come first", () => {
  const path = join(scratch(), "model.safetensors");
  const byte: TensorToWrite = { name: "a", dtype: "U8", shape: [3], bytes: () => Uint8Array.of(1, 2, 3) };
  writeSafetensors(path, [byte, tensor("b", [1, 2])]);
  const file = openSafetensors(path);
  expect(file.entries.get("b")!.start % 8).toBe(0);
  expect(file.entries.get("a")!.start).toBe(file.entries.get("b")!.end);
  file.close();
});

test("numbers of every integer dtype are exact", () => {
  const path = join(scratch(), "model.safetensors");
  const raw = (name: string, dtype: TensorToWrite["dtype"], data: ArrayBufferView): TensorToWrite => {
    const bytes = new Uint8Array(data.buffer);
    return { name, dtype, shape: [2], bytes: () => bytes };
  };
  writeSafetensors(path, [
    raw("i64", "I64", BigInt64Array.of(-(2n ** 53n) + 1n, 7n)),
    raw("u64", "U64", BigUint64Array.of(2n ** 53n, 7n)),
    raw("i32", "I32", Int32Array.of(-(2 ** 31), 5)),
    raw("u32", "U32", Uint32Array.of(2 ** 32 - 1, 5)),
    raw("i16", "I16", Int16Array.of(-32768, 5)),
    raw("u16", "U16", Uint16Array.of(65535, 5)),
    raw("i8", "I8", Int8Array.of(-128, 5)),
    raw("bool", "BOOL", Uint8Array.of(0, 1)),
    raw("f64", "F64", Float64Array.of(0.1, -0)),
    raw("bf16", "BF16", Uint16Array.of(0x3f80, 0xc000)),
  ]);
  const file = openSafetensors(path);
  expect([...file.readNumbers("i64")]).toEqual([-(2 ** 53) + 1, 7]);
  expect([...file.readNumbers("i32")]).toEqual([-(2 ** 31), 5]);
  expect([...file.readNumbers("u32")]).toEqual([2 ** 32 - 1, 5]);
  expect([...file.readNumbers("i16")]).toEqual([-32768, 5]);
  expect([...file.readNumbers("u16")]).toEqual([65535, 5]);
  expect([...file.readNumbers("i8")]).toEqual([-128, 5]);
  expect([...file.readNumbers("bool")]).toEqual([0, 1]);
  expect([...file.readNumbers("f64")]).toEqual([0.1, -0]);
  expect([...file.readNumbers("bf16")]).toEqual([1, -2]);
  expect([...file.read("bf16")]).toEqual([1, -2]);
  expect([...file.readRange("i32", 4, 4)]).toEqual([5, 0, 0, 0]);
  expect(failure(() => file.readNumbers("u64")).code).toBe("tensor-value");
  expect(failure(() => file.read("i32")).code).toBe("tensor-dtype");
  expect(failure(() => file.read("bf17")).message).toContain("did you mean `bf16`?");
  file.close();
});

test("a tensor larger than the conversion window reads whole", () => {
  const path = join(scratch(), "model.safetensors");
  const count = (1 << 23) + 5;
  const codes = Uint16Array.from({ length: count }, (_, i) => 0x3f80 + (i % 64));
  const out = new Uint8Array(codes.buffer);
  writeSafetensors(path, [{ name: "w", dtype: "BF16", shape: [count], bytes: () => out }]);
  const file = openSafetensors(path);
  const values = file.read("w");
  const bits = new Uint32Array(values.buffer);
  expect(values.length).toBe(count);
  expect(codes.findIndex((code, i) => bits[i] !== code << 16)).toBe(-1);
  file.close();
});

test("an existing file is kept unless overwriting is asked for", () => {
  const path = join(scratch(), "model.safetensors");
  writeSafetensors(path, [tensor("w", [1])]);
  expect(failure(() => writeSafetensors(path, [tensor("w", [2])])).code).toBe("file-exists");
  writeSafetensors(path, [tensor("w", [3])], {}, { overwrite: true });
  const file = openSafetensors(path);
  expect([...file.read("w")]).toEqual([3]);
  file.close();
});

test("a failed write leaves nothing behind", () => {
  const directory = scratch();
  const path = join(directory, "model.safetensors");
  const short: TensorToWrite = { ...tensor("w", [1]), bytes: () => new Uint8Array(3) };
  expect(failure(() => writeSafetensors(path, [short])).code).toBe("safetensors-size");
  const broken: TensorToWrite = {
    ...tensor("w", [1]),
    bytes() {
      throw new Error("source is gone");
    },
  };
  expect(() => writeSafetensors(path, [broken])).toThrow("source is gone");
  expect(failure(() => writeSafetensors(path, [tensor("w", [1]), tensor("w", [1])])).code).toBe(
    "safetensors-duplicate",
  );
  expect(failure(() => writeSafetensors(join(directory, "no", "w"), [])).code).toBe("file-unwritable");
  expect(fs.readdirSync(directory)).toEqual([]);
});

test("shards hold at most the bytes asked for and read back as one checkpoint", () => {
  const directory = join(scratch(), "out");
  const tensors = [tensor("a", [1, 2, 3]), tensor("b", [4]), tensor("c", [5, 6, 7, 8, 9]), tensor("d", [])];
  writeShardedSafetensors(directory, tensors, {}, { maxShardBytes: 16 });
  expect(fs.readdirSync(directory)).toEqual([
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
  ]);
  const index = JSON.parse(fs.readFileSync(join(directory, "model.safetensors.index.json"), "utf8"));
  expect(index.metadata.total_size).toBe(36);
  expect(index.weight_map.c).toBe("model-00002-of-00002.safetensors");
  const file = openSafetensors(directory);
  expect([...file.read("c")]).toEqual([5, 6, 7, 8, 9]);
  expect([...file.entries.keys()].toSorted()).toEqual(["a", "b", "c", "d"]);
  file.close();
  expect(failure(() => writeShardedSafetensors(directory, tensors)).code).toBe("file-exists");
});

test("shards written before a failure are removed", () => {
  const directory = scratch();
  const short: TensorToWrite = { ...tensor("b", [1]), bytes: () => new Uint8Array(3) };
  const write = (): void =>
    writeShardedSafetensors(directory, [tensor("a", [1]), short], {}, { maxShardBytes: 4 });
  expect(failure(write).code).toBe("safetensors-size");
  expect(fs.readdirSync(directory)).toEqual([]);
});

test("names that differ are all reported, with suggestions and shapes", () => {
  const shapes = (table: Record<string, number[]>) =>
    new Map(Object.entries(table).map(([k, shape]) => [k, { shape }]));
  const expected = shapes({ "layers.0.norm.weight": [4], "lm_head.weight": [8, 4], same: [] });
  const found = shapes({ "layers.0.norm.wieght": [4], "lm_head.weight": [4, 8], same: [] });
  expect(compareNames(expected, found).map(({ code, message, help }) => [code, message, help])).toEqual([
    [
      "tensor-missing",
      "tensor `layers.0.norm.weight` is missing from the checkpoint",
      "did you mean `layers.0.norm.wieght`?",
    ],
    [
      "tensor-unexpected",
      "tensor `layers.0.norm.wieght` in the checkpoint is not part of the model",
      "did you mean `layers.0.norm.weight`?",
    ],
    ["tensor-shape", "tensor `lm_head.weight`: expected shape [8, 4], found [4, 8]", undefined],
  ]);
  requireNames("ckpt", expected, expected);
  expect(failure(() => requireNames("ckpt", expected, found)).message).toContain(
    "ckpt: tensor-missing: tensor `layers.0",
  );
});

test("thousands of missing tensors are counted, not listed", () => {
  const many = new Map(Array.from({ length: 5000 }, (_, i) => [`layer.${i}`, { shape: [] }]));
  const problems = compareNames(many, new Map());
  expect(problems.length).toBe(7);
  expect(problems[0]).toMatchObject({
    code: "checkpoint-model",
    message: "the checkpoint holds other tensors than the model has: 5000 missing; expected 5000",
  });
  expect(problems.at(-1)?.message).toBe("4995 more tensors are missing");
});

test.each([
  ["layers.0.self_attn.q_proj.weight", "layers.0.linear_attn.out_proj.weight"],
  ["layers.0.norm.weight", "layers.1.norm.weight"],
  ["layers.0.norm.weight", "layers.0.norm"],
  ["layers.0.norm.weight", "layers.0.mlp.weight"],
])("%s is not suggested for %s", (name, other) => {
  const shapes = (one: string) => new Map([[one, { shape: [] }]]);
  expect(compareNames(shapes(name), shapes(other)).map(({ help }) => help)).toEqual([undefined, undefined]);
});
