// The examples of every command's help, run one after another in one folder as somebody would paste them.
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { wrapShell } from "../../cli/layout.ts";
import { commands } from "../../cli/main.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const cwd = scratch();
// The one thing that a user has to bring.
cpSync("tests/data/mmlu/csv", join(cwd, "mmlu"), { recursive: true });

/** The words of a line, as a shell takes them; quotes hold spaces together, a backslash at its end continues it. */
const words = (line: string): string[] =>
  (line.replaceAll("\\\n", " ").match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? []).map((word) =>
    word.replaceAll(/'([^']*)'|"([^"]*)"/g, "$1$2"),
  );

const examples = commands.flatMap(({ examples = [] }) => examples);

test.each(examples)("%s", async (line) => {
  const [program, ...args] = words(line);
  const redirection = args.indexOf(">");
  const own = redirection < 0 ? args : args.slice(0, redirection);
  const { code, out, err } = await q3c(own, { io: { cwd } });
  expect([program, code, code === 0 || err]).toEqual(["q3c", 0, true]);
  if (redirection >= 0) writeFileSync(join(cwd, args[redirection + 1]!), out);
});

test("an example that is broken into lines is still the same to a shell", () => {
  for (const line of examples)
    for (const width of [20, 60, 100]) {
      const lines = wrapShell(line, width);
      expect(words(lines.join("\n"))).toEqual(words(line));
      for (const one of lines)
        if (words(one.replace(/ \\$/, "")).length > 1) expect(one.length).toBeLessThanOrEqual(width);
    }
  expect(wrapShell("q3c run 'a b' c", 12)).toEqual(["q3c run \\", "  'a b' c"]);
});
