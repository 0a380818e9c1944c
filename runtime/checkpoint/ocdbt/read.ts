// Opens OCDBT databases: the manifest, then every node of the newest version's B+tree. After that the keys and where
// their values lie are in memory; values are read when asked for.
import * as fs from "node:fs";
import { join } from "node:path";
import { didYouMean, fail, invariant, type Place, Q3Error } from "../../../compiler/diag.ts";
import { failRead, fitting, namesIn, readAt } from "../../files.ts";
import { decodeUtf8 } from "../../utf8.ts";
import { attempt, losing, type OnDamage, refuse } from "../damage.ts";
import type { KvReader } from "../kv.ts";
import type { Allocate } from "../tensors.ts";
import type { DataFile, Location } from "./data-files.ts";
import { failDamaged } from "./fields.ts";
import { decodeManifest, MANIFEST, type Manifest } from "./manifest.ts";
import { decodeNode, isLeaf, isOutOfLine, type LeafEntry, type NodeRef, type Value } from "./node.ts";

/** Databases that several processes wrote each for itself, and which the one at the root refers to. */
const PER_PROCESS = /^ocdbt\.process_/;

const NUMBERED_MANIFEST = /^manifest\.[0-9a-f]{16}$/;
/** Larger nodes no writer makes: Orbax asks for 10^8 bytes at most. */
const MAX_NODE = 1 << 30;
/** As in a node: keys of all nodes together. */
const MAX_KEY_BYTES = 1 << 28;
/** Open files are few, so that a database of many does not take them all. */
const MAX_OPEN = 64;

/**
 * Opens the database in a directory. Files that are missing or cut short, and nodes below the root, are damage; keys
 * that only a damaged node knows are as if they had never been, values that were lost fail when they are read.
 */
export function openOcdbt(path: string, onDamage: OnDamage = refuse): KvReader {
  const files = openFiles(path);
  try {
    const tree = readTree(files, readManifest(path), onDamage);
    return readerOver(path, files, tree);
  } catch (error) {
    files.close();
    throw error;
  }
}

/** Every key of a database with its value or where that lies, in the order of the keys' bytes. */
export function readOcdbtEntries(path: string): readonly LeafEntry[] {
  const files = openFiles(path);
  try {
    return readTree(files, readManifest(path), refuse).entries;
  } finally {
    files.close();
  }
}

function readManifest(path: string): Manifest {
  const names = namesIn(path);
  if (!names.includes(MANIFEST)) failWithoutManifest(path, names);
  const manifest = decode(join(path, MANIFEST));
  if (manifest.settings.kind === "single") return manifest;
  const last = names.filter((name) => NUMBERED_MANIFEST.test(name)).at(-1);
  if (last === undefined) {
    return failDamaged(
      { file: join(path, MANIFEST) },
      "its versions are in manifest.<16 hex digits>, and there is none",
    );
  }
  const file = join(path, last);
  const numbered = decode(file);
  const generation = numbered.version?.generation;
  if (generation === undefined) return failDamaged({ file }, "expected a manifest with versions");
  if (BigInt(generation) !== BigInt(`0x${last.slice("manifest.".length)}`)) {
    return failDamaged({ file }, `its last generation is ${generation}, which is not that of its name`);
  }
  return { settings: manifest.settings, version: numbered.version };
}

function decode(file: string): Manifest {
  try {
    return decodeManifest(fs.readFileSync(file), { file });
  } catch (error) {
    return failRead(file, error);
  }
}

function failWithoutManifest(path: string, names: readonly string[]): never {
  if (names.some((name) => PER_PROCESS.test(name))) {
    fail({
      code: "ocdbt-unfinished",
      message: `expected ${MANIFEST}, found only databases of single processes: the save was cut off`,
      at: { file: path },
      help: "use a checkpoint that was finished",
    });
  }
  fail({ code: "checkpoint-missing", message: `expected ${MANIFEST}, found none`, at: { file: path } });
}

/** The files of a database, opened when first read, a limited number at a time. */
type Files = {
  readonly root: string;
  pathOf(file: DataFile): string;
  sizeOf(file: DataFile): number;
  /** `what` lies there, and is named when the file is too short for it. */
  read(location: Location, what: string, room?: Allocate): Uint8Array;
  close(): void;
};

function openFiles(root: string): Files {
  const sizes = new Map<string, number>();
  // In the order of their last use.
  const open = new Map<string, number>();
  const pathOf = ({ path }: DataFile): string => join(root, path);
  const sizeOf = (file: DataFile): number => {
    const known = sizes.get(file.path);
    if (known !== undefined) return known;
    try {
      const size = fs.statSync(pathOf(file)).size;
      sizes.set(file.path, size);
      return size;
    } catch (error) {
      return failRead(pathOf(file), error);
    }
  };
  const use = (file: DataFile): number => {
    const descriptor = open.get(file.path) ?? fs.openSync(pathOf(file), "r");
    open.delete(file.path);
    open.set(file.path, descriptor);
    const [oldest] = open;
    if (open.size > MAX_OPEN && oldest) {
      open.delete(oldest[0]);
      fs.closeSync(oldest[1]);
    }
    return descriptor;
  };
  return {
    root,
    pathOf,
    sizeOf,
    read(location, what, room) {
      requireInside(location, what, { pathOf, sizeOf });
      const { file, offset, length } = location;
      let bytes: Uint8Array;
      try {
        const place = { file: pathOf(file) };
        bytes = fitting("value-too-large", what, place, () => readAt(use(file), offset, length, room));
      } catch (error) {
        return failRead(pathOf(file), error);
      }
      if (bytes.length < length)
        failDamaged({ file: pathOf(file) }, `${what} is cut short: the file shrank while open`);
      return bytes;
    },
    close() {
      for (const descriptor of open.values()) fs.closeSync(descriptor);
      open.clear();
    },
  };
}

