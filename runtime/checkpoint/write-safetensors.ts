// Writes safetensors files: the header from names and shapes alone, then the data as a stream.

import * as fs from "node:fs";
import { join } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { type Append, failRead, writeAside } from "../files.ts";
import { bitsOf, byteLength, MAX_HEADER_BYTES, type SafetensorsDType } from "./safetensors-header.ts";

/** A tensor and how to get its bytes, which are asked for only when their turn comes. */
export type TensorToWrite = {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  bytes(): Uint8Array | Iterable<Uint8Array>;
};

/** `overwrite` lets an existing file be replaced; without it that is an error. */
export type WriteOptions = { readonly overwrite?: boolean };

/** Metadata that Transformers insists on. */
const FORMAT = { format: "pt" } as const;

/** Writes one file; it appears under its name only when complete. */
export function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions = {},
): void {
  const ordered = [...tensors].toSorted(inFileOrder);
  checkTensors(path, ordered);
  const header = encodeHeader(path, ordered, { ...FORMAT, ...metadata });
  writeAside(
    path,
    (append) => {
      append(header);
      for (const tensor of ordered) appendTensor(path, tensor, append);
    },
    options,
  );
}

// Wide elements first, so that every tensor starts at a multiple of its width, as the reference writer does.
const inFileOrder = (a: TensorToWrite, b: TensorToWrite): number =>
  bitsOf(b.dtype) - bitsOf(a.dtype) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function checkTensors(path: string, tensors: readonly TensorToWrite[]): void {
  const names = new Set<string>();
  for (const tensor of tensors) {
    const { name } = tensor;
    if (names.has(name))
      fail({ code: "safetensors-duplicate", message: `${path}: duplicate tensor \`${name}\`` });
    if (name === "__metadata__") {
      fail({ code: "safetensors-name", message: `${path}: no tensor can be called \`__metadata__\`` });
    }
    sizeOf(path, tensor);
    names.add(name);
  }
}

function sizeOf(path: string, { name, dtype, shape }: TensorToWrite): number {
  const size = shape.every((n) => Number.isSafeInteger(n) && n >= 0) ? byteLength(dtype, shape) : undefined;
  if (size !== undefined) return size;
  return fail({
    code: "safetensors-shape",
    message: `${path}: tensor \`${name}\`: ${dtype} [${shape.join(", ")}] is no whole number of bytes`,
  });
}

function encodeHeader(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  let at = 0;
  const entries = tensors.map((tensor): [string, unknown] => {
    const begin = at;
    at += sizeOf(path, tensor);
    return [tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, at] }];
  });
  const json = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries([["__metadata__", metadata], ...entries])),
  );
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    fail({
      code: "safetensors-header-length",
      message: `${path}: the header would take ${length} bytes; the limit is ${MAX_HEADER_BYTES}`,
      help: "write shards",
    });
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

function appendTensor(path: string, tensor: TensorToWrite, append: Append): void {
  const bytes = tensor.bytes();
  let written = 0;
  for (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
    append(chunk);
    written += chunk.length;
  }
  const size = sizeOf(path, tensor);
  if (written !== size) {
    fail({
      code: "safetensors-size",
      message: `${path}: tensor \`${tensor.name}\`: ${tensor.dtype} [${tensor.shape.join(", ")}] takes ${size} bytes, but ${written} were given`,
    });
  }
}

const SHARD_BYTES = 5 * 1000 ** 3;
const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/**
 * Writes a directory as Transformers does: `model.safetensors` when everything fits in one shard, otherwise
 * `model-00001-of-0000N.safetensors` and, last of all, the index that makes them a checkpoint.
 */
export function writeShardedSafetensors(
  directory: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions & { readonly maxShardBytes?: number } = {},
): void {
  makeDirectory(directory);
  const all = [...tensors];
  checkTensors(directory, all);
  const shards = nameShards(assign(directory, all, options.maxShardBytes ?? SHARD_BYTES));
  if (!options.overwrite) refuseCheckpoint(directory, [...shards.keys()]);
  const written: string[] = [];
  try {
    for (const [name, shard] of shards) {
      writeSafetensors(join(directory, name), shard, metadata, options);
      written.push(name);
    }
    if (!shards.has(WHOLE)) writeIndex(directory, shards, options);
  } catch (error) {
    // Shards without an index are no checkpoint, and would be in the way of the next attempt.
    for (const name of written) fs.rmSync(join(directory, name), { force: true });
    throw error;
  }
}

type Shards = ReadonlyMap<string, readonly TensorToWrite[]>;

function nameShards(shards: readonly (readonly TensorToWrite[])[]): Shards {
  const digits = (n: number): string => `${n}`.padStart(5, "0");
  return new Map(
    shards.map((shard, i) => [
      shards.length === 1 ? WHOLE : `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`,
      shard,
    ]),
  );
}

function refuseCheckpoint(directory: string, shards: readonly string[]): void {
  const there = [WHOLE, INDEX, ...shards].find((name) => fs.existsSync(join(directory, name)));
  if (there) {
    fail({
      code: "file-exists",
      message: `${directory}: already holds a checkpoint (${there})`,
      help: "name another directory, or remove the checkpoint first",
    });
  }
}

function writeIndex(directory: string, shards: Shards, options: WriteOptions): void {
  const sizes = [...shards.values()].flat().map((tensor) => sizeOf(directory, tensor));
  const index = {
    metadata: { total_size: sizes.reduce((sum, size) => sum + size, 0) },
    weight_map: Object.fromEntries(
      [...shards].flatMap(([file, shard]) => shard.map(({ name }) => [name, file])),
    ),
  };
  const text = new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
  writeAside(join(directory, INDEX), (append) => append(text), options);
  // Readers prefer a whole file to an index, so one left from before would hide the new shards.
  fs.rmSync(join(directory, WHOLE), { force: true });
}

function makeDirectory(path: string): void {
  try {
    fs.mkdirSync(path, { recursive: true });
  } catch (error) {
    failRead(path, error);
  }
}

// In the order given; a tensor never spans files, so one larger than the limit has a shard of its own.
function assign(
  path: string,
  tensors: readonly TensorToWrite[],
  limit: number,
): readonly (readonly TensorToWrite[])[] {
  const shards: TensorToWrite[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const size = sizeOf(path, tensor);
    if (filled > 0 && size > 0 && filled + size > limit) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)?.push(tensor);
    filled += size;
  }
  return shards;
}
