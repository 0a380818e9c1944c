// Paths that are not on this machine: MaxText takes gs://bucket/…, q3c has local files only.

import { type Diagnostic, fail } from "../diag.ts";
import type { Values } from "./derived.ts";
import type { Config } from "./load.ts";

/** The keys that hold paths which q3c reads or writes. */
export const pathKeys = [
  "base_output_directory",
  "load_parameters_path",
  "load_full_state_path",
  "dataset_path",
  "tokenizer_path",
  "metrics_file",
] as const satisfies readonly (keyof Values)[];

export type PathKey = (typeof pathKeys)[number];

/** The scheme of a path that is not a local one, as `gs://`; nothing for local paths. */
export const remotePath = (value: string): string | undefined => /^[a-z][a-z0-9+.-]*:\/\//i.exec(value)?.[0];

const help = "copy or mount it, and give the local path";

/** Refuses a path that is not a local one. */
export function requireLocalPath(path: string): void {
  const scheme = remotePath(path);
  if (scheme === undefined) return;
  const message = `\`${path}\` starts with ${scheme}, and q3c reads and writes local files only`;
  fail({ code: "remote-path", message, help }, 2);
}

/** What is wrong with a path key, if it names a place that is not on this machine. */
export function remoteProblem(
  name: PathKey,
  values: Pick<Values, PathKey>,
  spanOf: Config["spanOf"],
): Diagnostic | undefined {
  const value = values[name] ?? "";
  const scheme = remotePath(value);
  if (scheme === undefined) return undefined;
  const message = `\`${name}\` starts with ${scheme}, and q3c reads and writes local files only`;
  return { code: "remote-path", message, at: spanOf(name), help };
}

/** Refuses a configuration in which one of some path keys is remote, before anything is read or written there. */
export function requireLocal(
  { values, spanOf }: Pick<Config, "values" | "spanOf">,
  ...names: readonly PathKey[]
): void {
  for (const name of names) {
    const problem = remoteProblem(name, values, spanOf);
    if (problem) fail(problem, 2);
  }
}
