// Which files a list of paths, directories and glob patterns means: `*`, `**`, `?` and `{a,b}`.

import * as fs from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { didYouMean, fail } from "../../compiler/diag.ts";
import { failRead } from "../files.ts";

/**
 * Absolute paths of the regular files meant, sorted and without repeats, so that the order is the same everywhere.
 * A directory means every file below it; names that start with a dot are left out unless the pattern spells the dot.
 */
export function expandFiles(patterns: readonly string[], cwd: string): readonly string[] {
  const files = patterns.flatMap((pattern) => expandOne(pattern, cwd));
  return [...new Set(files)].toSorted();
}

function expandOne(pattern: string, cwd: string): readonly string[] {
  // A name that exists is meant literally, whatever characters it has.
  const literal = resolve(cwd, pattern);
  const found = fs.statSync(literal, { throwIfNoEntry: false });
  if (found?.isFile()) return [literal];
  if (found && !found.isDirectory()) {
    fail({
      code: "data-file-kind",
      message: "neither a regular file nor a directory",
      at: { file: literal },
    });
  }
  if (!found && !/[*?{]/.test(pattern)) failMissing(literal);
  const files = found ? walk(literal, ["**"]) : expandBraces(pattern).flatMap((one) => glob(one, cwd));
  if (files.length > 0) return files;
  return fail({
    code: "data-file-missing",
    message: found ? "the directory holds no files" : `no file matches \`${pattern}\``,
    at: { file: found ? literal : cwd },
  });
}

function failMissing(path: string): never {
  const directory = dirname(path);
  const suggestion = fs.existsSync(directory)
    ? didYouMean(basename(path), fs.readdirSync(directory))
    : undefined;
  fail({
    code: "data-file-missing",
    message: "no such file or directory",
    at: { file: path },
    help: suggestion,
  });
}

const MAX_ALTERNATIVES = 1000;

// `a{b,c}d` is `abd` and `acd`; a brace without a partner stands for itself.
function expandBraces(pattern: string): readonly string[] {
  let done: readonly string[] = [pattern];
  for (;;) {
    const next = done.flatMap(expandInnermost);
    if (next.length > MAX_ALTERNATIVES) {
      fail({
        code: "data-pattern",
        message: `\`${pattern}\` stands for more than ${MAX_ALTERNATIVES} patterns`,
      });
    }
    if (next.length === done.length && next.every((one, i) => one === done[i])) return done;
    done = next;
  }
}

function expandInnermost(pattern: string): readonly string[] {
  const match = /^(.*)\{([^{}]*,[^{}]*)\}(.*)$/s.exec(pattern);
  if (!match) return [pattern];
  const [, before = "", choices = "", after = ""] = match;
  return choices.split(",").map((choice) => before + choice + after);
}

function glob(pattern: string, cwd: string): readonly string[] {
  const segments = pattern.split("/").filter((segment) => segment !== "" && segment !== ".");
  return walk(isAbsolute(pattern) ? "/" : cwd, segments);
}

// Regular files below `base` that the segments match.
function walk(base: string, segments: readonly string[]): readonly string[] {
  const [head, ...rest] = segments;
  if (head === undefined) return fs.statSync(base, { throwIfNoEntry: false })?.isFile() ? [base] : [];
  if (head === "**") return walkDeep(base, rest);
  if (!/[*?]/.test(head)) return walk(join(base, head), rest);
  const matches = matcher(head);
  return list(base)
    .filter(({ name }) => matches(name))
    .flatMap(({ name }) => walk(join(base, name), rest));
}

// Links to directories are not followed, so that a circle of them ends.
function walkDeep(base: string, rest: readonly string[]): readonly string[] {
  const here = walk(base, rest.length > 0 ? rest : ["*"]);
  const below = list(base)
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .flatMap(({ name }) => walkDeep(join(base, name), rest));
  return [...here, ...below];
}

function list(directory: string): readonly fs.Dirent[] {
  try {
    if (!fs.statSync(directory, { throwIfNoEntry: false })?.isDirectory()) return [];
    return fs.readdirSync(directory, { withFileTypes: true });
  } catch (error) {
    return failRead(directory, error);
  }
}

function matcher(segment: string): (name: string) => boolean {
  const source = segment
    .replace(/\*+/g, "*")
    .replace(/[\\^$.|+()[\]{}]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  const pattern = new RegExp(`^${source}$`, "su");
  return (name) => pattern.test(name) && (!name.startsWith(".") || segment.startsWith("."));
}
