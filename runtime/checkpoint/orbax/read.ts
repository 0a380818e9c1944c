// Reads Orbax checkpoints: plain directories or OCDBT databases, of zarr v2 or v3 arrays.
import * as fs from "node:fs";
import { join } from "node:path";
import { didYouMean, fail } from "../../../compiler/diag.ts";
import { requireInside, wholeBox } from "../box.ts";
import { attempt, type OnDamage, refuse } from "../damage.ts";
import type { KvReader } from "../kv.ts";
import { MANIFEST } from "../ocdbt/manifest.ts";
import { openOcdbt } from "../ocdbt/read.ts";
import type { TensorReader } from "../tensors.ts";
import { metadataKey, openArray, type ZarrArray } from "../zarr/array.ts";
import { openDirectory } from "../zarr/directory.ts";
import type { Memo } from "../zarr/memo.ts";
import { findItem, readCustomMetadata, STRINGS, TREE } from "./files.ts";
import { checkSums } from "./sums.ts";
import { ARRAY_KINDS, type Leaf, nameOf, readObject, readTree, type Tree } from "./tree.ts";

/** An open Orbax item. `path` is its directory; tensors are named by their path in the tree, joined with dots. */
export type OrbaxReader = TensorReader & {
  /** Every leaf of the saved tree, those without elements too. */
  readonly leaves: readonly Leaf[];
  /** The leaves that are strings, by name. */
  readonly strings: ReadonlyMap<string, string>;
  /** The number of the step, if the directory's name has one. */
  readonly step: number | undefined;
  /** What the program that saved it noted, such as MaxText's `scan_layers`. */
  readonly customMetadata: Readonly<Record<string, unknown>>;
  readonly format: { readonly isOcdbt: boolean; readonly zarrVersion: 2 | 3 };
  /** The check sums that all of a tensor's elements are under; none when damage can go unnoticed. */
  checksumsOf(name: string): readonly string[];
  /** The shape of a tensor's smallest parts that may be damaged each by itself: chunks, or those within shards. */
  grainOf(name: string): readonly number[];
  /** How many of a tensor's chunks were left out, because they hold nothing but the fill value. */
  countAbsent(name: string): number;
};

/**
 * Opens the checkpoint at a path: an item's directory, a step's, or the one that holds the steps, of which the latest
 * finished one is taken. Saves that were not finished are refused. Arrays whose metadata is damaged are left out.
 */
export function openOrbax(path: string, onDamage: OnDamage = refuse): OrbaxReader {
  const place = findItem(path, onDamage);
  checkSums(place.item, onDamage);
  const tree = readTree(join(place.item, TREE));
  const isOcdbt = tree.isOcdbt ?? fs.existsSync(join(place.item, MANIFEST));
  const store = isOcdbt ? openOcdbt(place.item, onDamage) : openDirectory(place.item);
  try {
    const arrays = openArrays(store, tree, onDamage);
    const find = (name: string): ZarrArray =>
      arrays.get(name) ?? failMissing(place.item, name, arrays.keys());
    return {
      path: place.item,
      tensors: new Map([...arrays].map(([name, { tensor }]) => [name, tensor])),
      read(name, box, room) {
        const { tensor, read } = find(name);
        if (box) requireInside(box, tensor.shape, name);
        return read(box ?? wholeBox(tensor.shape), room);
      },
      chunksOf: (name) => find(name).chunks(),
      close: () => store.close(),
      leaves: tree.leaves,
      strings: attempt(onDamage, () => readStrings(place.item, tree)) ?? new Map(),
      step: place.step,
      customMetadata: attempt(onDamage, () => readCustomMetadata(place)) ?? {},
      format: { isOcdbt, zarrVersion: tree.zarrVersion },
      checksumsOf: (name) => find(name).checksums,
      grainOf: (name) => find(name).grain,
      countAbsent: (name) => find(name).countAbsent(),
    };
  } catch (error) {
    store.close();
    throw error;
  }
}

const isArray = ({ kind }: Leaf): boolean => ARRAY_KINDS.some((name) => name === kind);

function openArrays(
  store: KvReader,
  { leaves, zarrVersion, isComplete }: Tree,
  onDamage: OnDamage,
): ReadonlyMap<string, ZarrArray> {
  const memo: Memo = new Map();
  const open = (name: string): ZarrArray => {
    const key = `${name}/${metadataKey(zarrVersion)}`;
    if (!store.keys.has(key)) failNoArray(store, name, zarrVersion);
    return openArray(store, name, { version: zarrVersion, isComplete, memo, onDamage });
  };
  const names = leaves.filter(isArray).map(({ path }) => nameOf(path));
  const arrays = names.map((name) => [name, attempt(onDamage, () => open(name))] as const);
  return new Map(arrays.flatMap(([name, array]) => (array ? [[name, array]] : [])));
}

function failNoArray(store: KvReader, name: string, version: 2 | 3): never {
  const other = version === 3 ? 2 : 3;
  const isOther = store.keys.has(`${name}/${metadataKey(other)}`);
  return fail({
    code: "orbax-array-missing",
    message: `tensor \`${name}\` has no ${metadataKey(version)}${isOther ? `, but ${metadataKey(other)}` : ""}`,
    at: { file: store.path },
    help: isOther
      ? `\`use_zarr3\` in ${join(store.path, TREE)} is wrong`
      : "the checkpoint is incomplete: copy it again, or use an earlier one",
  });
}

function failMissing(path: string, name: string, names: Iterable<string>): never {
  fail({
    code: "tensor-missing",
    message: `no tensor \`${name}\` in the checkpoint`,
    at: { file: path },
    help: didYouMean(name, names),
  });
}

function readStrings(item: string, { leaves }: Tree): ReadonlyMap<string, string> {
  const names = leaves.filter(({ kind }) => kind === "string").map(({ path }) => nameOf(path));
  const file = join(item, STRINGS);
  const texts = names.length === 0 ? {} : readObject(file);
  return new Map(
    names.map((name) => {
      const text = Object.hasOwn(texts, name) ? texts[name] : undefined;
      if (typeof text === "string") return [name, text];
      return fail({ code: "orbax-string-missing", message: `no text for \`${name}\``, at: { file } });
    }),
  );
}
