import * as fs from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "@jest/globals";
import { expandFiles } from "../../runtime/data/expand-files.ts";
import { failure } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";

function tree(files: readonly string[]): string {
  const root = scratch();
  for (const file of files) {
    fs.mkdirSync(dirname(join(root, file)), { recursive: true });
    fs.writeFileSync(join(root, file), "x");
  }
  return root;
}

const root = tree([
  "a.txt",
  "b.md",
  "c1.txt",
  "d/a.txt",
  "d/e/f.txt",
  "d/e/g.md",
  ".hidden/h.txt",
  "d/.i.txt",
  "[x].txt",
  "{1,2}.txt",
]);

test.each<[pattern: string, expected: readonly string[]]>([
  ["a.txt", ["a.txt"]],
  ["*.txt", ["[x].txt", "a.txt", "c1.txt", "{1,2}.txt"]],
  ["?.txt", ["a.txt"]],
  ["c?.txt", ["c1.txt"]],
  ["*/*.txt", ["d/a.txt"]],
  ["**/*.txt", ["[x].txt", "a.txt", "c1.txt", "d/a.txt", "d/e/f.txt", "{1,2}.txt"]],
  ["d/**", ["d/a.txt", "d/e/f.txt", "d/e/g.md"]],
  ["d", ["d/a.txt", "d/e/f.txt", "d/e/g.md"]],
  ["d/**/f.txt", ["d/e/f.txt"]],
  ["**/e/*", ["d/e/f.txt", "d/e/g.md"]],
  ["{a,c1}.txt", ["a.txt", "c1.txt"]],
  ["{a.txt,d/{a.txt,e/*.{md,txt}}}", ["a.txt", "d/a.txt", "d/e/f.txt", "d/e/g.md"]],
  ["{,d/}a.txt", ["a.txt", "d/a.txt"]],
  [".hidden/*", [".hidden/h.txt"]],
  ["d/.*", ["d/.i.txt"]],
  ["[x].txt", ["[x].txt"]],
  ["{1,2}.txt", ["{1,2}.txt"]],
  ["./d//a.txt", ["d/a.txt"]],
  ["d/../*.md", ["b.md"]],
])("%s means %j", (pattern, expected) => {
  expect(expandFiles([pattern], root).map((file) => relative(root, file))).toEqual(expected);
  const absolute = expandFiles([join(root, pattern)], "/").map((file) => relative(root, file));
  expect(absolute).toEqual(expected);
});

test("files named twice are read once, in one order", () => {
  expect(expandFiles(["c1.txt", "*.txt", "a.txt"], root)).toEqual(expandFiles(["*.txt"], root));
});

test("a circle of links ends, and a link to a file is that file", () => {
  const circle = tree(["a.txt"]);
  fs.symlinkSync(circle, join(circle, "again"));
  fs.symlinkSync(join(circle, "a.txt"), join(circle, "b.txt"));
  expect(expandFiles(["**/*.txt"], circle).map((file) => relative(circle, file))).toEqual(["a.txt", "b.txt"]);
});

test("what matches nothing is an error that names it", () => {
  expect(failure(() => expandFiles(["a.txr"], root)).message).toContain("did you mean `a.txt`?");
  expect(failure(() => expandFiles(["*.json"], root)).message).toContain("no file matches `*.json`");
  expect(failure(() => expandFiles([scratch()], root)).message).toContain("holds no files");
  expect(failure(() => expandFiles(["/dev/null"], root)).code).toBe("data-file-kind");
  expect(failure(() => expandFiles(["{a,b}".repeat(12)], root)).code).toBe("data-pattern");
});
