import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { openOrbax } from "../../runtime/checkpoint/orbax/read.ts";
import {
  createOrbax,
  isPartFinished,
  type OrbaxOptions,
  type OrbaxTensor,
  openOrbaxPart,
} from "../../runtime/checkpoint/orbax/write.ts";
import { bitsOf } from "../../runtime/checkpoint/safetensors-header.ts";
import type { Box, TensorWriter } from "../../runtime/checkpoint/tensors.ts";
import { scratch } from "../support/scratch.ts";
import { failure } from "./support.ts";
import { elementsIn, slice } from "./zarr-support.ts";

const DTYPES = [
  "BOOL",
  "U8",
  "I8",
  "F8_E5M2",
  "F8_E4M3",
  "F8_E8M0",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "I16",
  "U16",
  "F16",
  "BF16",
  "I32",
  "U32",
  "F32",
  "I64",
  "U64",
  "F64",
  "C64",
] as const;

const VARIANTS = [true, false].flatMap((ocdbt) => [true, false].map((zarr3) => ({ ocdbt, zarr3 })));

/** A tensor with all of its bytes. */
type Given = OrbaxTensor & { readonly bytes: Uint8Array };

const nameOf = ({ path }: OrbaxTensor): string => path.join(".");

const shapes = fc.array(fc.nat(5), { maxLength: 4 });
const given: fc.Arbitrary<Given> = fc
  .record({
    path: fc.array(fc.oneof(fc.constantFrom("params", "layers_0", "w", "b"), fc.nat(2)), {
      minLength: 1,
      maxLength: 3,
    }),
    dtype: fc.constantFrom(...DTYPES),
    shape: shapes,
    cut: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 4, maxLength: 4 }),
    isCut: fc.boolean(),
    seed: fc.nat(255),
  })
  .map(({ path, dtype, shape, cut, isCut, seed }) => ({
    path,
    dtype,
    shape,
    ...(isCut ? { chunk: cut.slice(0, shape.length) } : {}),
    bytes: Uint8Array.from({ length: (elementsIn(shape) * bitsOf(dtype)) / 8 }, (_, i) =>
      dtype === "BOOL" ? (seed + i) % 2 : (seed + i * 89) % 256,
    ),
  }));

/** Tensors none of which lies within another, as leaves of a tree do not. */
const trees = fc
  .uniqueArray(given, { selector: nameOf, maxLength: 6 })
  .map((tensors) =>
    tensors.filter((tensor) => !tensors.some((other) => nameOf(other).startsWith(`${nameOf(tensor)}.`))),
  );

function writeTensor(writer: TensorWriter, { shape, dtype, bytes, ...tensor }: Given): void {
  const name = nameOf({ shape, dtype, ...tensor });
  for (const box of writer.chunksOf(name))
    writer.write(name, box, slice(bytes, shape, box, bitsOf(dtype) / 8));
}

function save(path: string, tensors: readonly Given[], options: OrbaxOptions = {}): void {
  const writer = createOrbax(path, tensors, options);
  for (const tensor of tensors) writeTensor(writer, tensor);
  writer.commit();
}

const ONE: Given = { path: ["w"], dtype: "F32", shape: [2], bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) };

