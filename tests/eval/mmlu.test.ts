// MMLU: files, prompts, scores and figures, held against lm-evaluation-harness where it has them.
import * as fs from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import type { Generator } from "../../runtime/decode/generator.ts";
import { greedy } from "../../runtime/decode/sampling.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { logSumExp } from "../../runtime/eval/log-softmax.ts";
import { CATEGORIES, categoryOf } from "../../runtime/eval/mmlu/categories.ts";
import { ask, digestOf, evaluate, type Judge } from "../../runtime/eval/mmlu/evaluate.ts";
import { answerIn, byGeneration } from "../../runtime/eval/mmlu/generation.ts";
import { byLikelihood } from "../../runtime/eval/mmlu/likelihood.ts";
import { DEFAULT_TEMPLATE, wordingOf } from "../../runtime/eval/mmlu/prompt.ts";
import { questionOf } from "../../runtime/eval/mmlu/question.ts";
import { readMmlu, type Subject } from "../../runtime/eval/mmlu/read.ts";
import { mmluLines, mmluReport } from "../../runtime/eval/mmlu/report.ts";
import { type Answered, fileResults, memoryResults } from "../../runtime/eval/mmlu/results.ts";
import { accuracyOf, pooledAccuracy, wilson } from "../../runtime/eval/mmlu/statistics.ts";
import { openModel } from "../../runtime/eval/open-model.ts";
import type { Reading } from "../../runtime/eval/reading.ts";
import { openScorer } from "../../runtime/eval/score.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
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

const VOCAB = 5;

/** Logits [tokens, vocab] that follow from all tokens up to each, as a causal model's do. */
function fakeLogits(tokens: readonly number[]): Float32Array {
  let state = 7;
  return Float32Array.from(
    tokens.flatMap((token) => {
      state = (state * 31 + token) % 1009;
      return Array.from({ length: VOCAB }, (_, id) => ((state * (id + 3)) % 97) / 10);
    }),
  );
}

/** A model of these, and how many tokens it has read so far. `rounding` tells apart how texts were cut for reading. */
function fakeModel(vocab = VOCAB, logitsOf = fakeLogits, rounding = 0) {
  const seen = { tokens: 0, peeks: [] as (readonly number[])[] };
  const begin = (): Reading => {
    let here: readonly number[] = [];
    let cuts = 0;
    const peek = (tokens: readonly number[], wanted = 1): Float32Array => {
      seen.tokens += tokens.length;
      seen.peeks.push([...here, ...tokens]);
      const all = logitsOf([...here, ...tokens]).map((x, i) => x + (i % 3) * rounding * (cuts + here.length));
      return all.slice(-wanted * vocab);
    };
    const read = (tokens: readonly number[], wanted = 1): Float32Array => {
      const logits = peek(tokens, wanted);
      here = [...here, ...tokens];
      cuts++;
      return logits;
    };
    return { read, peek, close() {} };
  };
  return { vocab, canCut: true, begin, seen };
}

