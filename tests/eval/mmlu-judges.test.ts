// How a model's answers to questions of MMLU are taken: by likelihood, and from what it writes.
import { describe, expect, test } from "@jest/globals";
import type { Generator } from "../../runtime/decode/generator.ts";
import { greedy } from "../../runtime/decode/sampling.ts";
import { answerIn, byGeneration } from "../../runtime/eval/mmlu/generation.ts";
import { byLikelihood } from "../../runtime/eval/mmlu/likelihood.ts";
import { openScorer } from "../../runtime/eval/score.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { failure } from "../checkpoint/support.ts";
import { fakeModel } from "./models.ts";

const question = { subject: "anatomy", question: "?", choices: ["1", "2", "3", "4"], answer: 0 };

describe("by likelihood", () => {
  test("a prompt that is too long loses its beginning, as lm-evaluation-harness cuts it", () => {
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
    expect(failure(() => judge({ start: "", end: "Answer:" }, question)).code).toBe("mmlu-not-finite");
  });
});

describe("from what the model writes", () => {
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