describe.each(VARIANTS)("ocdbt $ocdbt, zarr3 $zarr3", (variant) => {
  test("any tree is read back as it was written, whole, by chunks and by any box", () => {
    const boxOf = (shape: readonly number[], picks: readonly number[]): Box =>
      shape.map((size, axis) => {
        const [a, b] = [picks[2 * axis]! % (size + 1), picks[2 * axis + 1]! % (size + 1)];
        return [Math.min(a, b), Math.max(a, b)] as const;
      });
    fc.assert(
      fc.property(trees, fc.array(fc.nat(), { minLength: 8, maxLength: 8 }), (tensors, picks) => {
        const path = join(scratch(), "item");
        save(path, tensors, variant);
        const found = openOrbax(path);
        expect(new Set(found.tensors.keys())).toEqual(new Set(tensors.map(nameOf)));
        for (const { path: keys, dtype, shape, bytes } of tensors) {
          const name = keys.join(".");
          const width = bitsOf(dtype) / 8;
          expect(found.tensors.get(name)).toEqual({ name, dtype, shape });
          expect(found.read(name)).toEqual(bytes);
          for (const box of [...found.chunksOf(name), boxOf(shape, picks)])
            expect(found.read(name, box)).toEqual(slice(bytes, shape, box, width));
          expect(found.checksumsOf(name)).not.toEqual([]);
        }
        found.close();
      }),
      { numRuns: 8 },
    );
  });

  test("empty nodes, strings, numbers, the step and what the program noted come back", () => {
    const path = scratch();
    const step: Given = { path: ["step"], dtype: "I64", shape: [], isScalar: true, bytes: new Uint8Array(8) };
    const leaves = [
      { path: ["opt_state", 1], empty: "None" },
      { path: ["note"], text: "π\n" },
    ] as const;
    save(path, [step], { ...variant, step: 12, leaves, customMetadata: { scan_layers: true } });
    for (const place of [path, join(path, "12"), join(path, "12", "items")]) {
      const found = openOrbax(place);
      expect(found).toMatchObject({ path: join(path, "12", "items"), step: 12 });
      expect(found.customMetadata).toEqual({ scan_layers: true });
      expect(found.leaves).toEqual([
        { path: ["step"], kind: "scalar" },
        { path: ["opt_state", 1], kind: "None" },
        { path: ["note"], kind: "string" },
      ]);
      expect(found.strings.get("note")).toBe("π\n");
      found.close();
    }
  });

  test("parts are written apart and committed together", () => {
    const path = join(scratch(), "item");
    const tensors = [ONE, { ...ONE, path: ["v"] }, { ...ONE, path: ["u"] }];
    const writer = createOrbax(path, tensors, variant);
    for (const [i, tensor] of tensors.entries()) {
      const part = i === 0 ? writer : openOrbaxPart(structuredClone(writer.plan), i);
      writeTensor(part, tensor);
      if (i > 0) part.commit();
    }
    writer.commit();
    const found = openOrbax(path);
    for (const { path: keys, bytes } of tensors) expect(found.read(keys.join("."))).toEqual(bytes);
    found.close();
  });

  test("a checkpoint that lacks a chunk is not committed, and none of it is at its place", () => {
    const path = join(scratch(), "item");
    const writer = createOrbax(path, [ONE, { ...ONE, path: ["v"] }], variant);
    writeTensor(writer, ONE);
    expect(failure(() => writer.commit())).toMatchObject({
      code: "checkpoint-incomplete",
      message: expect.stringContaining("`v`"),
    });
    writer.abandon();
    expect(fs.readdirSync(join(path, ".."))).toEqual([]);
  });
});

test("a save that was cut off is in the way, is replaced, or is gone on with", () => {
  const path = scratch();
  const tensors = [ONE, { ...ONE, path: ["v"] }];
  const cut = createOrbax(path, tensors, { step: 1 });
  const part = openOrbaxPart(cut.plan, 1);
  writeTensor(part, ONE);
  part.commit();
  expect(failure(() => createOrbax(path, tensors, { step: 1 }))).toMatchObject({
    code: "checkpoint-unfinished",
  });
  const again = createOrbax(path, tensors, { step: 1, leftover: "resume" });
  expect([1, 2].map((n) => isPartFinished(again.plan, n))).toEqual([true, false]);
  writeTensor(again, tensors[1]!);
  again.commit();
  expect(openOrbax(path).read("w")).toEqual(ONE.bytes);
  createOrbax(path, [ONE], { step: 2 });
  save(path, [ONE], { step: 2, leftover: "replace" });
  expect(openOrbax(path).step).toBe(2);
  expect(failure(() => createOrbax(path, tensors, { step: 2 }))).toMatchObject({ code: "checkpoint-exists" });
});

test("the latest finished step is taken; what was not finished is refused", () => {
  const path = scratch();
  for (const step of [9, 10]) save(path, [{ ...ONE, bytes: ONE.bytes.map((b) => b + step) }], { step });
  createOrbax(path, [ONE], { step: 11 });
  fs.mkdirSync(join(path, "12"));
  expect(openOrbax(path)).toMatchObject({ step: 10 });
  for (const name of ["11.orbax-checkpoint-tmp", "11.orbax-checkpoint-tmp/items"])
    expect(failure(() => openOrbax(join(path, name))).code).toBe("orbax-unfinished");
  // Written in place, as on object stores: begun, and without the marks of the end.
  fs.rmSync(join(path, "10", "commit_success.txt"));
  fs.writeFileSync(
    join(path, "10", "_CHECKPOINT_METADATA"),
    '{"init_timestamp_nsecs": 1, "commit_timestamp_nsecs": null}',
  );
  for (const place of ["10", "10/items"])
    expect(failure(() => openOrbax(join(path, place))).code).toBe("orbax-unfinished");
  expect(openOrbax(path)).toMatchObject({ step: 9 });
});

