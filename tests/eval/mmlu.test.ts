// MMLU: files, prompts, figures and results, held against lm-evaluation-harness where it has them.
import * as fs from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { CATEGORIES, categoryOf } from "../../runtime/eval/mmlu/categories.ts";
import { ask, digestOf, evaluate, type Judge } from "../../runtime/eval/mmlu/evaluate.ts";
import { DEFAULT_TEMPLATE, wordingOf } from "../../runtime/eval/mmlu/prompt.ts";
import { questionOf } from "../../runtime/eval/mmlu/question.ts";
import { readMmlu, type Subject } from "../../runtime/eval/mmlu/read.ts";
import { mmluLines, mmluReport } from "../../runtime/eval/mmlu/report.ts";
import { type Answered, fileResults, memoryResults } from "../../runtime/eval/mmlu/results.ts";
import { accuracyOf, pooledAccuracy, wilson } from "../../runtime/eval/mmlu/statistics.ts";
import { failure } from "../checkpoint/support.ts";
import { q3c } from "../cli/support.ts";
import { scratch } from "../support/scratch.ts";
import { small } from "./models.ts";

const data = join(process.cwd(), "tests/data/mmlu");

type Expected = {
  readonly prompts: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
  readonly statistics: {
    readonly tallies: readonly (readonly [correct: number, count: number])[];
    readonly stderrs: readonly number[];
    readonly pooled: number;
  };
};
const expected: Expected = JSON.parse(fs.readFileSync(join(data, "expected.json"), "utf8"));

let subjects: readonly Subject[];
beforeAll(async () => {
  subjects = await readMmlu("lines", data);
});

describe("files", () => {
  test.each(["parquet", "parquet/all", "csv", "lines/*.jsonl"])("%s has the same questions", async (path) => {
    expect(await readMmlu(path, data)).toEqual(subjects);
    expect(subjects.map(({ name, test, dev }) => [name, test.length, dev.length])).toEqual([
      ["anatomy", 7, 3],
      ["high_school_us_history", 7, 3],
      ["us_foreign_policy", 7, 3],
      ["virology", 7, 3],
    ]);
  });

  const folderOf = (files: Readonly<Record<string, string>>): string => {
    const root = scratch();
    for (const [name, text] of Object.entries(files)) {
      fs.mkdirSync(join(root, name, ".."), { recursive: true });
      fs.writeFileSync(join(root, name), text);
    }
    return root;
  };

  test("a folder `all` stands for the subjects beside it", async () => {
    const row = '{"question":"q","choices":["a","b"],"answer":1,"subject":"virology"}\n';
    const root = folderOf({
      "all/test.jsonl": row,
      "virology/test.jsonl": row,
      "virology/validation.jsonl": row,
    });
    expect(await readMmlu(root, "/")).toEqual([
      expect.objectContaining({ name: "virology", test: [expect.anything()] }),
    ]);
  });

  test("a header, letters for choices, other names for columns, and subjects from names", async () => {
    const header = ",Question,A,B,C,D,Answer,Subject\n0,q?,1,2,3,4,C,global facts\n";
    const wanted = { question: "q?", choices: ["1", "2", "3", "4"], answer: 2 };
    expect((await readMmlu(folderOf({ "mmlu.csv": header }), "/"))[0]?.test).toEqual([
      { ...wanted, subject: "global_facts" },
    ]);
    const line = '{"input":"q?","A":"1","B":"2","C":"3","D":"4","target":"c"}\n';
    const named = folderOf({ "global_facts/test.jsonl": line, "virology_test.jsonl": line, "notes.txt": "" });
    expect((await readMmlu(named, "/")).map(({ name }) => name)).toEqual(["global_facts", "virology"]);
  });

  test.each([
    ["a_test.csv", "q,1,2,3,4,A\nq,1,2\n", /a_test\.csv:2:1: mmlu-question: expected 6 fields, found 3/],
    [
      "a_test.csv",
      "q,1,2,3,4,E\n",
      /a_test\.csv:1:1: mmlu-question: expected the answer .* of 4 choices, found "E"/,
    ],
    [
      "test.jsonl",
      '\n{"question":"q","choices":["a"],"answer":0}',
      /test\.jsonl:2:1: mmlu-question: expected 2 to 26 choices, found 1/,
    ],
    ["test.jsonl", '{"choices":["a","b"],"answer":0}', /expected the question to be text, found none/],
    ["test.jsonl", '{"question":"q","choices":["a",3],"answer":0}', /expected choice B to be text, found 3/],
    ["test.jsonl", '{"question":"q","choices":["a","b"],"answer":-1}', /found -1/],
    ["test.jsonl", "[1]", /test\.jsonl:1:1: mmlu-question: expected a JSON object/],
    ["dev.jsonl", '{"question":"q","choices":["a","b"],"answer":0}', /there are no test questions here/],
    ["notes.txt", "", /expected files in \.parquet, \.csv, \.jsonl, found none/],
  ])("what is wrong in %s is said: %#", async (name, text, says) => {
    await expect(readMmlu(folderOf({ [name]: text }), "/")).rejects.toThrow(says);
  });
});

