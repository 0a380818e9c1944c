// A safetensors checkpoint written box by box, by several threads at once: every tensor has its place in a file of its
// final size, in a directory beside the final one until all of them are whole.
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { invariant } from "../../compiler/diag.ts";
import { BLOCK, openDirect } from "../direct-file.ts";
import { failExists, flushDirectory, flushFile, readAt, writeAll, writeAside, writing } from "../files.ts";
import { countOf, isSameBox, offsetOf, runAround, shapeOfBox } from "./box.ts";
import { bitsOf } from "./safetensors-header.ts";
import { INDEX, layOutShards, type ShardOptions } from "./safetensors-layout.ts";
import type { Box, StoredDType, StoredTensor, TensorWriter } from "./tensors.ts";

/** Where a tensor goes. */
type Place = {
  readonly file: string;
  readonly start: number;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
};

/** What someone who writes a part of the checkpoint has to know. Plain data, to be posted to a worker thread. */
export type SafetensorsPlan = {
  /** The directory while it is being written. */
  readonly aside: string;
  readonly files: readonly { readonly name: string; readonly size: number }[];
  readonly places: ReadonlyMap<string, Place>;
};

/** A checkpoint being written. `commit` wants every part to be committed by then. */
export type SafetensorsWriter = TensorWriter & { readonly plan: SafetensorsPlan };

/** Where a directory is written until it is whole: always the same place, so that a later run finds it. */
export const asideOf = (path: string): string =>
  join(dirname(resolve(path)), `.${basename(resolve(path))}.partial`);

/** Begins a checkpoint of these tensors, or goes on with one that an earlier run of the same tensors left. */
export function createSafetensors(
  path: string,
  tensors: readonly StoredTensor[],
  options: ShardOptions = {},
): SafetensorsWriter {
  refuseOccupied(path);
  const aside = asideOf(path);
  const { files, index } = layOutShards(path, tensors, options);
  const places = new Map(
    files.flatMap(({ name, starts, tensors: held }) =>
      held.map((tensor): [string, Place] => [
        tensor.name,
        { file: name, start: starts.get(tensor.name) ?? 0, dtype: tensor.dtype, shape: tensor.shape },
      ]),
    ),
  );
  writing(aside, () => {
    fs.mkdirSync(aside, { recursive: true });
    for (const { name, header, size } of files) begin(join(aside, name), header, size);
  });
  const plan = { aside, files: files.map(({ name, size }) => ({ name, size })), places };
  const own = openSafetensorsPart(plan);
  return {
    plan,
    chunksOf: own.chunksOf,
    write: own.write,
    commit() {
      own.commit();
      for (const { name } of files) writing(aside, () => flushFile(join(aside, name)));
      if (index !== undefined) {
        const text = new TextEncoder().encode(index);
        writeAside(join(aside, INDEX), (append) => append(text), { overwrite: true });
      }
      writing(path, () => fs.renameSync(aside, path));
      flushDirectory(dirname(resolve(path)));
    },
    abandon() {
      own.abandon();
      fs.rmSync(aside, { recursive: true, force: true });
    },
  };
}

/** Refuses a place where something is already; an empty directory is nothing. */
export function refuseOccupied(path: string): void {
  const isFree = writing(
    path,
    () => !fs.existsSync(path) || (fs.statSync(path).isDirectory() && fs.readdirSync(path).length === 0),
  );
  if (!isFree)
    failExists(path, { code: "checkpoint-exists", help: "name another directory, or remove it first" });
}

/** Makes a file of its final size, which takes no room on disk before it is written. */
function begin(path: string, header: Uint8Array, size: number): void {
  const file = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666);
  try {
    fs.ftruncateSync(file, size);
    writeAll(file, header);
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Opens a part of a checkpoint that createSafetensors began, in whichever thread. What a part has written is durable only
 * when the whole is: until then, whoever goes on after a power cut has to look whether it is still there.
 */
export function openSafetensorsPart(plan: SafetensorsPlan): TensorWriter {
  const { files, close } = openFiles(plan, (path) => openDirect(path, "r+"));
  return {
    chunksOf: (name) => [placeOf(plan, name).shape.map((size) => [0, size] as const)],
    // Elements of any width lie at a multiple of eight in memory.
    phaseOf: (name, box) => positionOf(name, placeOf(plan, name), box) & (BLOCK - 8),
    write(name, box, bytes) {
      const place = placeOf(plan, name);
      invariant(bytes.length === lengthOf(place, box), `${bytes.length} bytes for a box of ${name}`);
      const path = join(plan.aside, place.file);
      writing(path, () => files(place.file).write(bytes, positionOf(name, place, box)));
    },
    commit: () => writing(plan.aside, close),
    abandon: close,
  };
}

/** Reads boxes back that a part has written. */
export function readPart(plan: SafetensorsPlan): { read(name: string, box: Box): Uint8Array; close(): void } {
  const { files, close } = openFiles(plan, openToRead);
  return {
    read(name, box) {
      const place = placeOf(plan, name);
      return files(place.file).read(positionOf(name, place, box), lengthOf(place, box));
    },
    close,
  };
}

function openToRead(path: string) {
  const file = fs.openSync(path, "r");
  return {
    read: (start: number, length: number) => readAt(file, start, length),
    close: () => fs.closeSync(file),
  };
}

/** The plan's files, opened when they are first asked for. */
function openFiles<File extends { close(): void }>(
  { aside }: SafetensorsPlan,
  openFile: (path: string) => File,
) {
  const open = new Map<string, File>();
  return {
    files(name: string): File {
      const file = open.get(name) ?? openFile(join(aside, name));
      open.set(name, file);
      return file;
    },
    close(): void {
      for (const file of open.values()) file.close();
      open.clear();
    },
  };
}

function placeOf({ places, aside }: SafetensorsPlan, name: string): Place {
  const place = places.get(name);
  invariant(place, `${name} is among the tensors of ${aside}`);
  return place;
}

const lengthOf = ({ dtype }: Place, box: Box): number => (countOf(shapeOfBox(box)) * bitsOf(dtype)) / 8;

/** Where a box begins, all of whose bytes lie together: whole rows from the first axis that it cuts. */
function positionOf(name: string, { start, dtype, shape }: Place, box: Box): number {
  invariant(isSameBox(box, runAround(box, shape)), `the bytes of a box of ${name} lie together`);
  return start + (offsetOf(box, shape) * bitsOf(dtype)) / 8;
}
