// Log likelihoods of the ends of texts: by the chain rule, and the same whatever is read beside them.
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { logSumExp } from "../../runtime/eval/log-softmax.ts";
import { openModel } from "../../runtime/eval/open-model.ts";
import { openScorer } from "../../runtime/eval/score.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { fakeLogits, fakeModel, small, VOCAB } from "./models.ts";

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
  for (let i = 0; i < 10; i++) scorer.logLikelihoods(itemsOf(examples, [i % 2, 3, 1], [[0], [1], [2], [3]]));
  expect(model.seen.tokens).toBe(100 + 10 * 3);
  // Where experts drop tokens, what is read together counts.
  const whole = fakeModel();
  openScorer({ ...whole, canCut: false }).logLikelihoods(itemsOf(examples, [1], [[0]]));
  expect(whole.seen.peeks.map(({ length }) => length)).toEqual([101]);
});

test("scores are those of the forward program, whatever was read before", async () => {
  const places = { env: {}, cwd: process.cwd(), modelsDir: join(process.cwd(), "models") };
  const config = loadConfig(small, places);
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
