// Damaging checkpoints one file at a time: what a bad disk, a cut copy or a hostile hand may do.
import * as fs from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "@jest/globals";
import fc from "fast-check";
import { Q3Error } from "../../compiler/diag.ts";
import { attempt, collectDamage } from "../../runtime/checkpoint/damage.ts";
import { openCheckpoint } from "../../runtime/checkpoint/open.ts";
import { createOrbax, type OrbaxOptions, type OrbaxTensor } from "../../runtime/checkpoint/orbax/write.ts";
import { bitsOf } from "../../runtime/checkpoint/safetensors-header.ts";
import { readAll } from "../../runtime/checkpoint/verify.ts";
import { type TensorToWrite, writeShardedSafetensors } from "../../runtime/checkpoint/write-safetensors.ts";
import { randomFrom } from "../support/random.ts";
import { scratch } from "../support/scratch.ts";
import { elementsIn, slice } from "./zarr-support.ts";

const TENSORS: readonly OrbaxTensor[] = [
  { path: ["params", "decoder", "layers_0", "w"], dtype: "F32", shape: [9, 20], chunk: [4, 10] },
  { path: ["params", "decoder", "layers_0", "b"], dtype: "BF16", shape: [600] },
  { path: ["opt_state", 0, "mu"], dtype: "F32", shape: [4, 3, 5], chunk: [4, 1, 5] },
  { path: ["step"], dtype: "I64", shape: [], isScalar: true },
];

const bytesOf = ({ dtype, shape }: OrbaxTensor): Uint8Array =>
  Uint8Array.from({ length: (elementsIn(shape) * bitsOf(dtype)) / 8 }, (_, i) => (i * 89 + 7) % 251);

/** Saves a small training state with Orbax's layout. */
function saveOrbax(path: string, options: OrbaxOptions): void {
  const leaves = [
    { path: ["opt_state", 1], empty: "None" } as const,
    { path: ["note"], text: "a note" } as const,
  ];
  const writer = createOrbax(path, TENSORS, { ...options, leaves, customMetadata: { scan_layers: false } });
  for (const tensor of TENSORS) {
    const name = tensor.path.join(".");
    for (const box of writer.chunksOf(name))
      writer.write(name, box, slice(bytesOf(tensor), tensor.shape, box, bitsOf(tensor.dtype) / 8));
  }
  writer.commit();
}

/** Saves the same tensors in two shards with an index. */
const saveSafetensors = (path: string): void =>
  writeShardedSafetensors(
    path,
    TENSORS.map(
      (tensor): TensorToWrite => ({
        name: tensor.path.join("."),
        dtype: tensor.dtype,
        shape: tensor.shape,
        bytes: () => bytesOf(tensor),
      }),
    ),
    {},
    { maxShardBytes: 1000 },
  );

/** All that a checkpoint holds, as text that two of them can be compared by. */
function contents(path: string): string {
  const checkpoint = openCheckpoint(path);
  const reader = checkpoint.tensors;
  try {
    const tensors = [...reader.tensors.values()].map(({ name, dtype, shape }) => {
      const whole = Buffer.from(reader.read(name)).toString("base64");
      for (const box of reader.chunksOf(name)) reader.read(name, box);
      return [name, dtype, shape, whole];
    });
    if (checkpoint.format === "safetensors") return JSON.stringify(tensors.toSorted());
    const { leaves, strings, step, customMetadata } = checkpoint.tensors;
    return JSON.stringify([tensors.toSorted(), leaves, [...strings], step, customMetadata]);
  } finally {
    reader.close();
  }
}

/** What is wrong with a checkpoint of which all is read that can be. */
function problems(path: string): string {
  const damage = collectDamage();
  const checkpoint = attempt(damage.note, () => openCheckpoint(path, damage.note));
  if (checkpoint) for (const _ of readAll(checkpoint, damage.note));
  checkpoint?.tensors.close();
  return damage
    .problems()
    .map(({ message }) => message)
    .join("\n");
}

/** The files of a checkpoint, sorted. */
const filesIn = (path: string): string[] =>
  fs
    .readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => fs.statSync(join(path, name)).isFile())
    .toSorted();

type Change = (bytes: Buffer, random: () => number) => Buffer | undefined;

const at = (length: number, random: () => number): number => Math.floor(random() * length);

