// The manifest: the database's settings and where the root of its newest version lies.

import type { Place } from "../../../compiler/diag.ts";
import { dataFileAt, readDataFiles, tableOf, writeDataFiles } from "./data-files.ts";
import { KINDS, openEnvelope, seal } from "./envelope.ts";
import { type FieldReader, failDamaged, NONE, writeFields } from "./fields.ts";
import type { NodeRef } from "./node.ts";

/** The file that makes a directory a database. */
export const MANIFEST = "manifest.ocdbt";

/** A database's settings, which bind only those who write to it. */
export type Settings = {
  /** 16 bytes, random. */
  readonly uuid: Uint8Array;
  /** `numbered`: the versions are in files of their own, `manifest.<16 hex digits of the last generation>`. */
  readonly kind: "single" | "numbered";
  readonly maxInlineBytes: number;
  readonly maxNodeBytes: number;
};

/** One state of the database: a B+tree, or no tree where it holds no keys. */
export type Version = {
  readonly generation: number;
  readonly root: NodeRef | undefined;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
};

/** A database's entry point: how it is stored, and its newest version. */
export type Manifest = {
  readonly settings: Settings;
  /** The newest version; nothing in the manifest that only says `numbered`. */
  readonly version: Version | undefined;
};

/** Sixteen generations lie in one node of the version tree. */
const ARITY_LOG2 = 4;
/** Manifests hold some dozens of versions; their decoded size is bounded so that a damaged one cannot ask for more. */
const MAX_MANIFEST = 1 << 26;

/** Reads a manifest; damage is refused at `where`. */
export function decodeManifest(bytes: Uint8Array, where: Place): Manifest {
  const fields = openEnvelope(KINDS.manifest, bytes, MAX_MANIFEST, where);
  const uuid = fields.bytes(16, "uuid").slice();
  const kind = (["single", "numbered"] as const)[fields.byte("manifest kind")];
  if (!kind) return failDamaged(where, "the manifest kind is unknown; expected 0 (single) or 1 (numbered)");
  const maxInlineBytes = fields.varint("largest inline value");
  const maxNodeBytes = fields.varint("largest node");
  fields.byte("arity of the version tree");
  if (fields.varint("compression") !== 0) fields.uint32("compression level");
  const settings = { uuid, kind, maxInlineBytes, maxNodeBytes };
  const version = kind === "single" ? readVersions(fields) : undefined;
  fields.end();
  return { settings, version };
}

// Columns: first all generations, then all heights, and so on.
function readVersions(fields: FieldReader): Version {
  const { where } = fields;
  const files = readDataFiles(fields, "");
  const count = fields.count("number of versions", 16);
  const column = <T>(read: (what: string) => T, what: string): T | undefined =>
    Array.from({ length: count }, () => read(what)).at(-1);
  const generation = column(fields.varint, "generation of a version");
  const height = column(fields.byte, "height of a version's tree");
  const file = column(fields.varint, "file of a version's root");
  const offset = column(fields.varintOrNone, "offset of a version's root");
  const length = column(fields.varintOrNone, "length of a version's root");
  const keys = column(fields.varint, "number of keys");
  const treeBytes = column(fields.varint, "size of a version's tree");
  const indirectBytes = column(fields.varint, "size of a version's values");
  const time = column(fields.uint64, "time of a version");
  skipOlderVersions(fields);
  if (generation === undefined || time === undefined)
    return failDamaged(where, "expected a version, found none");
  if (offset === undefined && length === undefined) return { generation, root: undefined, time };
  if (offset === undefined || length === undefined) return failDamaged(where, "the root has half a location");
  const root = {
    location: { file: dataFileAt(files, file ?? 0, where), offset, length },
    height: height ?? 0,
    keys: keys ?? 0,
    treeBytes: treeBytes ?? 0,
    indirectBytes: indirectBytes ?? 0,
  };
  return { generation, root, time };
}

// Versions before those in the manifest hang on a tree that only a reader of old states would walk.
function skipOlderVersions(fields: FieldReader): void {
  const count = fields.count("number of version nodes", 14);
  for (const what of ["generation", "file", "offset", "length", "number of generations"]) {
    fields.varints(count, `${what} of a version node`);
  }
  fields.bytes(8 * count, "times of version nodes");
  fields.bytes(count, "heights of version nodes");
}

/** A manifest with one version. */
export function encodeManifest(
  { uuid, maxInlineBytes, maxNodeBytes }: Settings,
  version: Version,
): Uint8Array {
  const { root } = version;
  const fields = writeFields();
  fields.bytes(uuid);
  fields.byte(0);
  fields.varint(maxInlineBytes);
  fields.varint(maxNodeBytes);
  fields.byte(ARITY_LOG2);
  fields.varint(0);
  const table = tableOf(root ? [root.location] : []);
  const none = { base: "", path: "" };
  writeDataFiles(fields, root ? table.files : [none]);
  fields.varint(1);
  fields.varint(version.generation);
  fields.byte(root?.height ?? 0);
  fields.varint(0);
  if (root) fields.varints([root.location.offset, root.location.length]);
  else fields.bytes(Uint8Array.from([...NONE, ...NONE]));
  fields.varints(root ? [root.keys, root.treeBytes, root.indirectBytes] : [0, 0, 0]);
  fields.uint64(version.time);
  fields.varint(0);
  return seal(KINDS.manifest, fields.written());
}
