// Who may import whom: cli → runtime, passes → compiler. Nothing imports cli or tests.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Rooms each room may import, besides itself. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  compiler: [],
  passes: ["compiler"],
  runtime: ["compiler"],
  cli: ["compiler", "passes", "runtime"],
};

/** Folders within a room that know nothing of some others. */
const strangers: readonly (readonly [from: string, to: string])[] = [
  ["compiler/ir", "compiler/arch"],
  ["compiler/ir", "compiler/config"],
  ["compiler/ir", "compiler/autodiff"],
  ["compiler/ops", "compiler/arch"],
  ["compiler/ops", "compiler/config"],
  ["compiler/ops", "compiler/autodiff"],
  ["compiler/autodiff", "compiler/arch"],
  ["compiler/autodiff", "compiler/config"],
  ["compiler/config", "compiler/arch"],
  ["compiler/config", "compiler/ir"],
  ["compiler/config", "compiler/ops"],
  ["runtime/engines/tfjs", "compiler/arch"],
  ["runtime/engines/tfjs", "compiler/config"],
  ["runtime/engines/tfjs", "compiler/autodiff"],
];

/** Packages that only some folders may import as values. */
const packages: Readonly<Record<string, readonly string[]>> = {
  "@tensorflow": ["compiler/autodiff", "runtime"],
  chevrotain: ["compiler/ir", "compiler/arch", "compiler/config"],
  yaml: ["compiler/config"],
  "@huggingface": ["runtime/tokenizer"],
  graphology: ["compiler/plan"],
  "graphology-dag": ["compiler/plan"],
  hyparquet: ["runtime/data"],
  pako: ["runtime/checkpoint"],
};

type Import = { readonly file: string; readonly target: string; readonly isType: boolean };

const IMPORT = /^(?:import|export)\s+(type\s)?(?:[^;"]*?\sfrom\s+)?"([^"]+)"|import\("([^"]+)"\)/gm;

function importsOf(file: string): Import[] {
  return [...readFileSync(join(root, file), "utf8").matchAll(IMPORT)].map(([, type, named, dynamic]) => {
    const target = named ?? dynamic ?? "";
    const place = target.startsWith(".") ? relative(root, join(root, dirname(file), target)) : target;
    return { file, target: place, isType: type !== undefined };
  });
}

const files = Object.keys(arrows).flatMap((room) =>
  readdirSync(join(root, room), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(room, file)),
);
const imports = files.flatMap(importsOf);
const local = imports.filter(({ target }) => target.endsWith(".ts"));
const isIn = (file: string, folder: string): boolean => file.startsWith(`${folder}/`);
const shown = ({ file, target }: Import): string => `${file} imports ${target}`;

test("the table sees the imports there are", () => {
  expect(files.length).toBeGreaterThan(50);
  expect(local.length).toBeGreaterThan(200);
  expect(local.map(shown)).toContain("compiler/ir/build.ts imports compiler/ops/index.ts");
});

test("a room imports itself and the rooms its arrows point at", () => {
  const wrong = local.filter(({ file, target }) => {
    const [room = "", other = ""] = [file, target].map((path) => path.split("/")[0] ?? "");
    return room !== other && !arrows[room]?.includes(other);
  });
  expect(wrong.map(shown)).toEqual([]);
});

test.each(strangers)("%s imports nothing of %s", (from, to) => {
  expect(local.filter(({ file, target }) => isIn(file, from) && isIn(target, to)).map(shown)).toEqual([]);
});

test.each(Object.entries(packages))("%s is imported only in %j; elsewhere as types", (name, folders) => {
  const wrong = imports.filter(
    ({ file, target, isType }) =>
      (target === name || target.startsWith(`${name}/`)) &&
      !isType &&
      !folders.some((folder) => isIn(file, folder)),
  );
  expect(wrong.map(shown)).toEqual([]);
});

test("imports of files end in .ts and lead to a file", () => {
  const known = new Set(files);
  const wrong = imports.filter(
    ({ target }) =>
      /^(compiler|passes|runtime|cli|tests|models)\b/.test(target) &&
      !known.has(target) &&
      !target.endsWith(".json"),
  );
  expect(wrong.map(shown)).toEqual([]);
});