describe("metadata as older versions of Orbax wrote it, or as none did", () => {
  const edited = (options: OrbaxOptions, edit: (fields: Record<string, unknown>) => void): string => {
    const path = join(scratch(), "item");
    save(path, [ONE, { ...ONE, path: ["v"] }], options);
    fs.rmSync(join(path, "q3c_checksums.json"));
    const fields = JSON.parse(fs.readFileSync(join(path, "_METADATA"), "utf8"));
    edit(fields);
    fs.writeFileSync(join(path, "_METADATA"), JSON.stringify(fields));
    return path;
  };

  test.each(VARIANTS)("the files tell whether it is OCDBT: ocdbt $ocdbt, zarr3 $zarr3", (variant) => {
    for (const unsaid of [undefined, null])
      expect(openOrbax(edited(variant, (fields) => (fields["use_ocdbt"] = unsaid))).read("w")).toEqual(
        ONE.bytes,
      );
  });

  test("zarr v2 where nothing is said, and a hint where that is wrong", () => {
    const unsay = (fields: Record<string, unknown>): boolean => delete fields["use_zarr3"];
    expect(openOrbax(edited({ zarr3: false }, unsay)).read("w")).toEqual(ONE.bytes);
    expect(failure(() => openOrbax(edited({}, unsay)))).toMatchObject({
      code: "orbax-array-missing",
      message: expect.stringMatching(
        /has no \.zarray, but zarr\.json\nhelp: `use_zarr3` in .*_METADATA is wrong/,
      ),
    });
  });

  test("chunks may be left out only where it is not said that all are there", () => {
    const unsay = (fields: Record<string, unknown>): boolean =>
      delete fields["store_array_data_equal_to_fill_value"];
    const path = edited({ ocdbt: false }, unsay);
    fs.rmSync(join(path, "w", "c", "0"));
    const found = openOrbax(path);
    expect(found.read("w")).toEqual(new Uint8Array(8));
    expect(["w", "v"].map(found.countAbsent)).toEqual([1, 0]);
  });

  const member = (
    fields: Record<string, unknown>,
  ): { key_metadata: unknown; value_metadata: Record<string, unknown> } =>
    Object.values(fields["tree_metadata"] as object)[0];
  test.each<[string, (fields: Record<string, unknown>) => void, string]>([
    ["no tree", (fields) => delete fields["tree_metadata"], "`tree_metadata`"],
    ["a word for a switch", (fields) => (fields["use_zarr3"] = "yes"), 'found "yes"'],
    ["a leaf without keys", (fields) => (member(fields).key_metadata = 1), "`key_metadata` and"],
    [
      "a key of no kind",
      (fields) => (member(fields).key_metadata = [{ key: "w", key_type: 3 }]),
      '"key_type":3',
    ],
    [
      "a number that is none",
      (fields) => (member(fields).key_metadata = [{ key: "w", key_type: 1 }]),
      '"key":"w"',
    ],
    [
      "a value of no kind",
      (fields) => (member(fields).value_metadata["value_type"] = "tuple"),
      'found "tuple"',
    ],
    [
      "an empty array",
      (fields) => (member(fields).value_metadata["skip_deserialize"] = true),
      'found "np.ndarray"',
    ],
    [
      "nothing of being there",
      (fields) => delete member(fields).value_metadata["skip_deserialize"],
      "found nothing",
    ],
    [
      "two of a name",
      (fields) => (member(fields).key_metadata = [{ key: "v", key_type: 2 }]),
      "two leaves are called `v`",
    ],
  ])("%s is refused", (_claim, edit, part) => {
    const found = failure(() => openOrbax(edited({}, edit)));
    expect(found.code).toBe("orbax-metadata");
    expect(found.message).toContain("_METADATA: ");
    expect(found.message).toContain(part);
  });
});

test("what is no checkpoint is said to be none, with what was found", () => {
  const path = scratch();
  expect(failure(() => openOrbax(path))).toMatchObject({
    code: "orbax-missing",
    message: expect.stringContaining("found nothing"),
  });
  expect(failure(() => openOrbax(join(path, "none"))).code).toBe("file-missing");
  fs.writeFileSync(join(path, "checkpoint"), "");
  expect(failure(() => openOrbax(path)).code).toBe("orbax-old");
  for (const name of ["a", "b"]) save(join(path, name), [ONE]);
  expect(failure(() => openOrbax(path))).toMatchObject({
    code: "orbax-items",
    message: expect.stringContaining("a, b"),
  });
});

test.each([
  ["two leaves of one name", [ONE, { ...ONE, path: ["a", "b"] }, { ...ONE, path: ["a.b"] }], "orbax-name"],
  ["a leaf within a leaf", [ONE, { ...ONE, path: ["w", "b"] }], "orbax-name"],
  ["a slash", [{ ...ONE, path: ["a/b"] }], "orbax-name"],
  ["the directory above", [{ ...ONE, path: [".."] }], "orbax-name"],
  ["a file of Orbax's", [{ ...ONE, path: ["_METADATA"] }], "orbax-name"],
  ["a dtype that zarr lacks", [{ ...ONE, dtype: "F4", shape: [16] } as const], "orbax-dtype"],
])("%s is refused", (_claim, tensors, code) => {
  const path = join(scratch(), "item");
  expect(failure(() => createOrbax(path, tensors)).code).toBe(code);
  expect(fs.existsSync(path)).toBe(false);
});
