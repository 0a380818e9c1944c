// Who else is at work in a directory: other processes of this machine, and other works of this one.
import * as fs from "node:fs";

/** Whether a process of this id runs; one that belongs to somebody else may not be signalled, but runs. */
export function isRunning(pid: number): boolean {
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
