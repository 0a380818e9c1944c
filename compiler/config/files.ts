// Finding and reading the files of a configuration: YAML by MaxText's rules, and how they are shown.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { type Diagnostic, didYouMean, fail, Q3Error, type Source, type Span } from "../diag.ts";

/** Where configuration files are looked for. */
export type Places = { readonly cwd: string; readonly modelsDir: string };

/** A file's name for messages: short below the working directory, `models/…` when packaged. */
export function shownPath(path: string, { cwd, modelsDir }: Places): string {
  const packaged = relative(modelsDir, path);
  if (!packaged.startsWith("..") && !isAbsolute(packaged)) return join("models", packaged);
  const near = relative(cwd, path);
  return near === "" || near.startsWith("..") || isAbsolute(near) ? path : near;
}

export const isDirectory = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();
export const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

/** The text of a file, or the reason why there is none. */
export function readSource(path: string, places: Places, at?: Span): Source {
  const file = shownPath(path, places);
  try {
    return { file, text: readFileSync(path, "utf8") };
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? "unreadable";
    return fail({ code: "unreadable-file", message: `\`${file}\` cannot be read (${why})`, at }, 2);
  }
}

/** The names of the packaged files with an ending, without it. */
export function shippedNames(modelsDir: string, ending: string): readonly string[] {
  if (!isDirectory(modelsDir)) return [];
  return readdirSync(modelsDir)
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .sort();
}

/** The first of several paths that is a file. */
export const firstFile = (paths: readonly string[]): string | undefined => paths.find(isFile);

// A MaxText checkout keeps its configs there; here they are the packaged ones.
const packagedPrefix = /^(?:\.\/)?(?:src\/)?(?:maxtext\/|MaxText\/)?configs\//;

/** The YAML that the first argument means: as it stands, else packaged, as MaxText resolves it. */
export function findConfigFile(name: string, places: Places, from = places.cwd, at?: Span): string {
  const { modelsDir } = places;
  const wanted = name.endsWith(".yml") || name.endsWith(".yaml") ? name : `${name}.yml`;
  const inside = wanted.replace(packagedPrefix, "").replace(/^models\//, "");
  const found = firstFile([resolve(from, name), resolve(from, wanted), join(modelsDir, inside)]);
  if (found) return found;
  const directory = resolve(from, name);
  const shipped = shippedNames(modelsDir, ".yml");
  const problem: Diagnostic = isDirectory(directory)
    ? {
        code: "not-a-file",
        message: `\`${name}\` is a folder, expected a YAML file`,
        at,
        help: existsSync(join(directory, "config.json"))
          ? `to use the model in it, say \`base model_name=${name}\``
          : undefined,
      }
    : {
        code: "missing-file",
        message: `there is no \`${name}\`; the packaged ones are ${shipped.join(", ")}`,
        at,
        help: didYouMean(basename(wanted, ".yml"), shipped),
      };
  throw new Q3Error(problem, 2);
}

/** The places of `models/NAME.yml` relative to a configuration file, nearest first. */
export function modelFileCandidates(
  name: string,
  configFile: string,
  { modelsDir }: Places,
): readonly string[] {
  const folder = dirname(configFile);
  return [
    join(folder, "models", `${name}.yml`),
    join(folder, `${name}.yml`),
    join(folder, "..", "models", `${name}.yml`),
    join(modelsDir, `${name}.yml`),
  ];
}
