// Writes OCDBT databases: values are appended to data files as they come, then the B+tree over them, and last of all
// the manifest, without which nothing is there.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { fail, invariant } from "../../../compiler/diag.ts";
import { writeAside } from "../../files.ts";
import type { KvWriter } from "../kv.ts";
import type { DataFile } from "./data-files.ts";
import { encodeManifest, MANIFEST } from "./manifest.ts";
import { isOutOfLine, type LeafEntry, MAX_INLINE, MAX_KEY } from "./node.ts";
import { readOcdbtEntries } from "./read.ts";
import { createData, DATA, type Data } from "./write-data.ts";
import { writeTree } from "./write-tree.ts";

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

/** Begins a database in a directory, which is made; one that is there already is refused. */
export function createOcdbt(path: string, options: OcdbtOptions = {}): KvWriter {
  const settings = { ...DEFAULTS, ...options };
  invariant(settings.maxInlineBytes <= MAX_INLINE, `values within nodes have at most ${MAX_INLINE} bytes`);
  refuseExisting(path);
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
  refuseExisting(path);
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

function refuseExisting(path: string): void {
  if (fs.existsSync(join(path, MANIFEST))) {
    fail({
      code: "checkpoint-exists",
      message: "already holds a database and would be overwritten",
      at: { file: path },
      help: "name another directory, or remove it first",
    });
  }
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
