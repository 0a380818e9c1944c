// Golden files of errors: a source, a line `---- errors`, and what is printed for it. UPDATE_GOLDENS=1 writes it anew.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { problemOf } from "./failures.ts";

const DIVIDER = "---- errors\n";

/** A test for every file of a folder; the codes that have a golden, for a test that none is missing. */
export function errorGoldens(
  folder: string,
  read: (text: string, file: string) => unknown,
): readonly string[] {
  const files = readdirSync(folder).sort();
  const codes = files.map(
    (file) =>
      /^(?:\S+:\d+:\d+: )?([\w-]+): /.exec(
        readFileSync(join(folder, file), "utf8").split(DIVIDER)[1] ?? "",
      )?.[1] ?? "",
  );
  test.each(files)("%s", (file) => {
    const path = join(folder, file);
    const [source = "", wanted] = readFileSync(path, "utf8").split(DIVIDER);
    const problem = problemOf(() => read(source, file));
    const found = problem ? `${problem.message}\n` : "no error\n";
    if (process.env["UPDATE_GOLDENS"]) writeFileSync(path, `${source}${DIVIDER}${found}`);
    else expect(found).toBe(wanted);
  });
  return codes;
}

/** The codes of diagnostics that the sources in folders of the project write down. */
export function codesIn(...folders: readonly string[]): Set<string> {
  const files = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => join(folder, file)),
  );
  const texts = files.map((file) => readFileSync(file, "utf8"));
  return new Set(
    texts.flatMap((text) => [...text.matchAll(/\bcode: "([\w-]+)"/g)].map(([, code = ""]) => code)),
  );
}
