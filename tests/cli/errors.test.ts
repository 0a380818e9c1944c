import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { type Command, command } from "../../cli/command.ts";
import { Q3Error } from "../../compiler/diag.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const source = { file: "tiny.yml", text: "steps: five\nwidth: 3\n" };
const problems = [
  {
    code: "wrong-type",
    message: "`steps` takes an integer",
    at: { source, start: 7, end: 11 },
    help: "write 5",
  },
  {
    code: "odd-width",
    message: "`width` is odd",
    at: { source, start: 19, end: 20 },
    notes: [
      { message: "`steps` is here", at: { source, start: 0, end: 5 } },
      { message: "the least is 2" },
      { message: "this has another", at: { file: "model", part: "tensor `w`" } },
    ],
  },
  { code: "broken", message: "it ends too early", at: { file: "w.jsonl", line: 3 }, help: "copy it again" },
];

const throwing = (name: string, thrown: unknown): Command =>
  command({
    name,
    summary: "Fail.",
    usage: name,
    details: [],
    flags: {},
    async run() {
      throw thrown;
    },
  });

const table = [
  throwing("one", new Q3Error(problems[0]!)),
  throwing("two", new Q3Error(problems, 2)),
  throwing("bug", new Error("internal: a region\nwithout a plan")),
  throwing("text", "lost"),
];

test("an unknown command is exit 2, with the nearest one", async () => {
  expect(await q3c(["docter"])).toMatchObject({
    code: 2,
    out: "",
    err: "unknown-command: there is no command `docter`\nhelp: did you mean `doctor`?",
  });
  expect((await q3c(["help", "qqqqqqqq"])).err).toMatch(/help: `q3c --help` lists the commands$/);
});

test("diagnostics go to stderr with their own exit code", async () => {
  const { code, out, err } = await q3c(["two"], { table });
  expect([code, out]).toEqual([2, ""]);
  expect(err).toBe(
    [
      "tiny.yml:1:8: wrong-type: `steps` takes an integer",
      "  steps: five",
      "         ^^^^",
      "help: write 5",
      "tiny.yml:2:8: odd-width: `width` is odd",
      "  width: 3",
      "         ^",
      "tiny.yml:1:1: note: `steps` is here",
      "  steps: five",
      "  ^^^^^",
      "note: the least is 2",
      "model: note: tensor `w`: this has another",
      "w.jsonl:3: broken: it ends too early",
      "help: copy it again",
    ].join("\n"),
  );
  expect((await q3c(["one"], { table })).code).toBe(1);
});

test("with --json each diagnostic is a line of JSON with all that its text says", async () => {
  const { code, err } = await q3c(["two", "--json"], { table });
  expect(code).toBe(2);
  expect(err.split("\n").map((line) => JSON.parse(line))).toEqual([
    {
      error: {
        code: "wrong-type",
        message: "`steps` takes an integer",
        file: "tiny.yml",
        line: 1,
        column: 8,
        help: "write 5",
        notes: [],
      },
    },
    {
      error: {
        code: "odd-width",
        message: "`width` is odd",
        file: "tiny.yml",
        line: 2,
        column: 8,
        help: null,
        notes: [
          { message: "`steps` is here", file: "tiny.yml", line: 1, column: 1 },
          { message: "the least is 2", file: null, line: null, column: null },
          { message: "tensor `w`: this has another", file: "model", line: null, column: null },
        ],
      },
    },
    {
      error: {
        code: "broken",
        message: "it ends too early",
        file: "w.jsonl",
        line: 3,
        column: null,
        help: "copy it again",
        notes: [],
      },
    },
  ]);
  const unknown = await q3c(["--json", "docter"]);
  expect(JSON.parse(unknown.err)).toEqual({
    error: {
      code: "unknown-command",
      message: "there is no command `docter`",
      file: null,
      line: null,
      column: null,
      help: "did you mean `doctor`?",
      notes: [],
    },
  });
});

test("with --json a file is a field of its own, and the message does not repeat it", async () => {
  const folder = scratch();
  const golden = join(folder, "g.jsonl");
  writeFileSync(golden, '\n{"tokens": [1.5]}\n');
  const model = join(folder, "model.safetensors");
  writeFileSync(model, "short");
  const error = async (...line: string[]) => JSON.parse((await q3c([...line, "--json"])).err).error;
  expect(await error("inspect", model)).toEqual({
    code: "safetensors-too-short",
    message: "not a safetensors file: expected at least 8 bytes, found 5",
    ...{ file: model, line: null, column: null },
    help: null,
    notes: [],
  });
  const check = ["check-logits", "base", "model_name=qwen3-next-tiny", `--golden_logits_path=${golden}`];
  expect(await error(...check, "--atol=1")).toEqual({
    code: "golden-record",
    message: "a token id is a whole number from 0 up, found 1.5",
    ...{ file: golden, line: 2, column: 13 },
    help: null,
    notes: [],
  });
});

test("anything else thrown is a bug of q3c, exit 70, with its stack only on demand", async () => {
  const said = "internal: a region without a plan\nthis is a bug in q3c; rerun with --debug for the stack";
  expect(await q3c(["bug"], { table })).toMatchObject({ code: 70, out: "", err: said });
  const debugged = await q3c(["bug", "--debug"], { table });
  expect(debugged.err).toMatch(/^internal: a region without a plan\n[\s\S]*errors\.test\.ts/);
  expect((await q3c(["text"], { table })).err).toMatch(/^internal: lost\n/);
  const json = await q3c(["bug", "--json"], { table });
  expect(JSON.parse(json.err)).toMatchObject({
    error: { code: "internal", message: "a region without a plan" },
  });
});

test("with --json and --debug each error has its stack in a field, and no line is anything but JSON", async () => {
  const stacks = async (command: string): Promise<string[]> => {
    const { err } = await q3c([command, "--json", "--debug"], { table });
    return err.split("\n").map((line) => JSON.parse(line).error.stack);
  };
  expect(await stacks("bug")).toEqual([
    expect.stringMatching(/^Error: internal: a region\nwithout a plan\n {4}at .*errors\.test\.ts/),
  ]);
  expect(await stacks("two")).toEqual(
    new Array(3).fill(expect.stringMatching(/wrong-type[\s\S]*\n {4}at [\s\S]*errors\.test\.ts/)),
  );
  expect(await stacks("text")).toEqual([""]);
});

test("a status line is gone before an error is printed", async () => {
  expect((await q3c(["bug"], { table })).statuses).toEqual([""]);
});

test("a run's path on another machine is one error, without a warning of the same", async () => {
  const { code, err } = await q3c(["run", "examples/train.yml", "dataset_path=gs://bucket/text"]);
  expect([code, err.match(/remote-path/g)]).toEqual([2, ["remote-path"]]);
});
