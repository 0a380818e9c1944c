// Folders that arguments name.
import { statSync } from "node:fs";

/** Whether there is a folder at a path. */
export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
