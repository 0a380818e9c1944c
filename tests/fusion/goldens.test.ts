// Goldens of the fusion and memory passes: `# pass: NAME`, a module, `---- after`, remarks and the module, whole.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { runPipeline } from "../../passes/pass.ts";
import { planMemoryPass } from "../../passes/plan-memory.ts";

const folder = new URL("../golden/passes/", import.meta.url);
const cases = [fuseKernels, planMemoryPass].flatMap((pass) =>
  readdirSync(new URL(`${pass.name}/`, folder)).map(
    (file) => [pass.name, file.replace(/\.q3$/, ""), pass] as const,
  ),
);

/** Frozen all the way down, but for op records: a pass that changes its input throws. */
function frozen<T>(x: T): T {
  if (typeof x !== "object" || x === null || Object.isFrozen(x)) return x;
  Object.freeze(x);
  for (const [key, inner] of Object.entries(x)) if (key !== "op") frozen(inner);
  return x;
}

test.each(cases)("%s %s", (name, claim, pass) => {
  const file = new URL(`${name}/${claim}.q3`, folder);
  const text = readFileSync(file, "utf8");
  const [before = ""] = text.split("---- after\n");
  expect(/^# pass: (.*)\n/.exec(before)![1]).toBe(name);
  const remarks: string[] = [];
  const options = { remark: (_pass: unknown, line: string) => void remarks.push(`# remark: ${line}\n`) };
  const after = runPipeline(frozen(parseModule(before, `${claim}.q3`)), [pass], options);
  const whole = `${before}---- after\n${remarks.join("")}${printModule(after)}`;
  if (process.env["UPDATE_GOLDENS"]) writeFileSync(file, whole);
  else expect(whole).toBe(text);
});
