// MMLU: files, prompts, scores and figures, held against lm-evaluation-harness where it has them.
import * as fs from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadConfig } from "../../compiler/config/load.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { CATEGORIES, categoryOf } from "../../runtime/eval/mmlu/categories.ts";
import { ask, digestOf, evaluate, type Judge } from "../../runtime/eval/mmlu/evaluate.ts";
import { byLikelihood } from "../../runtime/eval/mmlu/likelihood.ts";
import { DEFAULT_TEMPLATE, promptsOf } from "../../runtime/eval/mmlu/prompt.ts";
import { questionOf } from "../../runtime/eval/mmlu/question.ts";
import { readMmlu, type Subject } from "../../runtime/eval/mmlu/read.ts";
import { mmluLines, mmluReport } from "../../runtime/eval/mmlu/report.ts";
import { type Answered, fileResults, memoryResults } from "../../runtime/eval/mmlu/results.ts";
import { accuracyOf, pooledAccuracy, wilson } from "../../runtime/eval/mmlu/statistics.ts";
import { openModel } from "../../runtime/eval/open-model.ts";
import { logLikelihoods, logProbability, paddedLength, padding } from "../../runtime/eval/score.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { failure } from "../checkpoint/support.ts";
import { q3c } from "../cli/support.ts";
import { scratch } from "../support/scratch.ts";

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
    ["a_test.csv", "q,1,2,3,4,A\nq,1,2\n", /a_test\.csv:2:1: expected 6 fields, found 3/],
    ["a_test.csv", "q,1,2,3,4,E\n", /a_test\.csv:1:1: expected the answer .* of 4 choices, found "E"/],
    [
      "test.jsonl",
      '\n{"question":"q","choices":["a"],"answer":0}',
      /test\.jsonl:2:1: expected 2 to 26 choices, found 1/,
    ],
    ["test.jsonl", '{"choices":["a","b"],"answer":0}', /expected the question to be text, found none/],
    ["test.jsonl", '{"question":"q","choices":["a",3],"answer":0}', /expected choice B to be text, found 3/],
    ["test.jsonl", '{"question":"q","choices":["a","b"],"answer":-1}', /found -1/],
    ["test.jsonl", "[1]", /test\.jsonl:1:1: expected a JSON object/],
    ["dev.jsonl", '{"question":"q","choices":["a","b"],"answer":0}', /there are no test questions here/],
    ["notes.txt", "", /expected files in \.parquet, \.csv, \.jsonl, found none/],
  ])("what is wrong in %s is said: %#", async (name, text, says) => {
    await expect(readMmlu(folderOf({ [name]: text }), "/")).rejects.toThrow(says);
  });
});

test.each([0, 2])("prompts with %d examples are lm-evaluation-harness's", (shots) => {
  const prompt = promptsOf(DEFAULT_TEMPLATE);
  const ours: Record<string, string[]> = {};
  for (const asked of ask(subjects, { prompt, shots })) {
    const { subject } = asked.question;
    ours[subject] = [...(ours[subject] ?? []), asked.prompt];
  }
  expect(ours).toEqual(expected.prompts[shots]);
});

test("a template of one's own, and one without a question", () => {
  const [question, example] = [0, 1].map((answer) =>
    questionOf({ values: { question: "{choices}", choices: ["x", "y"], answer }, place: () => "" }, "a_b"),
  );
  const prompt = promptsOf("On {subject}: {question}\n{choices}\nSo:");
  expect(prompt(question!, [example!])).toBe(
    "On a b: {choices}\nA. x\nB. y\nSo: B\n\n{choices}\nA. x\nB. y\nSo:",
  );
  expect(failure(() => promptsOf("{choices}")).code).toBe("mmlu-template");
});

