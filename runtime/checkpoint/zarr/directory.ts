// A directory as a store: each key is the path of a file within it.
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fail, invariant } from "../../../compiler/diag.ts";
import { failRead, fitting, flushDirectory, flushFile, readAt, writeAll, writing } from "../../files.ts";
import type { ByteRange, KvReader, KvWriter } from "../kv.ts";
import type { Allocate } from "../tensors.ts";

/** Opens a directory. Links to files are followed, links to directories are not, so that the walk ends. */
export function openDirectory(path: string): KvReader {
  const keys = new Map<string, number>();
  try {
    for (const [key, size] of listFiles(path, "").toSorted(([a], [b]) => (a < b ? -1 : 1)))
      keys.set(key, size);
  } catch (error) {
    failRead(path, error);
  }
  const fileOf = (key: string): string => join(path, key);
  return {
    path,
    keys,
    fileOf,
    read(key, range, room) {
      const size = keys.get(key);
      if (size === undefined)
        fail({ code: "file-missing", message: "no such file", at: { file: fileOf(key) } });
      return readFile(fileOf(key), range ?? { offset: 0, length: size }, room);
    },
    close() {},
  };
}

function listFiles(root: string, under: string): [key: string, size: number][] {
  const found: [string, number][] = [];
  for (const entry of fs.readdirSync(join(root, under), { withFileTypes: true })) {
    const key = under === "" ? entry.name : `${under}/${entry.name}`;
    if (entry.isDirectory()) for (const file of listFiles(root, key)) found.push(file);
    else {
      const stats = fs.statSync(join(root, key), { throwIfNoEntry: false });
      if (stats?.isFile()) found.push([key, stats.size]);
    }
  }
  return found;
}

function readFile(path: string, { offset, length }: ByteRange, room?: Allocate): Uint8Array {
  try {
    const file = fs.openSync(path, "r");
    try {
      const bytes = fitting("value-too-large", `a part of ${length} bytes`, { file: path }, () =>
        readAt(file, offset, length, room),
      );
      if (bytes.length === length) return bytes;
    } finally {
      fs.closeSync(file);
    }
  } catch (error) {
    failRead(path, error);
  }
  return fail({ code: "file-truncated", message: "cut short while it was open", at: { file: path } });
}

/** Writes files into a directory, which several writers may share when their keys differ. */
export function createDirectory(path: string): KvWriter {
  const directories = new Set<string>();
  const files = new Set<string>();
  // A new directory is an entry of its parent, so that both have to be flushed.
  const makeDirectory = (directory: string): void => {
    if (directories.has(directory)) return;
    if (directory !== path) makeDirectory(dirname(directory));
    fs.mkdirSync(directory, { recursive: true });
    directories.add(directory);
  };
  return {
    put(key, parts) {
      const file = join(path, key);
      invariant(!files.has(file), `${key} is put twice`);
      files.add(file);
      writing(file, () => {
        makeDirectory(dirname(file));
        writeFile(file, parts);
      });
    },
    commit() {
      // Only now, so that the system may write in the background what has to be waited for here.
      for (const file of files) writing(file, () => flushFile(file));
      for (const directory of directories) flushDirectory(directory);
    },
    abandon() {},
  };
}

// A file left by a writer that was killed is written again.
function writeFile(path: string, parts: Iterable<Uint8Array>): void {
  const file = fs.openSync(path, "w");
  try {
    for (const part of parts) writeAll(file, part);
  } finally {
    fs.closeSync(file);
  }
}
