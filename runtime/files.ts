// Reading and writing files with one clear error each: what is written appears whole or not at all.

import { constants as bufferLimits } from "node:buffer";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Diagnostic, fail, type Place } from "../compiler/diag.ts";
import { decodeUtf8 } from "./utf8.ts";

/** Fails as reading would, without reading. */
export function requireReadable(path: string): void {
  try {
    fs.accessSync(path, fs.constants.R_OK);
  } catch (error) {
    failRead(path, error);
  }
}

/** Appends bytes to the file being written. */
export type Append = (bytes: Uint8Array) => void;

/** The code of an error of Node's. By shape, not by class: an error may come from another realm than ours. */
export const errno = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;

/** Whether an array was asked for that is too long, or longer than the memory there is. */
export const isTooLong = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "name" in error && error.name === "RangeError";

/** What an error says. */
export const reason = (error: unknown): string =>
  typeof error === "object" && error !== null && "message" in error ? String(error.message) : String(error);

/** Turns what `node:fs` throws while reading `path` into a diagnostic; anything else goes on as it is. */
export function failRead(path: string, error: unknown): never {
  if (errno(error) === undefined) throw error;
  if (errno(error) === "ENOENT")
    fail({ code: "file-missing", message: "no such file or directory", at: { file: path } });
  fail({ code: "file-unreadable", message: `cannot be read: ${reason(error)}`, at: { file: path } });
}

/** Turns what `node:fs` throws while writing `path` into a diagnostic; anything else goes on as it is. */
export function failWrite(path: string, error: unknown): never {
  if (errno(error) === undefined) throw error;
  const why = (errno(error) === "ENOENT" && whyMissing(dirname(path))) || reason(error);
  fail({ code: "file-unwritable", message: `cannot be written: ${why}`, at: { file: path } });
}

/** What is the matter with a folder, if Node says no more than that something is missing where one could not be made. */
function whyMissing(folder: string): string | undefined {
  try {
    fs.accessSync(nearest(folder), fs.constants.W_OK);
  } catch (error) {
    return reason(error);
  }
  return fs.existsSync(folder) ? undefined : `there is no folder ${folder}`;
}

/** The path, or the nearest directory above it that is there. */
export const nearest = (path: string): string =>
  fs.existsSync(path) || dirname(path) === path ? path : nearest(dirname(path));

/** What `make` gives; an error where there is not the memory for `what`. */
export function fitting<T>(code: string, what: string, at: Place, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!isTooLong(error)) throw error;
    return fail({ code, message: `${what} does not fit in memory at once: ${reason(error)}`, at });
  }
}

/** Memory for so many bytes, whatever is in them: each of them shall be written. */
export const allocate = (length: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);

/** The same memory again each time, for who is done with what was there; other memory for more than `limit` bytes. */
export function allocateAgain(limit: number): (length: number) => Uint8Array {
  let held: Uint8Array | undefined;
  return (length) => {
    if (length > limit) return allocate(length);
    if (held && held.length < length) held = undefined;
    held ??= allocate(length);
    return held.subarray(0, length);
  };
}

// One read call moves less than 2 GiB on every platform.
const MAX_READ = 1 << 30;

/** Bytes of an open file from a position on; fewer than asked for only when the file ends first. */
export function readAt(file: number, start: number, length: number, room = allocate): Uint8Array {
  const bytes = room(length);
  let done = 0;
  while (done < length) {
    const count = fs.readSync(file, bytes, done, Math.min(length - done, MAX_READ), start + done);
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}

/** What `work` gives; where writing fails in it, a diagnostic that names `path`. */
export function writing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    return failWrite(path, error);
  }
}

/** The whole file; for files known to be small. */
export function readBytes(path: string): Uint8Array {
  try {
    return fs.readFileSync(path);
  } catch (error) {
    return failRead(path, error);
  }
}

/** The names in a directory, sorted. */
export function namesIn(path: string): readonly string[] {
  try {
    return fs.readdirSync(path).toSorted();
  } catch (error) {
    return failRead(path, error);
  }
}

/** The whole file as text, which must be UTF-8. */
export function readText(path: string): string {
  try {
    const { size } = fs.statSync(path);
    if (size > bufferLimits.MAX_STRING_LENGTH) failTooLong(path, size);
  } catch (error) {
    failRead(path, error);
  }
  return decodeUtf8({ file: path }, readBytes(path));
}

function failTooLong(path: string, size: number): never {
  fail({
    code: "file-too-long",
    message: `${size} bytes are more than one text can hold (${bufferLimits.MAX_STRING_LENGTH})`,
    at: { file: path },
    help: "split the file",
  });
}

