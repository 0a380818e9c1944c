// The B+tree of a database being written: from sorted entries to nodes in its data files.
import { invariant } from "../../../compiler/diag.ts";
import { type Location, sharedPrefix } from "./data-files.ts";
import {
  encodeNode,
  type InteriorEntry,
  isOutOfLine,
  type LeafEntry,
  MAX_ENTRIES,
  type Node,
  type NodeRef,
} from "./node.ts";
import type { Data } from "./write-data.ts";

/** A node that is written, the keys it spans, and how many bytes they all begin with, which it leaves out. */
type Branch = {
  readonly ref: NodeRef;
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly prefix: number;
};

// What an entry takes beside its key and its value: at most so many bytes of numbers.
const ENTRY_BYTES = 48;

/**
 * Appends the nodes over entries sorted by key, of about `limit` bytes each, from the leaves up: nodes go into the nodes
 * of the next level, until there is one. The result is where that lies.
 */
export function writeTree(data: Data, sorted: readonly LeafEntry[], limit: number): NodeRef {
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
