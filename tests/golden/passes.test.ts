// Pass goldens: `# pass: NAME` as `q3c opt --pass` takes it, a module, `---- after`, the pass's remarks and the module afterwards, whole.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { passes, readPass } from "../../passes/index.ts";
import { runPipeline } from "../../passes/pass.ts";
import { frozen } from "../passes/support.ts";

const folder = new URL("./passes/", import.meta.url);
const cases = passes.flatMap(({ name }) =>
  readdirSync(new URL(`${name}/`, folder)).map((file) => [name, file.replace(/\.q3$/, "")] as const),
);

test.each(cases)("%s %s", (name, claim) => {
  const file = new URL(`${name}/${claim}.q3`, folder);
  const text = readFileSync(file, "utf8");
  const [before = ""] = text.split("---- after\n");
  const pass = readPass(/^# pass: (.*)\n/.exec(before)![1]!);
  expect(pass.name).toBe(name);
  const remarks: string[] = [];
  const options = { remark: (_pass: unknown, line: string) => void remarks.push(`# remark: ${line}\n`) };
  const module = frozen(parseModule(before, `${claim}.q3`));
  const after = runPipeline(module, [pass], options);
  const whole = `${before}---- after\n${remarks.join("")}${printModule(after)}`;
  if (process.env["UPDATE_GOLDENS"]) writeFileSync(file, whole);
  else expect(whole).toBe(text);
});

test.each(passes.map(({ name }) => name))("%s has six cases or more", (name) => {
  expect(cases.filter(([pass]) => pass === name).length).toBeGreaterThanOrEqual(6);
});
