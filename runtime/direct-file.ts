// Files that take large pieces past the page cache, where the system has such a way: nothing is copied there, and what
// is larger than the memory does not drive out of it what other programs keep in memory.
import * as fs from "node:fs";
import { errno, writeAll } from "./files.ts";
import { isInMemory, type Memory, memoryOf } from "./wasm/words.ts";

/** A file being written, anywhere in it. */
export type DirectFile = {
  write(bytes: Uint8Array, position: number): void;
  /** Makes what was written durable. */
  flush(): void;
  close(): void;
};

/** What goes past the cache begins and ends at a multiple of this, in the file and in memory; no disk wants more. */
export const BLOCK = 4096;
/** What is written at a time, copied to where a page begins unless it lies so already. */
const PIECE_BYTES = 1 << 22;
/** Less than this is copied in less time than it takes a disk to answer. */
const LARGE = 1 << 20;

let stage: Memory | undefined;

/** Bytes at a multiple of BLOCK in memory, good until the next call; nothing where memory has no known beginning. */
function aligned(bytes: Uint8Array): Uint8Array | undefined {
  if (isInMemory(bytes) && bytes.byteOffset % BLOCK === 0) return bytes;
  stage ??= memoryOf(PIECE_BYTES);
  if (!stage) return undefined;
  const copy = new Uint8Array(stage.buffer, 0, bytes.length);
  copy.set(bytes);
  return copy;
}

/** Errors of file systems that have no way past the cache. */
const NOT_THERE: ReadonlySet<string | undefined> = new Set(["EINVAL", "EOPNOTSUPP", "ENOTSUP"]);

/** Opens a file to write to: one that is there, or a new one. */
export function openDirect(path: string, flags: "r+" | "wx"): DirectFile {
  const file = fs.openSync(path, flags);
  let direct = openPastCache(path);
  const closeDirect = (): void => {
    if (direct !== undefined) fs.closeSync(direct);
    direct = undefined;
  };
  /** Writes whole blocks, from a position that is one's; how many bytes it has written. */
  const writeBlocks = (bytes: Uint8Array, position: number): number => {
    let done = 0;
    while (direct !== undefined && done < bytes.length) {
      const piece = aligned(bytes.subarray(done, done + PIECE_BYTES));
      if (!piece) break;
      try {
        const count = fs.writeSync(direct, piece, 0, piece.length, position + done);
        done += count - (count % BLOCK);
        // What is less than a block of it is written again.
        if (count < piece.length) break;
      } catch (error) {
        if (!NOT_THERE.has(errno(error))) throw error;
        // Some file systems let a file be opened so, but not written to.
        closeDirect();
      }
    }
    return done;
  };
  return {
    write(bytes, position) {
      const head = Math.min(bytes.length, (BLOCK - (position % BLOCK)) % BLOCK);
      const length = Math.floor((bytes.length - head) / BLOCK) * BLOCK;
      const blocks = bytes.subarray(head, head + length);
      const done = length < LARGE ? 0 : writeBlocks(blocks, position + head);
      if (done > 0) {
        writeAll(file, bytes.subarray(0, head), position);
        writeAll(file, bytes.subarray(head + done), position + head + done);
      } else writeAll(file, bytes, position);
    },
    flush: () => fs.fdatasyncSync(file),
    close() {
      try {
        closeDirect();
      } finally {
        fs.closeSync(file);
      }
    },
  };
}

/** A file's descriptor past the cache, or nothing where the system has none to give: it is a shorter way, not the only one. */
function openPastCache(path: string): number | undefined {
  // Where there is no such flag Node does not say that there might be.
  const flag: number | undefined = fs.constants.O_DIRECT;
  if (flag === undefined) return undefined;
  try {
    return fs.openSync(path, fs.constants.O_WRONLY | flag);
  } catch (error) {
    if (errno(error) === undefined) throw error;
    return undefined;
  }
}
