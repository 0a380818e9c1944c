import { expect, test } from "@jest/globals";
import { type Command, command } from "../../cli/command.ts";
import { q3c } from "./support.ts";

/** A command that prints what it was given. */
const echo = command({
  name: "echo",
  aliases: ["say"],
  summary: "Print what it was given.",
  usage: "echo",
  details: [],
  flags: {
    "max-kl-div": { value: "number", doc: "a number" },
    seed_of: { value: "number", doc: "a number with a default", default: 7 },
    path: { value: "string", doc: "a text" },
    pass: { value: "strings", doc: "several texts" },
    quick: { doc: "a switch" },
  },
  maxTextModules: ["maxtext.echo", "MaxText.echo"],
  async run({ args, flags, io }) {
    io.out(JSON.stringify({ args, flags, env: io.env }));
    return 3;
  },
});
const table: readonly Command[] = [echo];

async function echoed(...line: string[]) {
  const { code, out, err } = await q3c(line, { table });
  expect([code, err]).toEqual([3, ""]);
  return JSON.parse(out) as { args: string[]; flags: Record<string, unknown>; env: Record<string, string> };
}

async function refused(...line: string[]) {
  const { code, out, err } = await q3c(line, { table });
  expect([code, out]).toEqual([2, ""]);
  return err;
}

test("flags that are not given have their defaults, or nothing", async () => {
  const common = { help: false, json: false, debug: false, version: false };
  expect((await echoed("echo")).flags).toEqual({ seed_of: 7, pass: [], quick: false, ...common });
});

test("a value comes after = or as the next argument, and dashes are underscores", async () => {
  for (const line of [
    ["--max_kl_div=2e-4"],
    ["--max-kl-div=2e-4"],
    ["--max_kl_div", "2e-4"],
    ["--max-kl-div", "2e-4"],
    ["--max-kl-div", "9", "--max_kl_div=2e-4"],
  ])
    expect((await echoed("echo", ...line)).flags).toMatchObject({ "max-kl-div": 2e-4 });
  expect((await echoed("echo", "--seed-of", "-1")).flags).toMatchObject({ seed_of: -1 });
  expect((await echoed("echo", "--path=a=b --c")).flags).toMatchObject({ path: "a=b --c" });
  expect((await echoed("echo", "--path=")).flags).toMatchObject({ path: "" });
  expect((await echoed("echo", "--pass", "a", "--pass=b")).flags).toMatchObject({ pass: ["a", "b"] });
});

test("a switch takes no next argument, but may be told true or false", async () => {
  expect(await echoed("echo", "--quick", "steps=5")).toMatchObject({
    args: ["steps=5"],
    flags: { quick: true },
  });
  expect((await echoed("echo", "--quick=False")).flags).toMatchObject({ quick: false });
  expect((await echoed("echo", "--quick=True")).flags).toMatchObject({ quick: true });
});

test("what is no flag stays in order, and -- ends the flags", async () => {
  const { args, flags } = await echoed(
    "echo",
    "base.yml",
    "--quick",
    "steps=-1",
    "-",
    " ",
    "-5",
    "--",
    "--json",
    "-h",
  );
  expect(args).toEqual(["base.yml", "steps=-1", "-", " ", "-5", "--json", "-h"]);
  expect(flags).toMatchObject({ json: false, help: false });
});

test("flags of every command may stand in front, and an alias is the command", async () => {
  expect(await echoed("--json", "say", "x")).toMatchObject({ args: ["x"], flags: { json: true } });
});

test("errors of flags underline the place", async () => {
  expect(await refused("echo", "--max-kl-dif=1")).toBe(
    [
      "command line:1:1: unknown-flag: there is no flag `--max-kl-dif` here",
      "  --max-kl-dif=1",
      "  ^^^^^^^^^^^^",
      "help: did you mean `--max-kl-div`?",
    ].join("\n"),
  );
  expect(await refused("echo", "--scan_layers=false")).toMatch(
    /\nhelp: a configuration's key has no dashes: scan_layers=false$/,
  );
  expect(await refused("echo", "--max-kl-div", "much")).toBe(
    [
      "command line:1:1: bad-flag-value: `--max-kl-div` takes a number, found `much`",
      "  much",
      "  ^^^^",
    ].join("\n"),
  );
  expect(await refused("echo", "--max-kl-div=")).toMatch(/takes a number, found ``/);
  expect(await refused("echo", "--quick=perhaps")).toMatch(
    /1:9: .*takes only true or false, found `perhaps`/,
  );
  expect(await refused("echo", "--path")).toMatch(/`--path` needs a value[\s\S]*help: write --path=…/);
  expect(await refused("echo", "--path", "--quick")).toMatch(/`--path` needs a value/);
  expect(await refused("echo", "-x")).toMatch(/there is no flag `-x` here/);
  expect(await refused("--nothing")).toMatch(/there is no flag `--nothing` here/);
});

test("a pasted MaxText line calls the command of its module", async () => {
  const rest = ["src/maxtext/configs/base.yml", "steps=5", " "];
  for (const start of [
    ["python3", "-m", "maxtext.echo"],
    ["python", "-m", "MaxText.echo"],
    ["/usr/bin/python3.12", "-u", "-m", "maxtext.echo"],
    ["JAX_PLATFORMS=cpu", "M_STEPS=3", "python3", "-m", "maxtext.echo"],
  ])
    expect((await echoed(...start, ...rest, "--max_kl_div=1")).args).toEqual(rest);
});

test("what a pasted line says behind a backslash and a # is a comment, though the shell passes it on", async () => {
  const line = ["python3", "-m", "maxtext.echo", "base.yml", "scan_layers=true"];
  const comment = [" #", "Set", "to", "false", "for", "unscanned", "checkpoint"];
  expect((await echoed(...line, ...comment)).args).toEqual(["base.yml", "scan_layers=true"]);
  expect((await echoed(...line, "--path", "#1")).flags).toMatchObject({ path: "#1" });
});

test("variables in front of a pasted line are the command's environment", async () => {
  const { env } = await echoed("JAX_PLATFORMS=cpu", "M_STEPS=a=b", "python3", "-m", "maxtext.echo");
  expect(env).toEqual({ JAX_PLATFORMS: "cpu", M_STEPS: "a=b" });
});

test("a pasted line without a known module is an error that says what is known", async () => {
  expect(await refused("python3", "-m", "maxtext.ecko")).toBe(
    [
      "unknown-module: there is no command for the module `maxtext.ecko`; the known ones are maxtext.echo, MaxText.echo",
      "help: did you mean `maxtext.echo`?",
    ].join("\n"),
  );
  expect(await refused("python3", "train.py", "base.yml")).toMatch(/^no-module: /);
  expect(await refused("python3", "train.py", "-m", "maxtext.echo")).toMatch(/^no-module: /);
  expect(await refused("python3")).toMatch(/^no-module: /);
  expect(await refused("python3", "-m")).toMatch(/^no-module: /);
});

test("assignments without Python behind them are no pasted line", async () => {
  expect(await refused("steps=5")).toMatch(/^unknown-command: there is no command `steps=5`/);
});
