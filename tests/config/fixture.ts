// A folder to load configurations in: the packaged models with stand-ins for architectures, and files of a test's own.

import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { type Config, loadConfig } from "../../compiler/config/load.ts";
import { scratch } from "../support/scratch.ts";

const packaged = fileURLToPath(new URL("../../models/", import.meta.url));

export type Fixture = {
  readonly cwd: string;
  readonly modelsDir: string;
  load(args: readonly string[], env?: Readonly<Record<string, string>>): Config;
  /** The text of the error that loading ends with. */
  problem(args: readonly string[], env?: Readonly<Record<string, string>>): string;
};

/** A wrong configuration and the lines of its error. */
type ErrorCase = {
  readonly claim: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly says: readonly string[];
};

export function fixture(files: Readonly<Record<string, string>> = {}): Fixture {
  const root = scratch();
  const [cwd, modelsDir] = [join(root, "work"), join(root, "models")];
  mkdirSync(cwd);
  cpSync(packaged, modelsDir, { recursive: true });
  for (const file of readdirSync(modelsDir)) if (file.endsWith(".arch")) rmSync(join(modelsDir, file));
  for (const arch of ["qwen3", "qwen3-next"]) writeFileSync(join(modelsDir, `${arch}.arch`), "");
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(cwd, name)), { recursive: true });
    writeFileSync(join(cwd, name), text);
  }
  const load: Fixture["load"] = (args, env = {}) =>
    loadConfig(args, { env, cwd, modelsDir, now: new Date(2026, 2, 5, 7, 9) });
  return {
    cwd,
    modelsDir,
    load,
    problem: (args, env) => {
      try {
        load(args, env);
      } catch (error) {
        return (error as Error).message.replaceAll(root, "<root>");
      }
      return "no error";
    },
  };
}

/** The arguments of a configuration that loads. */
export const tiny = ["base", "model_name=qwen3-next-tiny"];

/** A test for each wrong configuration, that its error is told as it is here, whole. */
export function tellsErrors(cases: readonly ErrorCase[]): void {
  test.each(cases)("$claim", ({ files, args, env, says }) => {
    expect(fixture(files).problem(args, env).split("\n")).toEqual(says);
  });
}
