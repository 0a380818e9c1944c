// Writes Orbax checkpoints as MaxText does: aside, chunk by chunk, renamed when every byte is on disk.
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fail, invariant } from "../../../compiler/diag.ts";
import { failExists, flushDirectory, writeAside, writing } from "../../files.ts";
import { chunkOfRows } from "../box.ts";
import type { KvWriter } from "../kv.ts";
import { MANIFEST } from "../ocdbt/manifest.ts";
import { openOcdbt } from "../ocdbt/read.ts";
import { createOcdbt, mergeOcdbt, removeOcdbt } from "../ocdbt/write.ts";
import { bitsOf } from "../safetensors-header.ts";
import type { Box, StoredDType, TensorWriter } from "../tensors.ts";
import {
  type ArrayPlan,
  createArray,
  keysOf,
  metadataKey,
  readWritten,
  type ZarrArrayWriter,
  type ZarrVersion,
} from "../zarr/array.ts";
import { createDirectory, openDirectory } from "../zarr/directory.ts";
import { nameV3 } from "../zarr/element.ts";
import { ASIDE, COMMITTED, ITEM, printStepMetadata, STEP_METADATA, STRINGS, TREE } from "./files.ts";
import { writeSums } from "./sums.ts";
import { type EmptyNode, type Leaf, nameOf, printTree, type TreePath } from "./tree.ts";

/** A tensor to be written. */
export type OrbaxTensor = {
  readonly path: TreePath;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** The shape of its chunks, each of which is written at once; by default whole rows of at most 64 MiB. */
  readonly chunk?: readonly number[];
  /** A Python number rather than an array, as MaxText's converter saves `step`; of shape []. */
  readonly isScalar?: boolean;
};

/** A leaf that has no elements: an empty node of the tree, or a string. */
export type OtherLeaf = { readonly path: TreePath } & (
  | { readonly empty: EmptyNode }
  | { readonly text: string }
);

/** How a checkpoint is written. */
export type OrbaxOptions = {
  /** One OCDBT database rather than a file per chunk; true unless said otherwise. */
  readonly ocdbt?: boolean;
  /** zarr v3 rather than v2; true unless said otherwise. */
  readonly zarr3?: boolean;
  /**
   * The step. The checkpoint then is the item `items` in the directory of that number, within the path; without a
   * step the path is the item's own directory.
   */
  readonly step?: number;
  /** What to note for the program that restores it: MaxText reads `scan_layers`. */
  readonly customMetadata?: Readonly<Record<string, unknown>>;
  readonly leaves?: readonly OtherLeaf[];
  /** Small files beside the item, by their path within the step. */
  readonly beside?: ReadonlyMap<string, Uint8Array>;
  /** What to do with what a save left that was cut off: refuse (by default), replace it, or go on with its parts. */
  readonly leftover?: "refuse" | "replace" | "resume";
};

/**
 * What someone who writes a part of the checkpoint has to know. Plain data, to be posted to a worker thread: there
 * `openOrbaxPart` gives a writer of its own.
 */
export type OrbaxPlan = {
  /** The item's directory while it is being written. */
  readonly item: string;
  readonly ocdbt: boolean;
  readonly zarr3: boolean;
  readonly arrays: readonly ArrayPlan[];
};

/** A checkpoint being written. `commit` wants every chunk, and every part that was opened, to be written by then. */
export type OrbaxWriter = TensorWriter & { readonly plan: OrbaxPlan };

