// Reads safetensors checkpoints, one file or many shards: headers when opened, tensors when asked for.

import * as fs from "node:fs";
import { basename, join } from "node:path";
import { didYouMean, fail, invariant } from "../../compiler/diag.ts";
import { failRead, fitting, readAt } from "../files.ts";
import { decodeFloats, isFloatDType } from "./convert-dtype.ts";
import { attempt, type OnDamage, refuse } from "./damage.ts";
import { decodeNumbers, isNumberDType } from "./decode-numbers.ts";
import {
  bitsOf,
  type Entry,
  failTruncated,
  type Header,
  headerLength,
  parseHeader,
} from "./safetensors-header.ts";
import { checkIndex, readIndex } from "./safetensors-index.ts";
import { INDEX, WHOLE } from "./safetensors-layout.ts";
import type { Allocate } from "./tensors.ts";

/** An open checkpoint. Only headers are in memory; every read goes to the file. */
export type Safetensors = {
  readonly entries: ReadonlyMap<string, Entry>;
  /** The `__metadata__` of all files together. */
  readonly metadata: ReadonlyMap<string, string>;
  /** What the header says of a tensor. As every function that takes a name, it fails when there is none of it. */
  find(name: string): Entry;
  /** A tensor of a floating dtype as f32: exact, except that F64 is rounded. */
  read(name: string): Float32Array;
  /** A tensor of any number dtype as doubles: exact, and an error for 64-bit integers beyond 2^53. */
  readNumbers(name: string): Float64Array;
  /** The bytes as stored. */
  readRaw(name: string, room?: Allocate): Uint8Array;
  /** `length` bytes of the tensor from its byte `offset`, for tensors too large to hold. */
  readRange(name: string, offset: number, length: number, room?: Allocate): Uint8Array;
  close(): void;
};

// Conversions go through a window of this size, so a tensor is never held twice; a multiple of every element's width.
const WINDOW = 1 << 24;

/**
 * Opens a `.safetensors` file, or a directory with `model.safetensors`, an index and its shards, or loose files. One of
 * several that is missing or has no sound header is damage, as is one that is cut short.
 */
export function openSafetensors(path: string, onDamage: OnDamage = refuse): Safetensors {
  const files = new Map<string, number>();
  const closeAll = (): void => {
    for (const file of files.values()) fs.closeSync(file);
    files.clear();
  };
  try {
    const headers = findFiles(path, (file) => openHeader(file, files, onDamage), onDamage);
    return reader(path, collect(headers, onDamage), metadataOf(headers), files, closeAll);
  } catch (error) {
    closeAll();
    throw error;
  }
}

type Open = (file: string) => Header;

function findFiles(path: string, open: Open, onDamage: OnDamage): readonly Header[] {
  const names = listDirectory(path);
  if (!names) return [open(path)];
  if (names.includes(WHOLE)) return [open(join(path, WHOLE))];
  const openAll = (files: Iterable<readonly [file: string, lost: readonly string[]]>) =>
    new Map(
      [...files].flatMap(([file, lost]) => {
        const header = attempt(onDamage, () => open(join(path, file)), lost);
        return header ? [[file, header] as const] : [];
      }),
    );
  const index = names.includes(INDEX)
    ? attempt(onDamage, () => readIndex(join(path, INDEX), names, onDamage))
    : undefined;
  if (index) {
    const headers = openAll(index.shards);
    checkIndex(index, headers, onDamage);
    return [...headers.values()];
  }
  const loose = names.filter((name) => name.endsWith(".safetensors"));
  if (loose.length === 0) {
    fail({
      code: "checkpoint-missing",
      message: `expected ${WHOLE}, ${INDEX} or *.safetensors, found none`,
      at: { file: path },
    });
  }
  return [...openAll(loose.map((name) => [name, []])).values()];
}

/** The sorted names in a directory, or nothing for a file. */
function listDirectory(path: string): readonly string[] | undefined {
  try {
    return fs.statSync(path).isDirectory() ? fs.readdirSync(path).toSorted() : undefined;
  } catch (error) {
    return failRead(path, error);
  }
}