describe("scores", () => {
  const ids = fc.array(fc.nat(VOCAB - 1), { minLength: 1, maxLength: 6 });
  const beginnings = fc.array(fc.array(fc.nat(VOCAB - 1), { minLength: 17, maxLength: 40 }), {
    minLength: 1,
  });

  const question = fc.tuple(fc.nat(2), ids, fc.array(ids, { minLength: 1, maxLength: 5 }));
  const itemsOf = (
    start: readonly number[],
    text: readonly number[],
    answers: readonly (readonly number[])[],
  ) => {
    const context = [...start, ...text];
    const [from, shared] = [context.length, start.length];
    return answers.map((answer) => ({ tokens: [...context, ...answer], from, shared }));
  };

  test("answers share runs and questions share beginnings, and all score as the chain rule says", () => {
    fc.assert(
      fc.property(beginnings, fc.array(question, { maxLength: 6 }), (starts, questions) => {
        const scorer = openScorer(fakeModel());
        for (const [which, text, answers] of questions) {
          const items = itemsOf(starts[which % starts.length] ?? [], text, answers);
          const shared = scorer.logLikelihoods(items);
          for (const [i, { tokens, from }] of items.entries()) {
            // The chain rule: an answer's likelihood is the product of its tokens'.
            const logits = fakeLogits(tokens);
            let sum = 0;
            for (let at = from; at < tokens.length; at++) {
              const row = logits.slice((at - 1) * VOCAB, at * VOCAB);
              sum += row[tokens[at]!]! - Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
            }
            expect(shared[i]).toBeCloseTo(sum, 9);
          }
        }
      }),
    );
  });

  test("scores are the same to the bit whatever was read before, so that a run that goes on differs in nothing", () => {
    fc.assert(
      fc.property(beginnings, fc.array(question, { maxLength: 6 }), (starts, questions) => {
        const together = openScorer(fakeModel(VOCAB, fakeLogits, 1e-3));
        for (const [which, text, answers] of questions) {
          const items = itemsOf(starts[which % starts.length] ?? [], text, answers);
          const alone = openScorer(fakeModel(VOCAB, fakeLogits, 1e-3));
          expect(together.logLikelihoods(items)).toEqual(alone.logLikelihoods(items));
        }
      }),
    );
  });

  test("four answers of one token to ten questions below the same examples: the examples are read once", () => {
    const model = fakeModel();
    const scorer = openScorer(model);
    const examples = Array.from({ length: 100 }, (_, i) => (i * i) % VOCAB);
    for (let i = 0; i < 10; i++)
      scorer.logLikelihoods(itemsOf(examples, [i % 2, 3, 1], [[0], [1], [2], [3]]));
    expect(model.seen.tokens).toBe(100 + 10 * 3);
    // Where experts drop tokens, what is read together counts.
    const whole = fakeModel();
    openScorer({ ...whole, canCut: false }).logLikelihoods(itemsOf(examples, [1], [[0]]));
    expect(whole.seen.peeks.map(({ length }) => length)).toEqual([101]);
  });
});

const small = [
  "examples/train.yml",
  ..."base_emb_dim=16 head_dim=8 gdn_key_head_dim=8 gdn_value_head_dim=8 base_moe_mlp_dim=8 base_mlp_dim=8 base_num_decoder_layers=2 inhomogeneous_layer_cycle_interval=2".split(
    " ",
  ),
  "max_target_length=96",
];
const config = loadConfig(small, { env: {}, cwd: process.cwd(), modelsDir: join(process.cwd(), "models") });

describe("a model", () => {
  test("scores are those of the forward program, whatever was read before", async () => {
    const engine = await startTfjsEngine();
    const model = openModel(config, engine, process.cwd());
    const { params } = forwardModel(config);
    const forward = openForward(config, engine, startingWeights(config, params));
    const scorer = openScorer(model);
    for (const text of ["Which of them is it, and why? A", "Which of them is it, and when? B", "Which? C"]) {
      const tokens = byteTokenizer.encode(text);
      const { logits, vocab } = forward.run(tokens);
      const row = logits.subarray((tokens.length - 2) * vocab, (tokens.length - 1) * vocab);
      const [score] = scorer.logLikelihoods([{ tokens, from: tokens.length - 1, shared: 5 }]);
      expect(score).toBeCloseTo(row[tokens.at(-1)!]! - logSumExp(row), 5);
    }
    scorer.close();
  });

  test("a prompt that is too long loses its beginning, as lm-evaluation-harness cuts it", () => {
    const question = subjects[0]!.test[1]!;
    const model = fakeModel(256, (tokens) => new Float32Array(tokens.length * 256));
    const judge = byLikelihood(openScorer(model), { ...byteTokenizer, maxTokens: 10 });
    // Two bytes a letter: " A"; the last is not read.
    const verdict = judge({ start: "01234", end: "56789 Answer:" }, question);
    expect(verdict).toMatchObject({ chosen: 0, truncated: 10 });
    expect(byteTokenizer.decode(model.seen.peeks[0]!)).toBe(" Answer: ".slice(-9));
    expect(model.seen.peeks).toHaveLength(1);
    const none = byLikelihood(openScorer(fakeModel()), { ...byteTokenizer, maxTokens: 2 });
    expect(failure(() => none({ start: "", end: "x:" }, question)).message).toMatch(
      /leaves room for 2 tokens, and the answer ` A` alone takes 2/,
    );
  });

  test("broken weights are an error, not an answer", () => {
    const model = fakeModel(256, (tokens) => new Float32Array(tokens.length * 256).fill(Number.NaN));
    const judge = byLikelihood(openScorer(model), { ...byteTokenizer, maxTokens: 1000 });
    expect(failure(() => judge({ start: "", end: "Answer:" }, subjects[0]!.test[0]!)).code).toBe(
      "mmlu-not-finite",
    );
  });
});

