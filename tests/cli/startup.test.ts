import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";

const staticImport = /^(?:import|export) (?!type )(?:[^;]*? from )?"([^"]+)";/gm;

const root = new URL("../../", import.meta.url);

/** Everything that is loaded when a file is, by following its imports. */
function loaded(url: URL, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(url.href)) return seen;
  seen.add(url.href);
  for (const [, name = ""] of readFileSync(url, "utf8").matchAll(staticImport)) {
    if (name.startsWith(".")) loaded(new URL(name, url), seen);
    else seen.add(name);
  }
  return seen;
}

test("help starts at once: no command loads a package, the configuration or an engine before it runs", () => {
  const all = [...loaded(new URL("cli/main.ts", root))];
  expect(all.filter((name) => !/^node:|\/cli\/[a-z-]+\.ts$|\/compiler\/diag\.ts$/.test(name))).toEqual([]);
  expect(all.length).toBeGreaterThan(10);
});

test.each([
  ["runtime/checkpoint/open.ts", ["pako"]],
  ["runtime/checkpoint/convert/convert.ts", ["pako"]],
  ["runtime/checkpoint/convert/worker.ts", ["pako"]],
  ["runtime/train/save-worker.ts", ["pako"]],
  ["passes/forward.ts", []],
  ["compiler/model.ts", ["chevrotain"]],
  ["compiler/config/load.ts", ["chevrotain", "yaml"]],
])("%s loads no package that its work has no use for: %j", (file, packages) => {
  const all = [...loaded(new URL(file, root))];
  expect(all.filter((name) => !/^(node|file):/.test(name)).sort()).toEqual(packages);
  expect(all.length).toBeGreaterThan(10);
});
