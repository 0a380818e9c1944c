// A directory that long work fills beside its place, and that is there whole or not at all.
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fail } from "../compiler/diag.ts";
import { asideOf, failExists, isAside } from "./files.ts";

/** A directory that does not exist yet but whose place is taken: writable, and complete once committed. */
export type ClaimedDirectory = {
  readonly path: string;
  /** Where to write until then. */
  readonly aside: string;
  commit(): void;
  abandon(): void;
};

/** Removes what work for a directory left beside it that was cut off. Nothing else may be at work there. */
export function removePartial(path: string): void {
  if (!fs.existsSync(dirname(path))) return;
  for (const name of fs.readdirSync(dirname(path)))
    if (isAside(name, path)) fs.rmSync(join(dirname(path), name), { recursive: true, force: true });
}

/** Makes the directory beside its place, before long work whose result shall go there. */
export function claimDirectory(path: string): ClaimedDirectory {
  if (fs.existsSync(path))
    failExists(path, {
      code: "checkpoint-exists",
      help: "choose another run_name or base_output_directory, or remove it first",
    });
  const aside = asideOf(path);
  const claiming = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      fail({
        code: "checkpoint-unwritable",
        message: `cannot be written: ${error.message}`,
        at: { file: path },
      });
    }
  };
  const parent = dirname(path);
  const isNew = !fs.existsSync(parent);
  claiming(() => fs.mkdirSync(aside, { recursive: true }));
  const abandon = (): void => {
    process.removeListener("exit", abandon);
    fs.rmSync(aside, { recursive: true, force: true });
    if (isNew && fs.existsSync(parent) && fs.readdirSync(parent).length === 0) fs.rmdirSync(parent);
  };
  // Ctrl-C exits without going back through the callers.
  process.once("exit", abandon);
  return {
    path,
    aside,
    commit() {
      claiming(() => fs.renameSync(aside, path));
      process.removeListener("exit", abandon);
    },
    abandon,
  };
}