describe("answers that the model writes", () => {
  const letters = ["A", "B", "C", "D"];
  const prompt = "Question?\nA. Answer: D\nAnswer:";

  test.each([
    [" B", 1],
    ["\n\nC. the third", 2],
    // MaxText takes this `a` for an answer, and a wrong one.
    [" a dog", undefined],
    [" b", undefined],
    [" a dog. The answer is C", 2],
    [" I say: the ANSWER is\nD", 3],
    [" E or F. answer:B", 1],
    [" The answer", undefined],
    ["", undefined],
  ])("after a prompt that ends in `Answer:`, %j is %p", (output, index) => {
    expect(answerIn(prompt, output, letters)).toBe(index);
  });

  test("what stands in the prompt is no answer", () => {
    expect(answerIn("Answer: A\n\nWell, let us think.", " B", letters)).toBeUndefined();
    expect(answerIn("Answer: A\n\nWell, let us think.", " The answer is B", letters)).toBe(1);
    expect(answerIn("Answer:", " D", ["A", "B"])).toBeUndefined();
  });

  /** A model that writes a text whatever it reads. */
  function writer(text: string) {
    const written = [...byteTokenizer.encode(text), 0];
    const fed: number[][] = [];
    const generator: Generator = {
      vocab: 256,
      length: 100,
      chunk: 100,
      start: () => ({ lengths: [0] }),
      feed({ lengths: [length = 0] }, [row = []]) {
        fed.push([...row]);
        const logits = new Float32Array(256);
        logits[written[fed.length - 1] ?? 0] = 9;
        return { sequences: { lengths: [length + row.length] }, logits: [logits], taps: [] };
      },
      drop() {},
      release() {},
    };
    const { encode } = byteTokenizer;
    const allowed = new Uint8Array(256).fill(1);
    const model = { generator, tokenizer: byteTokenizer, stops: new Set([0]), encode, allowed };
    return { model, fed };
  }
  const question = { subject: "anatomy", question: "?", choices: ["1", "2", "3", "4"], answer: 0 };
  const options = { sampling: greedy, seed: 0, maxPrompt: 10, maxTokens: 30 };

  test("the model writes until a letter can be read, the text ends, or there is no room", async () => {
    const long = { start: "01234", end: "56789 Answer:" };
    const short = { start: "", end: "Answer:" };
    const { model, fed } = writer("\n\nB, I think");
    expect(await byGeneration(model, options)(long, question)).toEqual({
      chosen: 1,
      truncated: 8,
      output: "\n\nB",
    });
    expect(byteTokenizer.decode(fed[0]!)).toBe("89 Answer:");
    const ended = await byGeneration(writer("none").model, options)(short, question);
    expect(ended).toEqual({ chosen: null, truncated: 0, output: "none" });
    const endless = await byGeneration(writer("x".repeat(90)).model, options)(short, question);
    expect(endless).toEqual({ chosen: null, truncated: 0, output: "x".repeat(23) });
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