/** A path beside another, for what becomes that one when it is whole. */
export const asideOf = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.partial`);

/** Whether a name in its directory is such a path's. */
export const isAside = (name: string, path: string): boolean =>
  name.startsWith(`.${basename(path)}.`) && name.endsWith(".partial");

/** A file being written beside the one it becomes. */
export type AsideFile = {
  readonly append: Append;
  /** Puts the file in its place. */
  finish(): void;
  /** Removes what was written, unless it is in its place. */
  abandon(): void;
};

/** What a file that is written aside may do. */
export type AsideOptions = { readonly overwrite?: boolean | undefined };

/**
 * Opens a file beside `path` that is flushed and then renamed, so that a crash leaves either the old file or the new
 * one. An existing file is refused unless `overwrite` says otherwise.
 */
export function openAside(path: string, { overwrite = false }: AsideOptions = {}): AsideFile {
  if (!overwrite) refuseExisting(path);
  const aside = asideOf(path);
  const file = writing(path, () => fs.openSync(aside, "wx"));
  let isOpen = true;
  const close = (): void => {
    if (isOpen) fs.closeSync(file);
    isOpen = false;
  };
  let isPlaced = false;
  const abandon = (): void => {
    if (isPlaced) return;
    process.removeListener("exit", abandon);
    close();
    fs.rmSync(aside, { force: true });
  };
  // Ctrl-C exits without going back through the callers.
  process.once("exit", abandon);
  return {
    append: (bytes) => writing(path, () => writeAll(file, bytes)),
    finish() {
      writing(path, () => {
        fs.fsyncSync(file);
        close();
        if (!overwrite) refuseExisting(path);
        fs.renameSync(aside, path);
        isPlaced = true;
      });
      process.removeListener("exit", abandon);
      flushDirectory(dirname(path));
    },
    abandon,
  };
}

/** Writes `path` as `openAside` does, all at once. */
export function writeAside(path: string, write: (append: Append) => void, options?: AsideOptions): void {
  const file = openAside(path, options);
  try {
    write(file.append);
    file.finish();
  } catch (error) {
    file.abandon();
    failWrite(path, error);
  }
}

/** A file that grows by whole lines. */
export type Lines = {
  /** What was in it when it was opened. */
  readonly lines: readonly string[];
  /** Adds a line; when it returns, a kill of the process takes nothing of it away. */
  append(line: string): void;
  close(): void;
};

/** Opens or makes a file of lines. A last line without its end, which a kill left half-written, is cut off. */
export function openLines(path: string): Lines {
  const bytes = fs.existsSync(path) ? readBytes(path) : new Uint8Array();
  const whole = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
  const file = writing(path, () => {
    fs.mkdirSync(dirname(path), { recursive: true });
    const opened = fs.openSync(path, "a");
    fs.ftruncateSync(opened, whole.length);
    return opened;
  });
  return {
    lines: decodeUtf8({ file: path }, whole).split("\n").slice(0, -1),
    append: (line) => writing(path, () => fs.writeFileSync(file, `${line}\n`)),
    close: () => writing(path, () => fs.closeSync(file)),
  };
}

function refuseExisting(path: string): void {
  if (fs.existsSync(path))
    failExists(path, { code: "file-exists", help: "name another path, or remove the file first" });
}

/** What fails because something is there already that would be lost; `help` says where else to go. */
export const failExists = (path: string, { code, help }: Pick<Diagnostic, "code" | "help">): never =>
  fail({ code, message: "already exists and would be overwritten", at: { file: path }, help });

// One write call moves less than 2 GiB on every platform.
const MAX_WRITE = 1 << 28;

/** Writes all the bytes at a position, or at the place where an open file is. */
export function writeAll(file: number, bytes: Uint8Array, position?: number): void {
  for (let at = 0; at < bytes.length; ) {
    const place = position === undefined ? null : position + at;
    at += fs.writeSync(file, bytes, at, Math.min(bytes.length - at, MAX_WRITE), place);
  }
}

/** Makes what was written to a file survive a power cut. */
export function flushFile(path: string): void {
  const file = fs.openSync(path, "r+");
  try {
    fs.fsyncSync(file);
  } finally {
    fs.closeSync(file);
  }
}

/** Makes names in a directory survive a power cut; not every platform lets a directory be opened for that. */
export function flushDirectory(path: string): void {
  try {
    const directory = fs.openSync(path, "r");
    try {
      fs.fsyncSync(directory);
    } finally {
      fs.closeSync(directory);
    }
  } catch (error) {
    if (errno(error) === undefined) throw error;
  }
}
