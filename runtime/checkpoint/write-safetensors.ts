// Writes safetensors files whose tensors come one after another: the header first, then the data as a stream.

import * as fs from "node:fs";
import { join } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { type Append, failRead, writeAside } from "../files.ts";
import {
  type FileLayout,
  INDEX,
  layOutFile,
  layOutShards,
  type Metadata,
  sizeOf,
  WHOLE,
} from "./safetensors-layout.ts";
import type { StoredTensor } from "./tensors.ts";

/** A tensor and how to get its bytes, which are asked for only when their turn comes. */
export type TensorToWrite = StoredTensor & { bytes(): Uint8Array | Iterable<Uint8Array> };

/** `overwrite` lets an existing file be replaced; without it that is an error. */
export type WriteOptions = { readonly overwrite?: boolean };

/** Writes one file; it appears under its name only when complete. */
export function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Metadata = {},
  options: WriteOptions = {},
): void {
  writeFile(path, layOutFile(path, path, tensors, metadata), options);
}

function writeFile(
  path: string,
  { header, tensors }: FileLayout<TensorToWrite>,
  options: WriteOptions,
): void {
  writeAside(
    path,
    (append) => {
      append(header);
      for (const tensor of tensors) appendTensor(path, tensor, append);
    },
    options,
  );
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
      message: `tensor \`${tensor.name}\`: ${tensor.dtype} [${tensor.shape.join(", ")}] takes ${size} bytes, but ${written} were given`,
      at: { file: path },
    });
  }
}

/** Writes a directory as transformers does: one file or shards and, last of all, the index that makes them a checkpoint. */
export function writeShardedSafetensors(
  directory: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Metadata = {},
  options: WriteOptions & { readonly maxShardBytes?: number } = {},
): void {
  makeDirectory(directory);
  const { maxShardBytes, ...write } = options;
  const { files, index } = layOutShards(directory, [...tensors], {
    metadata,
    ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
  });
  if (!options.overwrite)
    refuseCheckpoint(
      directory,
      files.map(({ name }) => name),
    );
  const written: string[] = [];
  try {
    for (const file of files) {
      writeFile(join(directory, file.name), file, write);
      written.push(file.name);
    }
    if (index !== undefined) writeIndex(directory, index, write);
  } catch (error) {
    // Shards without an index are no checkpoint, and would be in the way of the next attempt.
    for (const name of written) fs.rmSync(join(directory, name), { force: true });
    throw error;
  }
}

function refuseCheckpoint(directory: string, shards: readonly string[]): void {
  const there = [WHOLE, INDEX, ...shards].find((name) => fs.existsSync(join(directory, name)));
  if (there) {
    fail({
      code: "file-exists",
      message: `already holds a checkpoint (${there})`,
      at: { file: directory },
      help: "name another directory, or remove the checkpoint first",
    });
  }
}

function writeIndex(directory: string, index: string, options: WriteOptions): void {
  writeAside(join(directory, INDEX), (append) => append(new TextEncoder().encode(index)), options);
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
