// The data files of a database being written: values and nodes are appended as they come.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { invariant } from "../../../compiler/diag.ts";
import { BLOCK, type DirectFile, openDirect } from "../../direct-file.ts";
import { flushDirectory, writing } from "../../files.ts";
import type { DataFile } from "./data-files.ts";

/** The folder of a database that its data files are in. */
export const DATA = "d";
/** Parts smaller than this are collected before they are written. */
const BUFFER = 1 << 18;

/** The data files being written, one after another. */
export type Data = {
  /** Where the next value will begin, of which so many bytes come first; what it lies in is `file()`. */
  begin(length: number): number;
  file(): DataFile;
  append(bytes: Uint8Array): void;
  /** Makes everything durable. */
  finish(): void;
  /** Closes and removes them. */
  abandon(): void;
};

/** Begins the data files of the database in a directory; a file that has reached the size is followed by another. */
export function createData(path: string, dataFileBytes: number): Data {
  const directory = join(path, DATA);
  const inData = <T>(work: () => T): T => writing(directory, work);
  inData(() => fs.mkdirSync(directory, { recursive: true }));

  const names: string[] = [];
  let file: DirectFile | undefined;
  // What is buffered is counted.
  let size = 0;
  let buffered: Uint8Array[] = [];
  let bufferedBytes = 0;

  const write = (bytes: Uint8Array, position: number): void => {
    invariant(file, "bytes come after a value has begun");
    file.write(bytes, position);
  };
  const flush = (): void => {
    if (bufferedBytes > 0) write(Buffer.concat(buffered), size - bufferedBytes);
    [buffered, bufferedBytes] = [[], 0];
  };
  const close = (): void => {
    file?.close();
    file = undefined;
  };
  const finish = (): void => {
    if (!file) return;
    flush();
    file.flush();
    close();
  };
  const roll = (): void => {
    finish();
    const name = randomBytes(16).toString("hex");
    names.push(name);
    file = openDirect(join(directory, name), "wx");
    size = 0;
  };
  return {
    begin: (length) =>
      inData(() => {
        if (!file || size >= dataFileBytes) roll();
        if (length < BUFFER) return size;
        // From the beginning of a block, large values are written without being copied.
        flush();
        size = Math.ceil(size / BLOCK) * BLOCK;
        return size;
      }),
    file: () => ({ base: "", path: `${DATA}/${names.at(-1)}` }),
    append: (bytes) =>
      inData(() => {
        if (bytes.length >= BUFFER) {
          flush();
          write(bytes, size);
        } else {
          buffered.push(bytes.slice());
          bufferedBytes += bytes.length;
        }
        size += bytes.length;
        if (bufferedBytes >= BUFFER) flush();
      }),
    finish: () =>
      inData(() => {
        finish();
        flushDirectory(directory);
      }),
    abandon() {
      close();
      for (const name of names) fs.rmSync(join(directory, name), { force: true });
    },
  };
}