test.each([0, 2])("prompts with %d examples are lm-evaluation-harness's", (shots) => {
  const wording = wordingOf(DEFAULT_TEMPLATE);
  const ours: Record<string, string[]> = {};
  for (const asked of ask(subjects, { wording, shots })) {
    const { subject } = asked.question;
    ours[subject] = [...(ours[subject] ?? []), asked.prompt.start + asked.prompt.end];
  }
  expect(ours).toEqual(expected.prompts[shots]);
});

test("a template of one's own, and one without a question", () => {
  const [question, example] = [0, 1].map((answer) =>
    questionOf(
      { values: { question: "{choices}", choices: ["x", "y"], answer }, place: () => ({ file: "" }) },
      "a_b",
    ),
  );
  const wording = wordingOf("On {subject}: {question}\n{choices}\nSo:");
  const { start, end } = wording(question!, [example!]);
  expect([start, end]).toEqual(["On a b: {choices}\nA. x\nB. y\nSo: B\n\n", "{choices}\nA. x\nB. y\nSo:"]);
  expect(failure(() => wordingOf("{choices}")).code).toBe("mmlu-template");
  expect(failure(() => wordingOf('{subjct} {question} {"a": {}}'))).toMatchObject({
    code: "mmlu-template",
    message: expect.stringMatching(/`\{subjct\}`.*\nhelp: did you mean `\{subject\}`\?/),
  });
  const json = wordingOf('{question} {"a": {}, "{ b }": 1}');
  expect(json(question!, []).end).toBe('{choices} {"a": {}, "{ b }": 1}');
});

test("examples and limits are counted for each subject", () => {
  const wording = wordingOf(DEFAULT_TEMPLATE);
  expect(
    [...ask(subjects, { wording, shots: 0, limit: 2 })].map(({ question, index }) => [
      question.subject,
      index,
    ]),
  ).toEqual(
    subjects.flatMap(({ name }) => [
      [name, 0],
      [name, 1],
    ]),
  );
  expect(failure(() => [...ask(subjects, { wording, shots: 5 })]).message).toMatch(
    /anatomy has 3 dev questions.*needs 5/,
  );
});

test("the categories hold MMLU's 57 subjects, each once", () => {
  const all = Object.values(CATEGORIES).flat();
  expect([all.length, new Set(all).size, categoryOf("virology"), categoryOf("knitting")]).toEqual([
    57,
    57,
    "other",
    undefined,
  ]);
});

describe("figures", () => {
  const tallies = expected.statistics.tallies.map(([correct, count]) => ({ correct, count }));

  test("standard errors are lm-evaluation-harness's", () => {
    for (const [i, tally] of tallies.entries())
      expect(accuracyOf(tally).standardError).toBeCloseTo(expected.statistics.stderrs[i]!, 14);
    expect(pooledAccuracy(tallies).standardError).toBeCloseTo(expected.statistics.pooled, 14);
    expect(accuracyOf({ correct: 1, count: 1 })).not.toHaveProperty("standardError");
    expect(pooledAccuracy([{ correct: 1, count: 1 }])).not.toHaveProperty("standardError");
  });

  test("Wilson's interval: both bounds are where the score test is just significant", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (count, share) => {
          const correct = Math.round(share * count);
          for (const p of wilson({ correct, count })) {
            if (p <= 1e-9 || p >= 1 - 1e-9) continue;
            const z = Math.abs(correct / count - p) / Math.sqrt((p * (1 - p)) / count);
            expect(z).toBeCloseTo(1.959964, 4);
          }
        },
      ),
    );
    expect(wilson({ correct: 0, count: 10 })[0]).toBe(0);
  });
});

