import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { derivedNames } from "../../compiler/config/derived.ts";
import { declarationOf, keyNames, sections } from "../../compiler/config/keys.ts";
import { evaluateRaw } from "../../compiler/config/raw.ts";
import { readYaml } from "../../compiler/config/yaml.ts";
import { baseYaml } from "./base-yaml.ts";

const baseFile = new URL("../../models/base.yml", import.meta.url);

test("models/base.yml is the table of keys, written out", () => {
  if (process.env["UPDATE_GOLDENS"]) writeFileSync(baseFile, baseYaml());
  expect(readFileSync(baseFile, "utf8")).toBe(baseYaml());
});

test("models/base.yml says every default as its key's type reads it", () => {
  const { value, problems } = readYaml({ file: "base.yml", text: baseYaml() });
  expect(problems).toEqual([]);
  const entries = value?.kind === "mapping" ? value.entries : [];
  const read = entries.map(({ name, value: raw }) => {
    const { type } = declarationOf(name as "steps");
    return [name, type.read(evaluateRaw(raw, () => null))];
  });
  expect(Object.fromEntries(read)).toEqual(
    Object.fromEntries(keyNames.map((name) => [name, declarationOf(name).default])),
  );
});

test("every key is declared once, with a type and a sentence", () => {
  const names = sections.flatMap(({ keys }) => Object.keys(keys));
  expect(names.length).toBe(new Set(names).size);
  expect([...names].sort()).toEqual([...keyNames].sort());
  for (const name of keyNames) {
    const { doc, type, effect } = declarationOf(name);
    expect(`${name}: ${doc}`).toMatch(/: \S.*[.)]$/);
    expect(type.name).not.toBe("");
    if (effect.kind !== "acted-on") expect(effect.why).not.toBe("");
  }
  expect(derivedNames.filter((name) => (keyNames as readonly string[]).includes(name))).toEqual([]);
});
