// Writes OCDBT databases: values are appended to data files as they come, then the B+tree over them, and last of all
// the manifest, without which nothing is there.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { fail, invariant } from "../../../compiler/diag.ts";
import { BLOCK, type DirectFile, openDirect } from "../../direct-file.ts";
import { flushDirectory, writeAside, writing } from "../../files.ts";
import type { KvWriter } from "../kv.ts";
import { type DataFile, type Location, sharedPrefix } from "./data-files.ts";
import { encodeManifest, MANIFEST } from "./manifest.ts";
import {
  encodeNode,
  type InteriorEntry,
  isOutOfLine,
  type LeafEntry,
  MAX_ENTRIES,
  MAX_INLINE,
  MAX_KEY,
  type Node,
  type NodeRef,
} from "./node.ts";
import { readOcdbtEntries } from "./read.ts";

export type OcdbtOptions = {
  /** A data file that has reached this size is followed by another. Orbax's default for MaxText. */
  readonly dataFileBytes?: number;
  /** Values up to this size are kept in the tree itself. */
  readonly maxInlineBytes?: number;
  /** The size at which the tree gets another level. */
  readonly maxNodeBytes?: number;
};

const DEFAULTS: Required<OcdbtOptions> = {
  dataFileBytes: 2 ** 31,
  maxInlineBytes: 1024,
  maxNodeBytes: 100_000_000,
};
/** Parts smaller than this are collected before they are written. */
const BUFFER = 1 << 18;
const DATA = "d";

/** Begins a database in a directory, which is made; one that is there already is refused. */
export function createOcdbt(path: string, options: OcdbtOptions = {}): KvWriter {
  const settings = { ...DEFAULTS, ...options };
  invariant(settings.maxInlineBytes <= MAX_INLINE, `values within nodes have at most ${MAX_INLINE} bytes`);
  const data = createData(path, settings.dataFileBytes);
  const entries = new Map<string, LeafEntry>();
  return {
    put(key, parts) {
      const bytes = encodeKey(path, key);
      invariant(!entries.has(key), `${key} is put twice`);
      entries.set(key, { key: bytes, value: storeValue(data, settings.maxInlineBytes, parts) });
    },
    commit: () => commitTree(path, data, [...entries.values()], settings),
    abandon: data.abandon,
  };
}

/** Removes the database in a directory, not those in directories within it. Its manifest goes first. */
export function removeOcdbt(path: string): void {
  for (const name of [MANIFEST, DATA]) fs.rmSync(join(path, name), { recursive: true, force: true });
}

/**
 * Makes the databases in `children`, directories within `path`, one: its tree says where their values lie, and they
 * stay where they are. A key in several children must have the same short value in each.
 */
export function mergeOcdbt(path: string, children: readonly string[]): void {
  const entries = new Map<string, LeafEntry>();
  for (const child of children) {
    for (const { key, value } of readOcdbtEntries(join(path, child))) {
      const name = Buffer.from(key).toString();
      const moved = isOutOfLine(value) ? { ...value, file: moveInto(child, value.file) } : value;
      const other = entries.get(name);
      if (other && !isSame(other, moved)) {
        fail({
          code: "ocdbt-key-twice",
          message: `the key \`${name}\` has one value in ${child} and another in a database before it`,
          at: { file: path },
        });
      }
      entries.set(name, { key, value: moved });
    }
  }
  commitTree(path, createData(path, DEFAULTS.dataFileBytes), [...entries.values()], DEFAULTS);
}

const moveInto = (child: string, { base, path }: DataFile): DataFile => ({
  base: `${child}/${base}`,
  path: `${child}/${path}`,
});

const isSame = ({ value: a }: LeafEntry, b: LeafEntry["value"]): boolean =>
  !isOutOfLine(a) && !isOutOfLine(b) && Buffer.compare(a, b) === 0;

