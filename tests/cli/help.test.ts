import { expect, test } from "@jest/globals";
import { table, wrap } from "../../cli/layout.ts";
import { commands } from "../../cli/main.ts";
import { expectGolden, q3c } from "./support.ts";

test("the help of q3c", async () => {
  const { code, out, err } = await q3c(["--help"]);
  expect([code, err]).toEqual([0, ""]);
  expectGolden("help.txt", out);
  for (const line of [[], ["help"], ["-h"], ["help", "--json"]])
    expect(await q3c(line)).toMatchObject({ code: 0, out });
});

test.each(commands.map(({ name }) => name))("the help of q3c %s", async (name) => {
  const { code, out, err } = await q3c([name, "--help"]);
  expect([code, err]).toEqual([0, ""]);
  expectGolden(`help-${name}.txt`, out);
  expect(await q3c(["help", name])).toMatchObject({ code: 0, out });
  expect(await q3c(["--help", name])).toMatchObject({ code: 0, out });
});

test("the module of a pasted line says the command, and both have the same help", async () => {
  for (const { name, maxTextModules = [] } of commands)
    for (const module of maxTextModules) {
      const pasted = await q3c(["JAX_PLATFORMS=cpu", "python3", "-m", module, "base.yml", "--help"]);
      expect(pasted).toEqual(await q3c([name, "--help"]));
    }
});

test("help keeps to the width it has", async () => {
  for (const name of ["", ...commands.map((one) => one.name)]) {
    const { out } = await q3c(
      ["help", name].filter((word) => word !== ""),
      { io: { columns: 72 } },
    );
    const prose = out.split("\n").filter((line) => !/python3 -m|^usage/.test(line));
    expect(prose.filter((line) => line.length > 72)).toEqual([]);
  }
});

test("the record of every command is fit for help", () => {
  const words = commands.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  expect(new Set(words).size).toBe(words.length);
  const modules = commands.flatMap(({ maxTextModules = [] }) => maxTextModules);
  expect(new Set(modules).size).toBe(modules.length);
  for (const { name, summary, usage, flags } of commands) {
    expect(summary).toMatch(/^[A-Z].*\.$/);
    expect(usage.startsWith(name)).toBe(true);
    for (const { doc } of Object.values(flags)) expect(doc).not.toMatch(/\.$/);
  }
});

test("the version, as text and as JSON", async () => {
  expect(await q3c(["--version"])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^q3c \d+\.\d+\.\d+$/),
  });
  const { out } = await q3c(["doctor", "--version", "--json"]);
  expect(JSON.parse(out)).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
});

test("text is wrapped at spaces, and a table's last column beside the others", () => {
  expect(wrap("one two three", 8)).toEqual(["one two", "three"]);
  expect(wrap("antidisestablishmentarianism is", 8)).toEqual(["antidisestablishmentarianism", "is"]);
  const long = "word ".repeat(9).trim();
  expect(
    table(
      [
        ["a", long],
        ["bbb", "short"],
      ],
      40,
    ),
  ).toEqual(["  a    word word word word word word", "       word word word", "  bbb  short"]);
});