describe("results", () => {
  const facts = { num_fewshot: 0, weights: "w" };
  const asked = () => ask(subjects, { wording: wordingOf(DEFAULT_TEMPLATE), shots: 0 });
  const judge: Judge = ({ end }) => ({
    chosen: end.length % 4,
    truncated: 0,
    logLikelihoods: [-end.length / 7, -1, -2, -3],
    output: "é🙂",
  });
  const finish = async (path: string): Promise<{ answers: readonly Answered[]; fresh: number }> => {
    const results = fileResults(path, facts);
    let fresh = 0;
    const answers = await evaluate(asked(), judge, results, (_, isNew) => {
      if (isNew) fresh++;
    });
    results.close();
    return { answers, fresh };
  };

  test("a run that was killed at any byte goes on to the same file and the same answers", async () => {
    const folder = scratch();
    const whole = join(folder, "whole.jsonl");
    const { answers, fresh } = await finish(whole);
    expect(fresh).toBe(28);
    const bytes = fs.readFileSync(whole);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), async (cut) => {
        const path = join(folder, "cut.jsonl");
        fs.writeFileSync(path, bytes.subarray(0, cut));
        const again = await finish(path);
        expect(again.answers).toEqual(answers);
        const kept = Math.max(0, bytes.subarray(0, cut).toString().split("\n").length - 2);
        expect(again.fresh).toBe(28 - kept);
        expect(fs.readFileSync(path)).toEqual(bytes);
      }),
      { numRuns: 30 },
    );
  });

  test("answers of another run, and lines that are none, are refused", () => {
    const path = join(scratch(), "r.jsonl");
    fileResults(path, facts).close();
    expect(failure(() => fileResults(path, { ...facts, num_fewshot: 5 })).message).toMatch(
      /another run: num_fewshot was 0, and is 5/,
    );
    fs.appendFileSync(path, '{"subject":"a"}\n');
    expect(failure(() => fileResults(path, facts)).message).toMatch(
      /r\.jsonl:2:1: mmlu-results: expected an answer/,
    );
    fs.writeFileSync(path, "nonsense\n");
    expect(failure(() => fileResults(path, facts)).message).toMatch(/^\S*r\.jsonl:1:1: json-syntax: /);
  });

  test("subjects of no category have one rule above them and one below", () => {
    const report = mmluReport([{ subject: "knitting", index: 0, answer: 1, chosen: 1, truncated: 0 }]);
    expect(mmluLines(report, "").filter((line) => /^-+$/.test(line))).toHaveLength(2);
  });

  test("the report counts what was cut and what named no choice", async () => {
    const results = memoryResults([
      { subject: "anatomy", index: 0, answer: 0, chosen: null, truncated: 0 },
      { subject: "anatomy", index: 1, answer: 1, chosen: 1, truncated: 3 },
    ]);
    const answers = await evaluate([...asked()].slice(0, 2), judge, results, () => {});
    const report = mmluReport(answers);
    expect(report).toMatchObject({ truncated: 1, unanswered: 1, overall: { correct: 1, count: 2 } });
    expect(Object.keys(report.categories)).toEqual(["STEM"]);
    expect(mmluLines(report, "9 tokens").join("\n")).toMatch(
      /1 prompt was longer than 9 tokens.*\n.*1 answer names no choice/,
    );
  });
});

test("q3c mmlu: a table, or JSON; a second call has nothing left to ask", async () => {
  const out = join(scratch(), "answers.jsonl");
  const line = ["mmlu", ...small, `--data_path=${data}/csv`, `--output_path=${out}`, "--limit=2"];
  const first = await q3c([...line, "--json"]);
  expect([first.code, first.err]).toEqual([0, ""]);
  const report = JSON.parse(first.out);
  expect(report).toMatchObject({ num_fewshot: 0, limit: 2, tokenizer: "byte", overall: { count: 8 } });
  expect(report.truncated).toBeGreaterThan(0);
  const bytes = fs.readFileSync(out);
  const second = await q3c(line);
  expect([second.code, fs.readFileSync(out)]).toEqual([0, bytes]);
  expect(second.out).toMatch(/overall +8 +/);
  const written = await q3c([...line.slice(0, -2), "--scoring=generation", "--limit=1"]);
  expect([written.code, written.out]).toEqual([
    0,
    expect.stringMatching(/longer than 64 tokens \(max_prefill/),
  ]);
  expect(digestOf(ask(subjects, { wording: wordingOf(DEFAULT_TEMPLATE), shots: 0, limit: 2 })).digest).toBe(
    report.questions,
  );
  expect(await q3c(["mmlu", "examples/train.yml"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/data_path/),
  });
  // What weights are called stays the same; a folder's files can be others by now too.
  const retrained = await q3c([...line, "dense_init_scale=3"]);
  expect(retrained).toMatchObject({
    code: 1,
    err: expect.stringMatching(/another run: weights_sha256 was "/),
  });
  const other = await q3c([...line, "--scoring=generation"]);
  expect(other).toMatchObject({
    code: 1,
    err: expect.stringMatching(/scoring was "likelihood", and is "generation"/),
  });
  expect(await q3c([...line, "--scoring=x"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--scoring must/),
  });
  expect(await q3c([...line, "--limit=0"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--limit must be/),
  });
});
