// Nodes of the B+tree that maps keys to values, as columns: leaves hold values or where they lie, interior nodes where
// their children lie. Keys in a node are relative to a prefix that all keys below its entry in the parent share.

import type { Place } from "../../../compiler/diag.ts";
import {
  dataFileAt,
  type Location,
  readDataFiles,
  sharedPrefix,
  tableOf,
  writeDataFiles,
} from "./data-files.ts";
import { KINDS, openEnvelope, seal } from "./envelope.ts";
import { type FieldReader, type FieldWriter, failDamaged, writeFields } from "./fields.ts";

/** Where a node lies and what is below it, itself included. */
export type NodeRef = {
  readonly location: Location;
  /** 0 for a leaf. */
  readonly height: number;
  readonly keys: number;
  /** Bytes of all nodes. */
  readonly treeBytes: number;
  /** Bytes of all values that lie outside of nodes. */
  readonly indirectBytes: number;
};

/** A value in the node, or where it lies. */
export type Value = Uint8Array | Location;
export type LeafEntry = { readonly key: Uint8Array; readonly value: Value };

export type InteriorEntry = {
  /** No key below is smaller. */
  readonly key: Uint8Array;
  /** How many bytes of `key` all keys below begin with; they are left out there. */
  readonly shared: number;
  readonly child: NodeRef;
};

export type Node =
  | { readonly height: 0; readonly entries: readonly LeafEntry[] }
  | { readonly height: number; readonly entries: readonly InteriorEntry[] };

/** The most entries a node may have. */
export const MAX_ENTRIES = 1 << 20;
/** The longest key. */
export const MAX_KEY = 65535;
/** The longest value within a node. */
export const MAX_INLINE = 1 << 20;
/** As in MAX_TABLE: keys that share prefixes must not unfold into more than a database could hold. */
const MAX_KEY_BYTES = 1 << 28;

const INLINE = 0;
const OUT_OF_LINE = 1;

/** Reads a node; `base` is that of the file it lies in, `limit` what its body decodes to at most. */
export function decodeNode(
  bytes: Uint8Array,
  expected: { readonly height: number; readonly base: string; readonly limit: number },
  where: Place,
): Node {
  const fields = openEnvelope(KINDS.node, bytes, expected.limit, where);
  const height = fields.byte("height");
  if (height !== expected.height)
    failDamaged(where, `the node's height is ${height}; expected ${expected.height}`);
  const files = readDataFiles(fields, expected.base);
  const count = fields.count("number of entries", height === 0 ? 3 : 8);
  if (count === 0 || count > MAX_ENTRIES) {
    failDamaged(where, `the node has ${count} entries; expected 1 to ${MAX_ENTRIES}`);
  }
  const locate = (id: number, offset: number, length: number): Location => {
    if (offset + length > Number.MAX_SAFE_INTEGER) failDamaged(where, "an offset is beyond 2^53");
    return { file: dataFileAt(files, id, where), offset, length };
  };
  const node = height === 0 ? readLeaf(fields, count, locate) : readInterior(fields, count, height, locate);
  fields.end();
  return node;
}

type Locate = (id: number, offset: number, length: number) => Location;

function readLeaf(fields: FieldReader, count: number, locate: Locate): Node {
  const { keys } = readKeys(fields, count, false);
  const lengths = fields.varints(count, "length of a value");
  const kinds = fields.bytes(count, "kinds of values");
  const unknown = kinds.find((kind) => kind !== INLINE && kind !== OUT_OF_LINE);
  if (unknown !== undefined) failDamaged(fields.where, `a value is of kind ${unknown}; expected 0 or 1`);
  const outside = kinds.reduce((sum, kind) => sum + kind, 0);
  const ids = fields.varints(outside, "file of a value");
  const offsets = fields.varints(outside, "offset of a value");
  let next = 0;
  const entries = keys.map((key, i): LeafEntry => {
    const length = lengths[i] ?? 0;
    if (kinds[i] === INLINE) return { key, value: fields.bytes(length, "a value") };
    const value = locate(ids[next] ?? 0, offsets[next] ?? 0, length);
    next++;
    return { key, value };
  });
  return { height: 0, entries };
}