function encodeKey(path: string, key: string): Uint8Array {
  const bytes = Buffer.from(key);
  if (bytes.length <= MAX_KEY && bytes.toString() === key) return bytes;
  return fail({
    code: "ocdbt-key",
    message: `the key ${JSON.stringify(key.slice(0, 80))} is not well-formed or longer than ${MAX_KEY} bytes`,
    at: { file: path },
  });
}

// Parts are held back until they are too many to be kept in the tree.
function storeValue(data: Data, maxInlineBytes: number, parts: Iterable<Uint8Array>): LeafEntry["value"] {
  const held: Uint8Array[] = [];
  let length = 0;
  let offset: number | undefined;
  for (const part of parts) {
    length += part.length;
    if (offset !== undefined) data.append(part);
    else if (length <= maxInlineBytes) held.push(part.slice());
    else {
      offset = data.begin(part.length);
      for (const earlier of held) data.append(earlier);
      data.append(part);
    }
  }
  return offset === undefined ? Buffer.concat(held) : { file: data.file(), offset, length };
}

/** The data files being written, one after another. */
type Data = {
  /** Where the next value will begin, of which so many bytes come first; what it lies in is `file()`. */
  begin(length: number): number;
  file(): DataFile;
  append(bytes: Uint8Array): void;
  /** Makes everything durable. */
  finish(): void;
  /** Closes and removes them. */
  abandon(): void;
};

function createData(path: string, dataFileBytes: number): Data {
  const directory = join(path, DATA);
  if (fs.existsSync(join(path, MANIFEST))) {
    fail({
      code: "checkpoint-exists",
      message: "already holds a database and would be overwritten",
      at: { file: path },
      help: "name another directory, or remove it first",
    });
  }
  const attempt = <T>(work: () => T): T => writing(directory, work);
  attempt(() => fs.mkdirSync(directory, { recursive: true }));

  const names: string[] = [];
  let file: DirectFile | undefined;
  // What is buffered is counted.
  let size = 0;
  let buffered: Uint8Array[] = [];
  let bufferedBytes = 0;

  const write = (bytes: Uint8Array, position: number): void => {
    invariant(file, "bytes come after a value has begun");
    file.write(bytes, position);
  };
  const flush = (): void => {
    if (bufferedBytes > 0) write(Buffer.concat(buffered), size - bufferedBytes);
    [buffered, bufferedBytes] = [[], 0];
  };
  const close = (): void => {
    file?.close();
    file = undefined;
  };
  const finish = (): void => {
    if (!file) return;
    flush();
    file.flush();
    close();
  };
  const roll = (): void => {
    finish();
    const name = randomBytes(16).toString("hex");
    names.push(name);
    file = openDirect(join(directory, name), "wx");
    size = 0;
  };
  return {
    begin: (length) =>
      attempt(() => {
        if (!file || size >= dataFileBytes) roll();
        if (length < BUFFER) return size;
        // From the beginning of a block, large values are written without being copied.
        flush();
        size = Math.ceil(size / BLOCK) * BLOCK;
        return size;
      }),
    file: () => ({ base: "", path: `${DATA}/${names.at(-1)}` }),
    append: (bytes) =>
      attempt(() => {
        if (bytes.length >= BUFFER) {
          flush();
          write(bytes, size);
        } else {
          buffered.push(bytes.slice());
          bufferedBytes += bytes.length;
        }
        size += bytes.length;
        if (bufferedBytes >= BUFFER) flush();
      }),
    finish: () =>
      attempt(() => {
        finish();
        flushDirectory(directory);
      }),
    abandon() {
      close();
      for (const name of names) fs.rmSync(join(directory, name), { force: true });
    },
  };
}

function commitTree(
  path: string,
  data: Data,
  entries: readonly LeafEntry[],
  { maxInlineBytes, maxNodeBytes }: Required<OcdbtOptions>,
): void {
  const sorted = entries.toSorted((a, b) => Buffer.compare(a.key, b.key));
  const root = sorted.length > 0 ? writeTree(data, sorted, maxNodeBytes) : undefined;
  data.finish();
  const settings = { uuid: randomBytes(16), kind: "single", maxInlineBytes, maxNodeBytes } as const;
  const version = { generation: 1, root, time: BigInt(Date.now()) * 1_000_000n };
  writeAside(join(path, MANIFEST), (append) => append(encodeManifest(settings, version)));
}