function openHeader(path: string, files: Map<string, number>, onDamage: OnDamage): Header {
  try {
    const file = fs.openSync(path, "r");
    files.set(path, file);
    const { size } = fs.fstatSync(file);
    const length = headerLength(path, readAt(file, 0, Math.min(8, size)), size);
    return parseHeader(path, readAt(file, 8, length), size, onDamage);
  } catch (error) {
    return failRead(path, error);
  }
}

function collect(headers: readonly Header[], onDamage: OnDamage): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const entry of headers.flatMap((header) => header.entries)) {
    const other = entries.get(entry.name);
    if (!other) entries.set(entry.name, entry);
    else
      attempt(onDamage, () =>
        fail({
          code: "safetensors-two-shards",
          message: `tensor \`${entry.name}\` is in ${basename(other.file)} too`,
          at: { file: entry.file },
        }),
      );
  }
  return entries;
}

const metadataOf = (headers: readonly Header[]): ReadonlyMap<string, string> =>
  new Map(headers.flatMap((header) => [...header.metadata]));

function reader(
  path: string,
  entries: ReadonlyMap<string, Entry>,
  metadata: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, number>,
  close: () => void,
): Safetensors {
  const find = (name: string): Entry => {
    const entry = entries.get(name);
    if (entry) return entry;
    return fail({
      code: "tensor-missing",
      message: `no tensor \`${name}\` in the checkpoint`,
      at: { file: path },
      help: didYouMean(name, entries.keys()),
    });
  };
  const range = (entry: Entry, offset: number, length: number, room?: Allocate): Uint8Array => {
    const { name, file, start, end } = entry;
    const descriptor = files.get(file);
    invariant(descriptor !== undefined, `${file} is read after it was closed`);
    invariant(
      offset >= 0 && start + offset + length <= end,
      `range ${offset}+${length} leaves tensor ${name}`,
    );
    try {
      const bytes = readAt(descriptor, start + offset, length, room);
      return bytes.length === length ? bytes : failTruncated(entry, fs.fstatSync(descriptor).size);
    } catch (error) {
      return failRead(file, error);
    }
  };
  const convert = (entry: Entry, decode: (bytes: Uint8Array, at: number) => void): void => {
    const size = entry.end - entry.start;
    for (let offset = 0; offset < size; offset += WINDOW) {
      decode(range(entry, offset, Math.min(WINDOW, size - offset)), (offset * 8) / bitsOf(entry.dtype));
    }
  };

  return {
    entries,
    metadata,
    find,
    read(name) {
      const entry = find(name);
      const { dtype } = entry;
      if (!isFloatDType(dtype)) return failDType(entry, "f32");
      const out = allocate(entry, () => new Float32Array(elementsOf(entry)));
      convert(entry, (bytes, at) => decodeFloats(dtype, bytes, out, at));
      return out;
    },
    readNumbers(name) {
      const entry = find(name);
      const { dtype } = entry;
      if (!isNumberDType(dtype)) return failDType(entry, "numbers");
      const out = allocate(entry, () => new Float64Array(elementsOf(entry)));
      convert(entry, (bytes, at) => decodeNumbers(entry, dtype, bytes, out, at));
      return out;
    },
    readRaw(name, room) {
      const entry = find(name);
      return allocate(entry, () => range(entry, 0, entry.end - entry.start, room));
    },
    readRange: (name, offset, length, room) => range(find(name), offset, length, room),
    close,
  };
}

const elementsOf = ({ start, end, dtype }: Entry): number => ((end - start) * 8) / bitsOf(dtype);

function failDType({ name, file, dtype }: Entry, wanted: string): never {
  fail({
    code: "tensor-dtype",
    message: `tensor \`${name}\` is ${dtype}, which does not convert to ${wanted}`,
    at: { file },
  });
}

const allocate = <T>({ name, file, shape }: Entry, make: () => T): T =>
  fitting("tensor-too-large", `tensor \`${name}\` [${shape.join(", ")}]`, { file }, make);