function readInterior(fields: FieldReader, count: number, height: number, locate: Locate): Node {
  const { keys, shared } = readKeys(fields, count, true);
  const column = (what: string): number[] => fields.varints(count, `${what} of a child`);
  const ids = column("file");
  const offsets = column("offset");
  const lengths = column("length");
  const keyCounts = column("number of keys");
  const treeBytes = column("size");
  const indirectBytes = column("size of values");
  const entries = keys.map((key, i): InteriorEntry => {
    const child = {
      location: locate(ids[i] ?? 0, offsets[i] ?? 0, lengths[i] ?? 0),
      height: height - 1,
      keys: keyCounts[i] ?? 0,
      treeBytes: treeBytes[i] ?? 0,
      indirectBytes: indirectBytes[i] ?? 0,
    };
    return { key, shared: shared[i] ?? 0, child };
  });
  return { height, entries };
}

function readKeys(
  fields: FieldReader,
  count: number,
  isInterior: boolean,
): { readonly keys: readonly Uint8Array[]; readonly shared: readonly number[] } {
  const { where } = fields;
  const prefixes = [0, ...fields.varints(count - 1, "shared prefix of a key")];
  const suffixes = fields.varints(count, "length of a key");
  const shared = isInterior ? fields.varints(count, "prefix shared below a key") : [];
  let before: Uint8Array = new Uint8Array();
  let total = 0;
  const keys = prefixes.map((prefix, i) => {
    const suffix = fields.bytes(suffixes[i] ?? 0, "a key");
    const length = prefix + suffix.length;
    total += length;
    if (prefix > before.length)
      failDamaged(where, `a key shares ${prefix} bytes with one of ${before.length}`);
    if (length > MAX_KEY) failDamaged(where, `a key has ${length} bytes; the limit is ${MAX_KEY}`);
    if (total > MAX_KEY_BYTES) failDamaged(where, `the keys take more than ${MAX_KEY_BYTES} bytes`);
    if ((shared[i] ?? 0) > length) failDamaged(where, "the prefix shared below a key is longer than the key");
    const key = new Uint8Array(length);
    key.set(before.subarray(0, prefix));
    key.set(suffix, prefix);
    before = key;
    return key;
  });
  return { keys, shared };
}

/** A node in its envelope. Keys must be sorted and relative to the node's own prefix. */
export function encodeNode(node: Node): Uint8Array {
  const fields = writeFields();
  fields.byte(node.height);
  if (isLeaf(node)) writeLeaf(fields, node.entries);
  else writeInterior(fields, node.entries);
  return seal(KINDS.node, fields.written());
}

export const isLeaf = (node: Node): node is Extract<Node, { readonly height: 0 }> => node.height === 0;
export const isOutOfLine = (value: Value): value is Location => !(value instanceof Uint8Array);

function writeLeaf(fields: FieldWriter, entries: readonly LeafEntry[]): void {
  const values = entries.map(({ value }) => value);
  const outside = values.filter(isOutOfLine);
  const { files, idOf } = tableOf(outside);
  writeDataFiles(fields, files);
  writeKeys(fields, entries);
  fields.varints(values.map(({ length }) => length));
  for (const value of values) fields.byte(isOutOfLine(value) ? OUT_OF_LINE : INLINE);
  fields.varints(outside.map(({ file }) => idOf(file)));
  fields.varints(outside.map(({ offset }) => offset));
  for (const value of values) if (!isOutOfLine(value)) fields.bytes(value);
}

function writeInterior(fields: FieldWriter, entries: readonly InteriorEntry[]): void {
  const locations = entries.map(({ child }) => child.location);
  const { files, idOf } = tableOf(locations);
  writeDataFiles(fields, files);
  writeKeys(
    fields,
    entries,
    entries.map(({ shared }) => shared),
  );
  fields.varints(locations.map(({ file }) => idOf(file)));
  fields.varints(locations.map(({ offset }) => offset));
  fields.varints(locations.map(({ length }) => length));
  fields.varints(entries.map(({ child }) => child.keys));
  fields.varints(entries.map(({ child }) => child.treeBytes));
  fields.varints(entries.map(({ child }) => child.indirectBytes));
}

function writeKeys(
  fields: FieldWriter,
  entries: readonly { readonly key: Uint8Array }[],
  shared: readonly number[] = [],
): void {
  fields.varint(entries.length);
  const prefixes = entries.map(({ key }, i) => sharedPrefix(entries[i - 1]?.key ?? new Uint8Array(), key));
  fields.varints(prefixes.slice(1));
  fields.varints(entries.map(({ key }, i) => key.length - (prefixes[i] ?? 0)));
  fields.varints(shared);
  for (const [i, { key }] of entries.entries()) fields.bytes(key.subarray(prefixes[i]));
}
