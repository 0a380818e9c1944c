import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";

const staticImport = /^(?:import|export) (?!type )(?:[^;]*? from )?"([^"]+)";/gm;

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
  const all = [...loaded(new URL("../../cli/main.ts", import.meta.url))];
  expect(all.filter((name) => !/^node:|\/cli\/[a-z-]+\.ts$|\/compiler\/diag\.ts$/.test(name))).toEqual([]);
  expect(all.length).toBeGreaterThan(10);
});