function requireInside(
  { file, offset, length }: Location,
  what: string,
  { pathOf, sizeOf }: Pick<Files, "pathOf" | "sizeOf">,
): void {
  const size = sizeOf(file);
  if (offset + length > size) {
    failDamaged(
      { file: pathOf(file) },
      `${what} is expected at bytes ${offset} to ${offset + length}, but the file has ${size}`,
    );
  }
}

/** What a database holds, and of each value that its file does not hold the error that was said of the file. */
type Tree = { readonly entries: readonly LeafEntry[]; readonly lost: ReadonlyMap<Value, Q3Error> };

function readTree(files: Files, { settings, version }: Manifest, onDamage: OnDamage): Tree {
  const entries: LeafEntry[] = [];
  const limit = Math.min(MAX_NODE, Math.max(settings.maxNodeBytes, 1 << 23));
  // Nodes of one tree never overlap. Were they allowed to, few bytes could stand for a tree without end.
  const visited = new Set<string>();
  const budgets = new Map<string, number>();
  const lost = lostValues(files);
  let last: Uint8Array | undefined;
  let keyBytes = 0;

  const spend = ({ file, offset, length }: Location, where: Place): void => {
    const place = `${offset} ${file.path}`;
    const left = (budgets.get(file.path) ?? files.sizeOf(file)) - length;
    if (visited.has(place) || left < 0) failDamaged(where, "the node is part of another");
    visited.add(place);
    budgets.set(file.path, left);
  };
  const visit = ({ location, height }: NodeRef, prefix: Uint8Array): void => {
    const { file } = location;
    const where = { file: files.pathOf(file), part: `node at byte ${location.offset}` };
    requireInside(location, "a node", files);
    spend(location, where);
    const bytes = files.read(location, "a node");
    const node = decodeNode(bytes, { height, base: file.base, limit }, where);
    if (!isLeaf(node)) {
      for (const { key, shared, child } of node.entries)
        attempt(onDamage, () => visit(child, concatenate(prefix, key.subarray(0, shared))));
      return;
    }
    for (const { key: relative, value } of node.entries) {
      const key = concatenate(prefix, relative);
      keyBytes += key.length;
      if (last && Buffer.compare(last, key) >= 0) failDamaged(where, "its keys are not sorted");
      if (keyBytes > MAX_KEY_BYTES) failDamaged(where, `all keys take more than ${MAX_KEY_BYTES} bytes`);
      if (isOutOfLine(value)) lost.check(value, decodeUtf8(where, key));
      last = key;
      entries.push({ key, value });
    }
  };
  if (version?.root) visit(version.root, new Uint8Array());
  return { entries, lost: lost.report(onDamage) };
}

/** Collects the values that files do not hold, so that what is said of each file names all that was lost with it. */
function lostValues(files: Files) {
  type Lost = { readonly first: Q3Error; readonly names: Set<string>; readonly values: Location[] };
  const lost = new Map<string, Lost>();
  return {
    check(value: Location, key: string): void {
      try {
        requireInside(value, `the value of \`${key}\``, files);
      } catch (error) {
        if (!(error instanceof Q3Error)) throw error;
        const { path } = value.file;
        const file = lost.get(path) ?? { first: error, names: new Set(), values: [] };
        lost.set(path, file);
        // Keys are paths: what comes before the slash is one thing, in many pieces perhaps.
        file.names.add(key.split("/", 1)[0] ?? key);
        file.values.push(value);
      }
    },
    report(onDamage: OnDamage): Tree["lost"] {
      const errors = [...lost.values()].map(({ first, names, values }) => {
        const problems = first.diagnostics.map((problem) => ({
          ...losing(problem, names),
          help: "copy this file again, or use an earlier checkpoint",
        }));
        return { error: new Q3Error(problems), values };
      });
      if (errors.length > 0) onDamage(new Q3Error(errors.flatMap(({ error }) => error.diagnostics)));
      return new Map(errors.flatMap(({ error, values }) => values.map((value) => [value, error])));
    },
  };
}

const concatenate = (a: Uint8Array, b: Uint8Array): Uint8Array =>
  a.length === 0 ? b : Buffer.concat([a, b]);

function readerOver(path: string, files: Files, { entries, lost }: Tree): KvReader {
  const values = new Map<string, Value>();
  const keys = new Map<string, number>();
  for (const { key, value } of entries) {
    const name = decodeUtf8({ file: join(path, MANIFEST) }, key);
    values.set(name, value);
    keys.set(name, value.length);
  }
  const find = (key: string): Value => {
    const value = values.get(key);
    if (value) return value;
    return fail({
      code: "key-missing",
      message: `no key \`${key}\` in the database`,
      at: { file: path },
      help: didYouMean(key, keys.keys()),
    });
  };
  return {
    path,
    keys,
    read(key, range, room) {
      const value = find(key);
      const { offset, length } = range ?? { offset: 0, length: value.length };
      invariant(
        offset >= 0 && length >= 0 && offset + length <= value.length,
        `range ${offset}+${length} leaves the value of ${key}`,
      );
      if (!isOutOfLine(value)) return value.slice(offset, offset + length);
      const error = lost.get(value);
      if (error) throw error;
      return files.read(
        { file: value.file, offset: value.offset + offset, length },
        `the value of \`${key}\``,
        room,
      );
    },
    fileOf(key) {
      const value = find(key);
      return isOutOfLine(value) ? files.pathOf(value.file) : join(path, MANIFEST);
    },
    close: files.close,
  };
}
