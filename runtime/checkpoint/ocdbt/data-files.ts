// The table of data files that begins the body of manifests and nodes: paths, sorted, each with what it shares with
// the one before left out. A path has a base, which the tables of nodes in that file are relative to.
import type { Place } from "../../../compiler/diag.ts";
import { decodeUtf8 } from "../../utf8.ts";
import { type FieldReader, type FieldWriter, failDamaged } from "./fields.ts";

/** A file that values or nodes lie in. */
export type DataFile = {
  /** Relative to the database's directory; a nested database's name with a slash, or nothing. */
  readonly base: string;
  /** Relative to the database's directory, so it begins with `base`. */
  readonly path: string;
};

/** Where bytes lie. */
export type Location = { readonly file: DataFile; readonly offset: number; readonly length: number };

/** Longer paths the format does not have. */
const MAX_PATH = 65535;
/** Prefixes that are left out let a few bytes stand for many: no database comes near this many letters of paths. */
const MAX_TABLE = 1 << 26;

/** Reads a table. `base` is that of the file which the table itself lies in. */
export function readDataFiles(fields: FieldReader, base: string): readonly DataFile[] {
  const { where } = fields;
  const count = fields.count("number of data files", 2);
  if (count === 0) return [];
  const prefixes = [0, ...fields.varints(count - 1, "shared prefix of a data file's path")];
  const suffixes = fields.varints(count, "length of a data file's path");
  const bases = fields.varints(count, "length of a data file's base path");
  let before: Uint8Array = new Uint8Array();
  let total = 0;
  return prefixes.map((prefix, i) => {
    const suffix = fields.bytes(suffixes[i] ?? 0, "a data file's path");
    const baseLength = bases[i] ?? 0;
    const length = prefix + suffix.length;
    total += length;
    if (prefix > before.length)
      failDamaged(where, `a data file's path shares ${prefix} bytes of ${before.length}`);
    if (length > MAX_PATH)
      failDamaged(where, `a data file's path has ${length} bytes; the limit is ${MAX_PATH}`);
    if (total > MAX_TABLE) failDamaged(where, `the paths of data files take more than ${MAX_TABLE} bytes`);
    if (baseLength > length) failDamaged(where, "a data file's base path is longer than its path");
    const bytes = new Uint8Array(length);
    bytes.set(before.subarray(0, prefix));
    bytes.set(suffix, prefix);
    before = bytes;
    const own = decodeUtf8(where, bytes.subarray(0, baseLength));
    const path = base + own + decodeUtf8(where, bytes.subarray(baseLength));
    // The one empty path stands for the file of a root that is not there.
    if (length > 0) checkPath(path, where);
    return { base: base + own, path };
  });
}

// A database's files lie in its directory, whoever wrote it.
function checkPath(path: string, where: Place): void {
  const isPlain = path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (!isPlain || path.includes("\0")) {
    failDamaged(where, `the data file ${JSON.stringify(path)} is not inside the database's directory`);
  }
}

/** The entry that a file id of a structure refers to. */
export function dataFileAt(files: readonly DataFile[], id: number, where: Place): DataFile {
  return files[id] ?? failDamaged(where, `data file ${id} is referred to, but the table has ${files.length}`);
}

/** Which files some locations are in, sorted as the table wants them, with a file's id there. */
export function tableOf(locations: Iterable<Location>): {
  readonly files: readonly DataFile[];
  idOf(file: DataFile): number;
} {
  const byPath = new Map([...locations].map(({ file }) => [file.path, file]));
  const files = [...byPath.values()]
    .map((file) => ({ file, base: Buffer.from(file.base), path: Buffer.from(file.path) }))
    .sort((a, b) => Buffer.compare(a.base, b.base) || Buffer.compare(a.path, b.path))
    .map(({ file }) => file);
  const ids = new Map(files.map(({ path }, i) => [path, i]));
  return { files, idOf: ({ path }) => ids.get(path) ?? 0 };
}

export function writeDataFiles(fields: FieldWriter, files: readonly DataFile[]): void {
  fields.varint(files.length);
  const paths = files.map(({ path }) => Buffer.from(path));
  const bases = files.map(({ base }) => Buffer.byteLength(base));
  const prefixes = paths.map((path, i) => {
    const [before, base = 0, baseBefore = 0] = [paths[i - 1], bases[i], bases[i - 1]];
    if (!before) return 0;
    // A prefix reaches beyond a base only where both bases are the same.
    const limit = files[i]?.base === files[i - 1]?.base ? MAX_PATH : Math.min(base, baseBefore);
    return Math.min(limit, sharedPrefix(before, path));
  });
  fields.varints(prefixes.slice(1));
  fields.varints(paths.map((path, i) => path.length - (prefixes[i] ?? 0)));
  fields.varints(bases);
  for (const [i, path] of paths.entries()) fields.bytes(path.subarray(prefixes[i]));
}

/** How many bytes two strings of bytes begin with alike. */
export function sharedPrefix(a: Uint8Array, b: Uint8Array): number {
  const limit = Math.min(a.length, b.length);
  let length = 0;
  while (length < limit && a[length] === b[length]) length++;
  return length;
}