test("examples and limits are counted for each subject", () => {
  const prompt = promptsOf(DEFAULT_TEMPLATE);
  expect(
    [...ask(subjects, { prompt, shots: 0, limit: 2 })].map(({ question, index }) => [
      question.subject,
      index,
    ]),
  ).toEqual(
    subjects.flatMap(({ name }) => [
      [name, 0],
      [name, 1],
    ]),
  );
  expect(failure(() => [...ask(subjects, { prompt, shots: 5 })]).message).toMatch(
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

/** Logits of a position that follow from the tokens up to it, as a causal model's do. */
const fakeRun = (tokens: readonly number[]) => {
  const vocab = 5;
  const logits = new Float32Array(tokens.length * vocab);
  let state = 7;
  for (const [i, token] of tokens.entries()) {
    state = (state * 31 + token) % 1009;
    for (let id = 0; id < vocab; id++) logits[i * vocab + id] = ((state * (id + 3)) % 97) / 10;
  }
  return { logits, vocab };
};

describe("scores", () => {
  const ids = fc.array(fc.nat(4), { minLength: 1, maxLength: 6 });

  test("answers to one question share runs, and score as each alone", () => {
    fc.assert(
      fc.property(ids, fc.array(ids, { minLength: 1, maxLength: 5 }), (context, answers) => {
        const items = answers.map((answer) => ({ tokens: [...context, ...answer], from: context.length }));
        let runs = 0;
        const shared = logLikelihoods((tokens) => {
          runs++;
          return fakeRun(tokens);
        }, items);
        expect(shared).toEqual(items.map((item) => logLikelihoods(fakeRun, [item])[0]));
        if (answers.every((answer) => answer.length === 1)) expect(runs).toBe(1);
        // Chain rule: an answer's likelihood is the product of its tokens'.
        const [item] = items;
        const parts = item!.tokens.slice(item!.from).map((token, i) => {
          const before = item!.tokens.slice(0, item!.from + i);
          return logProbability(fakeRun(before), before.length - 1, token);
        });
        expect(shared[0]).toBeCloseTo(
          parts.reduce((a, b) => a + b),
          9,
        );
      }),
    );
  });

  test("lengths are padded to a few sizes, and by little", () => {
    const sizes = new Set(Array.from({ length: 4096 }, (_, i) => paddedLength(i + 1)));
    expect(sizes.size).toBeLessThanOrEqual(32);
    for (const n of [1, 16, 17, 64, 65, 100, 1000, 2048, 4095]) {
      expect(paddedLength(n)).toBeGreaterThanOrEqual(n);
      expect(paddedLength(n) - n).toBeLessThan(Math.max(16, n / 4));
    }
  });
});

const small = [
  "examples/train.yml",
  ..."base_emb_dim=16 head_dim=8 gdn_key_head_dim=8 gdn_value_head_dim=8 base_moe_mlp_dim=8 base_mlp_dim=8".split(
    " ",
  ),
  "max_target_length=96",
];
const config = loadConfig(small, { env: {}, cwd: process.cwd(), modelsDir: join(process.cwd(), "models") });

describe("a model", () => {
  test("padding changes no score", async () => {
    const { run } = openModel(config, await startTfjsEngine(), process.cwd());
    const tokens = byteTokenizer.encode("Which of them is it, and why?");
    const padded = run(tokens);
    const vocab = padded.vocab;
    // Ids of the padding itself must not matter either.
    const other = padding((ids) =>
      run([...ids.slice(0, tokens.length), ...ids.slice(tokens.length).map(() => 9)]),
    )(tokens);
    for (let i = 0; i < tokens.length * vocab; i++) expect(other.logits[i]).toBeCloseTo(padded.logits[i]!, 5);
  });

  test("a prompt that is too long loses its beginning, as lm-evaluation-harness cuts it", () => {
    const question = subjects[0]!.test[1]!;
    const seen: (readonly number[])[] = [];
    const judge = byLikelihood(
      (tokens) => {
        seen.push(tokens);
        return { logits: new Float32Array(tokens.length * 256), vocab: 256 };
      },
      { tokenizer: byteTokenizer, addBos: true, maxTokens: 10 },
    );
    // Two bytes a letter: " A"; the last is not read.
    const verdict = judge("0123456789 Answer:", question);
    expect(verdict).toMatchObject({ chosen: 0, truncated: 10 });
    expect(byteTokenizer.decode(seen[0]!)).toBe(" Answer: ".slice(-9));
    expect(seen).toHaveLength(1);
    const none = byLikelihood(fakeRun, { tokenizer: byteTokenizer, addBos: false, maxTokens: 2 });
    expect(failure(() => none("x:", question)).message).toMatch(
      /leaves room for 2 tokens, and the answer ` A` alone takes 2/,
    );
  });

  test("broken weights are an error, not an answer", () => {
    const judge = byLikelihood(
      (tokens) => ({ logits: new Float32Array(tokens.length * 256).fill(Number.NaN), vocab: 256 }),
      { tokenizer: byteTokenizer, addBos: false, maxTokens: 1000 },
    );
    expect(failure(() => judge("Answer:", subjects[0]!.test[0]!)).code).toBe("mmlu-not-finite");
  });
});

describe("results", () => {
  const facts = { num_fewshot: 0, weights: "w" };
  const asked = () => ask(subjects, { prompt: promptsOf(DEFAULT_TEMPLATE), shots: 0 });
  const judge: Judge = (prompt) => ({
    chosen: prompt.length % 4,
    truncated: 0,
    logLikelihoods: [-prompt.length / 7, -1, -2, -3],
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
    expect(failure(() => fileResults(path, facts)).message).toMatch(/r\.jsonl:2:1: expected an answer/);
    fs.writeFileSync(path, "nonsense\n");
    expect(failure(() => fileResults(path, facts)).code).toBe("json-syntax");
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
    expect(mmluLines(report).join("\n")).toMatch(/1 prompts were too long.*\n.*1 answers named no choice/);
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
  expect(digestOf(ask(subjects, { prompt: promptsOf(DEFAULT_TEMPLATE), shots: 0, limit: 2 })).digest).toBe(
    report.questions,
  );
  expect(await q3c(["mmlu", "examples/train.yml"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/data_path/),
  });
  expect(await q3c([...line, "--limit=0"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/--limit must be/),
  });
});
