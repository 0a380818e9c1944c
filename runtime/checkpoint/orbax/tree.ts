// `_METADATA`: the tree of an item, one entry per leaf, with how its arrays are stored.
import { fail } from "../../../compiler/diag.ts";
import { isRecord, parseRecord, showJson } from "../../../compiler/json.ts";
import { readText } from "../../files.ts";

/** Keys from the root to a leaf: names of dictionaries' members and fields, numbers of sequences' elements. */
export type TreePath = readonly (string | number)[];

/** What can be at a leaf without any element: nothing, or a collection that is empty. */
export const EMPTY_NODES = ["None", "Dict", "List", "Tuple", "NamedTuple"] as const;
export type EmptyNode = (typeof EMPTY_NODES)[number];

/** How the value at a leaf was held by who saved it; all of these are stored as arrays. */
export const ARRAY_KINDS = ["jax.Array", "np.ndarray", "scalar"] as const;
export type ArrayKind = (typeof ARRAY_KINDS)[number];

const STORED_KINDS = [...ARRAY_KINDS, "string"] as const;

/** A leaf of a saved tree. */
export type Leaf = {
  readonly path: TreePath;
  readonly kind: ArrayKind | "string" | EmptyNode;
};

/** What `_METADATA` says. */
export type Tree = {
  readonly leaves: readonly Leaf[];
  readonly zarrVersion: 2 | 3;
  /** Nothing where an older Orbax left it to the files that are there. */
  readonly isOcdbt: boolean | undefined;
  /** Whether chunks that hold nothing but the fill value were written too, so that every chunk must be there. */
  readonly isComplete: boolean;
};

/** The name of a leaf in the store. */
export const nameOf = (path: TreePath): string => path.join(".");

const SEQUENCE = 1;
const DICTIONARY = 2;

const failTree = (file: string, message: string): never =>
  fail({ code: "orbax-metadata", message, at: { file } });

const isOneOf = <T extends string>(names: readonly T[], value: unknown): value is T =>
  names.some((name) => name === value);

/** The JSON object in a file of a checkpoint. */
export const readObject = (file: string): Readonly<Record<string, unknown>> =>
  parseRecord(readText(file), (problem) => failTree(file, problem));

/** Reads `_METADATA`. */
export function readTree(file: string): Tree {
  const fields = readObject(file);
  const { tree_metadata: members, use_zarr3: zarr3 = false, use_ocdbt: ocdbt } = fields;
  const { store_array_data_equal_to_fill_value: isComplete = false } = fields;
  if (!isRecord(members)) return failTree(file, "expected `tree_metadata` to be an object");
  for (const [name, value] of Object.entries({ use_zarr3: zarr3, use_ocdbt: ocdbt ?? false, isComplete }))
    if (typeof value !== "boolean")
      failTree(file, `expected \`${name}\` to be true or false, found ${showJson(value)}`);
  const leaves = Object.entries(members).map(([label, member]) => parseLeaf(file, label, member));
  const seen = new Set<string>();
  for (const { path } of leaves) {
    const name = nameOf(path);
    if (seen.has(name)) failTree(file, `two leaves are called \`${name}\``);
    seen.add(name);
  }
  return {
    leaves,
    zarrVersion: zarr3 === true ? 3 : 2,
    isOcdbt: typeof ocdbt === "boolean" ? ocdbt : undefined,
    isComplete: isComplete === true,
  };
}

function parseLeaf(file: string, label: string, member: unknown): Leaf {
  const { key_metadata: keys, value_metadata: value } = isRecord(member) ? member : {};
  if (!Array.isArray(keys) || !isRecord(value))
    return failTree(file, `leaf ${label}: expected \`key_metadata\` and \`value_metadata\``);
  const path = keys.map((key) => parseKey(file, label, key));
  const { value_type: kind, skip_deserialize: isSkipped } = value;
  if (typeof isSkipped !== "boolean")
    return failTree(
      file,
      `leaf ${label}: expected \`skip_deserialize\` to be true or false, found ${showJson(isSkipped)}`,
    );
  const known = isSkipped ? EMPTY_NODES : STORED_KINDS;
  if (!isOneOf<Leaf["kind"]>(known, kind))
    return failTree(
      file,
      `leaf ${label}: expected a value_type of ${known.join(", ")}, found ${showJson(kind)}`,
    );
  return { path, kind };
}

function parseKey(file: string, label: string, value: unknown): string | number {
  const { key, key_type: type } = isRecord(value) ? value : {};
  if (typeof key === "string" && type === DICTIONARY) return key;
  if (typeof key === "string" && type === SEQUENCE && /^(0|[1-9]\d{0,8})$/.test(key)) return Number(key);
  return failTree(file, `leaf ${label}: expected a key with its key_type, found ${showJson(value)}`);
}

/** Prints `_METADATA`. */
export function printTree({ leaves, zarrVersion, isOcdbt, isComplete }: Tree): string {
  return JSON.stringify({
    tree_metadata: Object.fromEntries(leaves.map((leaf) => [labelOf(leaf.path), printLeaf(leaf)])),
    use_ocdbt: isOcdbt,
    use_zarr3: zarrVersion === 3,
    store_array_data_equal_to_fill_value: isComplete,
    custom_metadata: null,
  });
}

const printLeaf = ({ path, kind }: Leaf): object => ({
  key_metadata: path.map((key) => ({
    key: `${key}`,
    key_type: typeof key === "number" ? SEQUENCE : DICTIONARY,
  })),
  value_metadata: { value_type: kind, skip_deserialize: isOneOf(EMPTY_NODES, kind) },
});

/** A leaf's label, as Python prints a tuple of strings. */
function labelOf(path: TreePath): string {
  const keys = path.map((key) => `'${`${key}`.replace(/[\\']/g, "\\$&")}'`);
  return keys.length === 1 ? `(${keys[0]},)` : `(${keys.join(", ")})`;
}
