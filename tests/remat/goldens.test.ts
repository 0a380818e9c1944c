// Goldens: `# pass: remat(policy)`, a module, `---- after`, remarks and the module afterwards, whole; and in
// remat-derivative the derivative of that.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { readPolicy, remat } from "../../passes/remat.ts";

function freeze(x: unknown): void {
  if (typeof x !== "object" || x === null || Object.isFrozen(x)) return;
  Object.freeze(x);
  for (const each of Object.values(x)) freeze(each);
}

const stages: readonly [string, (module: Module) => Module][] = [
  ["passes/remat", (module) => module],
  ["remat-derivative", differentiate],
];

describe.each(stages)("%s", (name, then) => {
  const folder = new URL(`../golden/${name}/`, import.meta.url);
  const files = readdirSync(folder);

  test.each(files)("%s", (file) => {
    const text = readFileSync(new URL(file, folder), "utf8");
    const [before = ""] = text.split("---- after\n");
    const policy = /^# pass: remat\((.*)\)\n/.exec(before)![1]!;
    const module = parseModule(before, file);
    for (const param of [module.body, module.roles]) freeze(param);
    const remarks: string[] = [];
    const pass = remat(readPolicy(policy));
    const wrapped = pass.run(module, (line) => void remarks.push(`# remark: ${line}\n`));
    verifyModule(wrapped, pass.name);
    const after = then(wrapped);
    verifyModule(after, "differentiate");
    const whole = `${before}---- after\n${remarks.join("")}${printModule(after)}`;
    if (process.env["UPDATE_GOLDENS"]) writeFileSync(new URL(file, folder), whole);
    else expect(whole).toBe(text);
    expect(printModule(pass.run(wrapped, () => {}))).toBe(printModule(wrapped));
  });

  test("has its cases", () => {
    expect(files.length).toBeGreaterThanOrEqual(3);
  });
});
