// Who else is at work in a directory: other processes of this machine, and other works of this one.
import * as fs from "node:fs";

/**
 * When a process began, as its system counts, and the empty text where it does not say: ids are given again to others.
 * Nothing for one that has ended, though its parent has not been told and its id is still taken.
 */
function beganAt(pid: number): string | undefined {
  try {
    // Its name may hold anything, the last bracket included; after it come the state and, as the 20th word, the time.
    const words = fs
      .readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return /^[ZX]$/.test(words[0] ?? "") ? undefined : (words[19] ?? "");
  } catch {
    return "";
  }
}

/** This process as it is noted on disk, for `isRunning` to find it again. */
export const ownMark = (): string => beganAt(process.pid) ?? "";

/**
 * Whether the process of this id runs that left this mark, if it left one. One that belongs to somebody else may not be
 * signalled, but runs.
 */
export function isRunning(pid: number, mark = ""): boolean {
  const began = beganAt(pid);
  if (began === undefined || (mark !== "" && began !== "" && began !== mark)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

// A process id on disk does not tell works of one process apart, nor this process from an earlier one of the same id,
// which a container's first process always has. So their directories are kept here, by their real paths.
const taken = new Set<string>();

/** Whether a work of this process has a directory. */
export const isTaken = (directory: string): boolean => taken.has(fs.realpathSync(directory));

/** Takes a directory, which is there and not taken, until the function that it gives is called. */
export function take(directory: string): () => void {
  const path = fs.realpathSync(directory);
  taken.add(path);
  return () => void taken.delete(path);
}
