// The installed package: where it is, and its version.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { invariant } from "../compiler/diag.ts";

// Built, this file is one folder deeper than in the sources.
function findRoot(folder: string): string {
  if (existsSync(join(folder, "package.json"))) return folder;
  invariant(dirname(folder) !== folder, "q3c is not in its package");
  return findRoot(dirname(folder));
}

const root = findRoot(dirname(fileURLToPath(import.meta.url)));

/** The packaged models and configurations. */
export const modelsDir = join(root, "models");

/** What runs transformers in Python. */
export const transformersScript = join(root, "runtime", "eval", "transformers_logits.py");

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };

/** The version of q3c. */
export const version = manifest.version;
