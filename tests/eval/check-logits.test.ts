import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { Q3Error } from "../../compiler/diag.ts";
import { type CheckedModel, type CheckLogitsOptions, checkLogits } from "../../runtime/eval/check-logits.ts";
import { readGolden } from "../../runtime/eval/golden.ts";
import { checkJson } from "../../runtime/eval/report.ts";
import { fileOf } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";
import { goldenText, type Row, table } from "./support.ts";

const HERE = dirname(fileURLToPath(import.meta.url));

// Quarters and eighths: what float32 makes of them is what is printed.
const rows = (count: number, vocab: number, shift: (position: number, id: number) => number): Row[] =>
  Array.from({ length: count }, (_, position) =>
    Array.from({ length: vocab }, (_, id) => ((position * 7 + id * 5) % 13) / 4 - 1 + shift(position, id)),
  );

const GOLDEN = [
  { prompt: "I love to", tokens: [2, 0, 5, 11], logits: rows(4, 12, () => 0) },
  { prompt: "", tokens: [1], logits: rows(1, 12, () => 0) },
];
// One logit off in the middle, and one at the end that rises by a rank.
const OFF: ReadonlyMap<string, number> = new Map([
  ["2 3", 0.125],
  ["3 8", 0.375],
]);
const NEAR = rows(4, 12, (position, id) => OFF.get(`${position} ${id}`) ?? 0);

type Run = { readonly lines: readonly string[]; readonly check: Awaited<ReturnType<typeof checkLogits>> };

async function run(
  {
    forward = async (tokens) => table(model.slice(0, tokens.length)),
    draft,
    ...options
  }: Partial<CheckLogitsOptions & CheckedModel>,
  model: readonly Row[] = NEAR,
  golden = goldenText(...GOLDEN),
): Promise<Run> {
  const path = join(scratch(), "g.jsonl");
  fs.writeFileSync(path, golden);
  const lines: string[] = [];
  const check = await checkLogits({
    golden: readGolden(path),
    open: async () => ({ forward, draft }),
    decode: (id) => ` <${id}>\n`.repeat(id === 4 ? 2 : 1),
    out: (line) => lines.push(line.replaceAll(path, "g.jsonl")),
    ...options,
  });
  return { lines, check };
}

async function problem(
  options: Partial<CheckLogitsOptions & CheckedModel>,
  golden?: string,
): Promise<Q3Error> {
  try {
    await run({ maxKlDiv: 1, ...options }, NEAR, golden);
  } catch (error) {
    if (error instanceof Q3Error) return error;
    throw error;
  }
  throw new Error("expected an error, and there was none");
}

test("the printout of a near miss", async () => {
  const { lines, check } = await run({ maxKlDiv: 1e-3, atol: 0.01 });
  const file = join(HERE, "printout.txt");
  const printout = `${lines.join("\n")}\n`;
  if (process.env["UPDATE_GOLDENS"]) fs.writeFileSync(file, printout);
  expect(printout).toBe(fs.readFileSync(file, "utf8"));
  expect(check.passed).toBe(false);
  expect(check.records.map(({ passed }) => passed)).toEqual([false, true]);
});

test("criteria: at least one, below the KL limit, within the tolerance", async () => {
  expect((await run({ maxKlDiv: 0.1 })).check.passed).toBe(true);
  expect((await run({ atol: 0.375 })).check.passed).toBe(true);
  expect((await run({ atol: 0, rtol: 1 })).check.passed).toBe(true);
  expect((await run({ atol: 0.374, rtol: 0 })).check.passed).toBe(false);
  expect((await run({ atol: 1, maxKlDiv: 1e-9 })).check.passed).toBe(false);
  // Not below zero is not below.
  const same = rows(4, 12, () => 0);
  expect((await run({ maxKlDiv: 0 }, same)).check.passed).toBe(false);
  expect((await run({ atol: 0, rtol: 0 }, same)).check.passed).toBe(true);
});

test.each<[bad: number, shown: string]>([
  [Number.NaN, "nan"],
  [Number.POSITIVE_INFINITY, "inf"],
  [Number.NEGATIVE_INFINITY, "-inf"],
])("a model logit of %d fails under any criteria, and says where", async (bad, shown) => {
  const model = rows(4, 12, (position, id) => (position === 1 && id === 7 ? bad : 0));
  for (const criteria of [{ atol: 1e9 }, { maxKlDiv: 1e9 }, { atol: Number.POSITIVE_INFINITY }]) {
    const { check, lines } = await run(criteria, model);
    expect(check.passed).toBe(false);
    expect(lines).toContain(
      `FAILED: g.jsonl:1: the model gave 1 logit that is not finite; the first is ${shown} at position 1, id 7`,
    );
  }
});

test("a NaN of a padded vocabulary which golden does not have is not compared", async () => {
  const padded = rows(4, 14, (_, id) => (id > 11 ? Number.NaN : 0));
  const { check, lines } = await run({ maxKlDiv: 0.1 }, padded);
  expect(check.passed).toBe(true);
  expect(lines).toContain(
    "Vocab size mismatch: model logits vocab size 14, golden logits vocab size 12. Comparing up to the smaller vocab size.",
  );
});

test("JSON says the same, and NaN as a string", async () => {
  const model = rows(4, 12, (position) => (position === 1 ? Number.NaN : 0));
  const { check } = await run({ atol: 0.01 }, model);
  const json = JSON.parse(checkJson(check));
  expect(json).toMatchObject({
    passed: false,
    criteria: { atol: 0.01, rtol: 1e-5 },
    records: [
      {
        index: 0,
        prompt: "I love to",
        passed: false,
        failures: check.records[0]!.failures,
        comparison: { maxAbsolute: { value: "NaN", position: 1, id: 0 }, kl: [0, "NaN", 0, 0] },
      },
      { index: 1, passed: true, failures: [] },
    ],
  });
});