/** Ways to damage a file; nothing as result deletes it. */
const CHANGES: readonly Change[] = [
  (bytes, random) => {
    if (bytes.length === 0) return Buffer.of(1);
    const place = at(bytes.length, random);
    bytes[place] = bytes[place]! ^ (1 << at(8, random));
    return bytes;
  },
  (bytes, random) => {
    for (let i = 0; i < 1 + at(8, random) && bytes.length > 0; i++)
      bytes[at(bytes.length, random)] = at(256, random);
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, at(bytes.length, random)),
  (bytes, random) => Buffer.concat([bytes, Buffer.alloc(1 + at(64, random), at(256, random))]),
  (bytes, random) => {
    const start = at(bytes.length, random);
    return bytes.fill(0, start, Math.min(start + at(64, random), bytes.length));
  },
  (bytes, random) => {
    const [start, length] = [at(bytes.length, random), at(16, random)];
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + length)]);
  },
  (bytes, random) => {
    const text = bytes.toString("latin1");
    const digits = [...text.matchAll(/\d+/g)];
    const found = digits[at(digits.length, random)];
    if (!found) return bytes.subarray(1);
    const other = ["0", "1", "7", "4096", "99999999999", "9007199254740991", "-1", "1e300"][at(8, random)];
    return Buffer.from(
      text.slice(0, found.index) + other + text.slice(found.index + found[0].length),
      "latin1",
    );
  },
  () => undefined,
];

/** Longer than any of these small checkpoints takes, on a machine that does other work too. */
const MILLISECONDS = 10_000;

/**
 * Damages one file of a checkpoint in one way, reads all of it, and mends the file. The error, if there is one, says
 * which file it is about, and is among the problems of who reads on; without one the contents are right, or at least
 * readable where the format has no check sums.
 */
function expectFound(path: string, right: string, isSealed: boolean, random: () => number): void {
  const files = filesIn(path);
  const file = join(path, files[at(files.length, random)]!);
  const before = fs.readFileSync(file);
  const after = CHANGES[at(CHANGES.length, random)]!(Buffer.from(before), random);
  if (after) fs.writeFileSync(file, after);
  else fs.rmSync(file);
  const start = performance.now();
  try {
    const found = contents(path);
    if (isSealed) expect(found).toBe(right);
    expect(problems(path)).toBe("");
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    const { code, message } = error.diagnostics[0]!;
    expect(error.message).toContain(path);
    expect(problems(path)).toContain(message);
    if (/^chunk-/.test(code)) expect(error.message).toMatch(/tensor `[\w.]+`/);
  } finally {
    fs.writeFileSync(file, before);
    expect(performance.now() - start).toBeLessThan(MILLISECONDS);
  }
}

/** Whether damage is always found: every element and every word of the checkpoint is under a check sum. */
export type Damaged = { readonly name: string; readonly isSealed: boolean; save(path: string): void };

const orbaxGoldens = fileURLToPath(new URL("orbax-goldens", import.meta.url));

/** One checkpoint of every format and every writer. */
export const DAMAGED: readonly Damaged[] = [
  ...[true, false].flatMap((ocdbt) =>
    [true, false].map((zarr3) => ({
      name: `q3c's, ocdbt ${ocdbt}, zarr3 ${zarr3}`,
      isSealed: true,
      save: (path: string) => saveOrbax(path, { ocdbt, zarr3 }),
    })),
  ),
  ...["mixed-ocdbt-zarr3", "many-files-ocdbt-zarr3", "chunked-files-zarr3", "chunked-files-zarr2"].map(
    (name) => ({
      name: `Orbax's, ${name}`,
      isSealed: false,
      save: (path: string) => fs.cpSync(join(orbaxGoldens, name), path, { recursive: true }),
    }),
  ),
  { name: "safetensors", isSealed: false, save: saveSafetensors },
];

/** Damages a checkpoint in so many ways. */
export function expectDamageFound({ save, isSealed }: Damaged, runs: number): void {
  const path = join(scratch(), "checkpoint");
  save(path);
  const right = contents(path);
  fc.assert(
    fc.property(fc.nat(), (seed) => expectFound(path, right, isSealed, randomFrom(seed))),
    { numRuns: runs, endOnFailure: true },
  );
  expect(contents(path)).toBe(right);
}