/** Begins a checkpoint. Nothing is at its place before it is whole. Its tensors are named as openOrbax names them. */
export function createOrbax(
  path: string,
  tensors: readonly OrbaxTensor[],
  options: OrbaxOptions = {},
): OrbaxWriter {
  const { ocdbt = true, zarr3 = true, step, leaves = [], beside = [], leftover = "refuse" } = options;
  const began = now();
  const home = step === undefined ? path : join(path, `${step}`);
  const aside = `${home}${ASIDE}`;
  const item = step === undefined ? aside : join(aside, ITEM);
  checkTree(
    path,
    [...tensors, ...leaves].map((leaf) => leaf.path),
  );
  const plan = { item, ocdbt, zarr3, arrays: tensors.map((tensor) => planArray(path, tensor)) };
  claim(home, aside, leftover);
  writing(item, () => fs.mkdirSync(item, { recursive: true }));
  // A save may have been cut off when its parts had been merged already.
  if (ocdbt) writing(item, () => removeOcdbt(item));
  const own = openOrbaxPart(plan, 0);
  return {
    plan,
    chunksOf: own.chunksOf,
    write: own.write,
    commit() {
      own.commit();
      if (ocdbt) mergeOcdbt(item, finishedParts(item));
      requireWhole(home, plan);
      writeText(join(item, TREE), printTree(treeOf(tensors, options)));
      writeStrings(item, leaves);
      for (const [path, bytes] of beside) {
        writing(aside, () => fs.mkdirSync(dirname(join(aside, path)), { recursive: true }));
        writeAside(join(aside, path), (append) => append(bytes), { overwrite: true });
      }
      const times = { began, finished: now() };
      writeText(
        join(aside, STEP_METADATA),
        printStepMetadata(step !== undefined, times, options.customMetadata ?? {}),
      );
      // Within a database the arrays' metadata is under the sums of its nodes.
      const arrays = ocdbt
        ? []
        : plan.arrays.map(({ tensor: { name } }) => join(name, metadataKey(versionOf(plan))));
      const files = [TREE, STRINGS, ...arrays].map((name) => join(item, name));
      writeSums(item, [...files, join(aside, STEP_METADATA)]);
      for (const directory of new Set([item, aside]))
        writeText(join(directory, COMMITTED), `Checkpoint commit was successful to ${home}`);
      writing(home, () => fs.renameSync(aside, home));
      flushDirectory(dirname(home));
    },
    abandon() {
      own.abandon();
      fs.rmSync(aside, { recursive: true, force: true });
    },
  };
}

const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

const writeText = (path: string, text: string): void =>
  writeAside(path, (append) => append(new TextEncoder().encode(text)), { overwrite: true });

function claim(home: string, aside: string, leftover: "refuse" | "replace" | "resume"): void {
  if (fs.existsSync(home))
    failExists(home, { code: "checkpoint-exists", help: "name another directory, or remove it first" });
  if (leftover === "resume" || !fs.existsSync(aside)) return;
  if (leftover === "refuse")
    fail({
      code: "checkpoint-unfinished",
      message: "in the way: another save is writing there, or was cut off",
      at: { file: aside },
      help: "remove it if nothing is saving there",
    });
  writing(aside, () => fs.rmSync(aside, { recursive: true, force: true }));
}

const RESERVED: ReadonlySet<string> = new Set([TREE, STEP_METADATA, STRINGS, COMMITTED, MANIFEST]);

/** Names become keys and paths of files, and no leaf may lie within another. */
function checkTree(at: string, paths: readonly TreePath[]): void {
  const names = new Set(paths.map(nameOf));
  const inner = new Set(paths.flatMap((path) => path.slice(1).map((_, i) => nameOf(path.slice(0, i + 1)))));
  const failName = (name: string, message: string): never =>
    fail({ code: "orbax-name", message: `the leaf \`${name}\` ${message}`, at: { file: at } });
  for (const name of names)
    if (/^\.*$|[/\\\0]/.test(name) || RESERVED.has(name))
      failName(name, "would be no directory of its own: a name has no slash and is none of Orbax's files");
  if (names.size < paths.length)
    fail({ code: "orbax-name", message: "two leaves have the same name", at: { file: at } });
  for (const name of names) if (inner.has(name)) failName(name, "has leaves below it");
}

function planArray(at: string, { path, dtype, shape, chunk }: OrbaxTensor): ArrayPlan {
  const name = nameOf(path);
  if (nameV3(dtype) === undefined)
    fail({
      code: "orbax-dtype",
      message: `tensor \`${name}\`: zarr has no element type for ${dtype}`,
      at: { file: at },
    });
  invariant(chunk === undefined || chunk.length === shape.length, `chunks of ${name} have another rank`);
  // A chunk is no larger than the array, or it would be filled up.
  const fitted = chunk?.map((size, axis) => Math.max(1, Math.min(size, shape[axis] ?? 1)));
  return { tensor: { name, dtype, shape }, chunk: fitted ?? chunkOfRows(shape, bitsOf(dtype) / 8) };
}