/** A node that is written, the keys it spans, and how many bytes they all begin with, which it leaves out. */
type Branch = {
  readonly ref: NodeRef;
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly prefix: number;
};

// What an entry takes beside its key and its value: at most so many bytes of numbers.
const ENTRY_BYTES = 48;

// From the leaves up: nodes go into the nodes of the next level, until there is one.
function writeTree(data: Data, sorted: readonly LeafEntry[], limit: number): NodeRef {
  const leaves = split(
    sorted,
    ({ key, value }) => key.length + (isOutOfLine(value) ? 0 : value.length),
    limit,
    1,
  );
  let level = leaves.map((entries) => writeLeaf(data, entries, leaves.length === 1));
  for (let height = 1; level.length > 1; height++) {
    const parents = split(level, ({ first }) => first.length, limit, 2);
    level = parents.map((children) => writeInterior(data, children, height, parents.length === 1));
  }
  const [root] = level;
  invariant(root, "a tree has a root");
  return root.ref;
}

// Groups of neighbours that stay within the limit, but have at least so many members, or a level would not shrink.
function split<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  limit: number,
  atLeast: number,
): readonly (readonly T[])[] {
  const groups: T[][] = [];
  let room = 0;
  for (const item of items) {
    const size = sizeOf(item) + ENTRY_BYTES;
    const group = groups.at(-1);
    if (group && group.length < MAX_ENTRIES && (size <= room || group.length < atLeast)) {
      group.push(item);
      room -= size;
    } else {
      groups.push([item]);
      room = limit - size;
    }
  }
  return groups;
}

function writeLeaf(data: Data, entries: readonly LeafEntry[], isRoot: boolean): Branch {
  const { first, last, prefix } = span(entries[0]?.key, entries.at(-1)?.key, isRoot);
  const node = {
    height: 0,
    entries: entries.map((entry) => ({ ...entry, key: entry.key.subarray(prefix) })),
  } as const;
  const outside = entries.reduce((sum, { value }) => sum + (isOutOfLine(value) ? value.length : 0), 0);
  const below = { keys: entries.length, treeBytes: 0, indirectBytes: outside };
  return { ref: writeNode(data, node, below), first, last, prefix };
}

function writeInterior(data: Data, children: readonly Branch[], height: number, isRoot: boolean): Branch {
  const { first, last, prefix } = span(children[0]?.first, children.at(-1)?.last, isRoot);
  const entries = children.map(
    (child): InteriorEntry => ({
      key: child.first.subarray(prefix),
      shared: child.prefix - prefix,
      child: child.ref,
    }),
  );
  const total = (of: (ref: NodeRef) => number): number => children.reduce((sum, { ref }) => sum + of(ref), 0);
  const below = {
    keys: total(({ keys }) => keys),
    treeBytes: total(({ treeBytes }) => treeBytes),
    indirectBytes: total(({ indirectBytes }) => indirectBytes),
  };
  return { ref: writeNode(data, { height, entries }, below), first, last, prefix };
}

// Nothing may be left out of the root's keys: no entry above it could say what.
function span(
  first: Uint8Array | undefined,
  last: Uint8Array | undefined,
  isRoot: boolean,
): Omit<Branch, "ref"> {
  invariant(first && last, "a node has entries");
  return { first, last, prefix: isRoot ? 0 : sharedPrefix(first, last) };
}

function writeNode(
  data: Data,
  node: Node,
  { keys, treeBytes, indirectBytes }: Pick<NodeRef, "keys" | "treeBytes" | "indirectBytes">,
): NodeRef {
  const bytes = encodeNode(node);
  const offset = data.begin(bytes.length);
  data.append(bytes);
  const location: Location = { file: data.file(), offset, length: bytes.length };
  return { location, height: node.height, keys, treeBytes: treeBytes + bytes.length, indirectBytes };
}