test("the model's logits are written as a golden file, which reads back", async () => {
  const outputLogitsPath = join(scratch(), "out.jsonl");
  const { lines } = await run({ maxKlDiv: 1e-9, outputLogitsPath });
  expect(lines).toContain(`Saved logits to ${outputLogitsPath}`);
  expect(fs.readdirSync(dirname(outputLogitsPath))).toEqual(["out.jsonl"]);
  const written = [...readGolden(outputLogitsPath)].map(({ prompt, tokens, logits }) => ({
    prompt,
    tokens,
    logits: [...logits],
  }));
  expect(written).toEqual([
    { prompt: "I love to", tokens: [2, 0, 5, 11], logits: NEAR.flat() },
    { prompt: "", tokens: [1], logits: NEAR[0] },
  ]);
});

const BOTH = goldenText({ ...GOLDEN[0], mtp_logits: rows(3, 12, () => 0) });

test("a record's two tables are held against the model and against its head", async () => {
  const outputLogitsPath = join(scratch(), "out.jsonl");
  const draft = async (tokens: readonly number[]) => table(NEAR.slice(0, tokens.length - 1));
  const { lines, check } = await run({ atol: 0.2, draft, outputLogitsPath }, NEAR, BOTH);
  expect(check.records).toMatchObject([
    { kind: "logits", index: 0, passed: false },
    { kind: "mtp_logits", index: 0, passed: true },
  ]);
  expect(lines).toContain("--- Comparing multi-token prediction for golden data index: 0 ---");
  expect(lines.at(-1)).toBe("FAILED: 1 of 2 records: golden data index 0");
  expect([...readGolden(outputLogitsPath)]).toMatchObject([
    { kind: "logits", logits: Float32Array.from(NEAR.flat()) },
    { kind: "mtp_logits", logits: Float32Array.from(NEAR.slice(0, 3).flat()) },
  ]);
});

test("logits of a head that the model lacks are an error", async () => {
  const { message } = await problem({}, BOTH);
  expect(message.replace(/\S*g\.jsonl/, "g.jsonl")).toBe(
    "g.jsonl:1: golden-draft: the record has `mtp_logits`, but the model has no head for multi-token prediction\nhelp: name a checkpoint that holds mtp.* tensors",
  );
});

test("an output file that exists is refused before the model runs", async () => {
  const outputLogitsPath = fileOf("precious", "out.jsonl");
  const forward = () => Promise.reject(new Error("the model ran"));
  const { message } = await problem({ outputLogitsPath, forward });
  expect(message).toBe(
    `${outputLogitsPath}: file-exists: already exists and would be overwritten\nhelp: name another path, or remove the file first`,
  );
  expect(fs.readFileSync(outputLogitsPath, "utf8")).toBe("precious");
  const below = join(outputLogitsPath, "out.jsonl");
  expect((await problem({ outputLogitsPath: below, forward })).diagnostics[0]!.code).toBe("file-unwritable");
});

test.each<[options: Partial<CheckLogitsOptions & CheckedModel>, message: string]>([
  [
    { maxKlDiv: undefined },
    "check-logits-criteria: at least one of --atol and --max_kl_div must be given: without them nothing is checked\nhelp: for float32 weights try --max_kl_div=1e-4",
  ],
  [{ atol: -1 }, "check-logits-option: --atol must be a number from 0 up, found -1"],
  [{ atol: Number.NaN }, "check-logits-option: --atol must be a number from 0 up, found NaN"],
  [{ rtol: -1 }, "check-logits-option: --rtol must be a number from 0 up, found -1"],
  [{ maxKlDiv: Number.NaN }, "check-logits-option: --max_kl_div must be a number from 0 up, found NaN"],
  [{ tokenSize: 0 }, "check-logits-option: --token_size must be a positive whole number, found 0"],
  [{ tokenSize: 1.5 }, "check-logits-option: --token_size must be a positive whole number, found 1.5"],
  [
    { clipLogitsEpsilon: 0 },
    "check-logits-option: --clip_logits_epsilon must be a probability between 0 and 1, found 0",
  ],
])("options %j are refused", async (options, message) => {
  const error = await problem(options);
  expect(error.message).toBe(message);
  expect(error.exitCode).toBe(2);
});

test("ids the model does not know are refused, before it runs if its vocabulary is given", async () => {
  const golden = goldenText({ ...GOLDEN[1], tokens: [12] });
  const message = (error: Q3Error) => error.message.replace(/\S*g\.jsonl/, "g.jsonl");
  const expected =
    "g.jsonl:1: golden-token: token 0 is 12, but the model knows ids below 12\nhelp: is this golden file of another model?";
  expect(message(await problem({}, golden))).toBe(expected);
  const forward = () => Promise.reject(new Error("the model ran"));
  expect(message(await problem({ forward, modelVocab: 12 }, golden))).toBe(expected);
});

test("a record of one token leaves nothing when the first is skipped", async () => {
  const { message } = await problem({ skipFirstToken: true });
  expect(message.replace(/\S*g\.jsonl/, "g.jsonl")).toBe(
    "g.jsonl:2: check-logits-nothing: no position is left to compare: the first is skipped, and it is the only one\nhelp: leave out --skip_first_token, or remove the record",
  );
});

test("a damaged later record is an error, after the earlier ones were printed", async () => {
  const { message } = await problem({}, goldenText(GOLDEN[0], { tokens: [1] }));
  expect(message.replace(/\S*g\.jsonl/, "g.jsonl")).toBe(
    "g.jsonl:2: golden-record: the record has no `logits`",
  );
});