const treeOf = (
  tensors: readonly OrbaxTensor[],
  { ocdbt = true, zarr3 = true, leaves = [] }: OrbaxOptions,
): Parameters<typeof printTree>[0] => ({
  leaves: [
    ...tensors.map(({ path, isScalar }): Leaf => ({ path, kind: isScalar ? "scalar" : "np.ndarray" })),
    ...leaves.map((leaf): Leaf => ({ path: leaf.path, kind: "empty" in leaf ? leaf.empty : "string" })),
  ],
  zarrVersion: zarr3 ? 3 : 2,
  isOcdbt: ocdbt,
  isComplete: true,
});

function writeStrings(item: string, leaves: readonly OtherLeaf[]): void {
  const texts = leaves.flatMap((leaf) => ("text" in leaf ? [[nameOf(leaf.path), leaf.text] as const] : []));
  if (texts.length > 0) writeText(join(item, STRINGS), JSON.stringify(Object.fromEntries(texts)));
}

const partDirectory = (item: string, part: number): string => join(item, `ocdbt.process_${part}`);

/** Whether a part was committed, by this run or by one that was cut off; in plain directories, its chunks alone tell. */
export const isPartFinished = ({ item, ocdbt }: OrbaxPlan, part: number): boolean =>
  !ocdbt || fs.existsSync(join(partDirectory(item, part), MANIFEST));

const finishedParts = (item: string): readonly string[] =>
  writing(item, () => fs.readdirSync(item))
    .filter((name) => /^ocdbt\.process_\d+$/.test(name) && fs.existsSync(join(item, name, MANIFEST)))
    .toSorted();

/**
 * Opens a part of a checkpoint that createOrbax began, in whichever thread: parts are written independently of each
 * other, each chunk in one of them. Parts are numbered from 1; the number 0 is that of createOrbax itself. What a
 * part of this number left that was not committed is removed.
 */
export function openOrbaxPart(plan: OrbaxPlan, part: number): TensorWriter {
  const { item, ocdbt } = plan;
  const store = openPartStore(item, ocdbt, part);
  const arrays = new Map(
    plan.arrays.map((array) => [array.tensor.name, createArray(store, array, versionOf(plan))]),
  );
  if (part === 0) for (const array of arrays.values()) array.describe();
  const find = (name: string): ZarrArrayWriter => {
    const array = arrays.get(name);
    invariant(array, `${name} is not among the tensors of ${item}`);
    return array;
  };
  return {
    chunksOf: (name) => find(name).chunks(),
    write: (name, box, bytes) => find(name).write(box, bytes),
    commit: () => store.commit(),
    abandon: () => store.abandon(),
  };
}

/** Reads the chunks of a committed part. */
export function readOrbaxPart(
  plan: OrbaxPlan,
  part: number,
): { read(name: string, box: Box): Uint8Array; close(): void } {
  const store = plan.ocdbt ? openOcdbt(partDirectory(plan.item, part)) : openDirectory(plan.item);
  const arrays = new Map(plan.arrays.map((array) => [array.tensor.name, array]));
  return {
    read(name, box) {
      const array = arrays.get(name);
      invariant(array, `${name} is among the tensors of ${plan.item}`);
      return readWritten(store, array, versionOf(plan), box);
    },
    close: () => store.close(),
  };
}

function openPartStore(item: string, ocdbt: boolean, part: number): KvWriter {
  if (!ocdbt) return createDirectory(item);
  const directory = partDirectory(item, part);
  writing(directory, () => fs.rmSync(directory, { recursive: true, force: true }));
  return createOcdbt(directory);
}

const versionOf = ({ zarr3 }: OrbaxPlan): ZarrVersion => (zarr3 ? 3 : 2);

/** Orbax restores a checkpoint that lacks a chunk without a word in some of its ways: such a one is not committed. */
function requireWhole(home: string, plan: OrbaxPlan): void {
  const store = plan.ocdbt ? openOcdbt(plan.item) : openDirectory(plan.item);
  try {
    for (const array of plan.arrays)
      for (const key of keysOf(array, versionOf(plan)))
        if (!store.keys.has(key))
          fail({
            code: "checkpoint-incomplete",
            message: `tensor \`${array.tensor.name}\`: ${key} was not written, so that the checkpoint is not committed`,
            at: { file: home },
            help: "a part of the save failed: save again",
          });
  } finally {
    store.close();
  }
}
