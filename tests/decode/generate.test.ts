// Answers: where they end, and that rows do not see each other.
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type GenerateOptions, generate, type Token } from "../../runtime/decode/generate.ts";
import type { Generator } from "../../runtime/decode/generator.ts";
import { greedy } from "../../runtime/decode/sampling.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { logSumExp } from "../../runtime/eval/log-softmax.ts";
import { configOf } from "../reference/golden.ts";
import { feedParts, generatorOf, tokensFrom } from "./support.ts";

let generator: Generator;
beforeAll(async () => {
  generator = generatorOf(configOf("tests/goldens/qwen3-dense"), await startTfjsEngine(), { length: 40 });
});
afterAll(() => generator.release());

const options: GenerateOptions = { sampling: greedy, seed: 3, most: 8, stops: new Set() };
const weighted = { ...options, sampling: { ...greedy, strategy: "weighted" } } as const;
const idsOf = (tokens: readonly Token[], row = 0): number[] =>
  tokens.filter((token) => token.row === row).map(({ id }) => id);

const prompts = [5, 1, 12].map((count, i) => tokensFrom(i, count, 89));

test.each([
  ["greedy", options],
  ["weighted", weighted],
])("a row's answer is what it is alone: %s", (_name, how) => {
  const together = [...generate(generator, prompts, how)];
  // The first row draws from the same random numbers as it would alone.
  expect(idsOf(together)).toEqual(idsOf([...generate(generator, [prompts[0]!], how)]));
  if (how === options)
    prompts.forEach((prompt, row) => {
      expect(idsOf(together, row)).toEqual(idsOf([...generate(generator, [prompt], how)]));
    });
  expect(together.filter(({ end }) => end === "length")).toHaveLength(3);
});

test("an answer ends with the first end-of-text, and the others go on", () => {
  const plain = [...generate(generator, prompts, weighted)];
  const stop = idsOf(plain, 1)[3]!;
  const stopped = [...generate(generator, prompts, { ...weighted, stops: new Set([stop]) })];
  prompts.forEach((_, row) => {
    const whole = idsOf(plain, row);
    const until = whole.indexOf(stop);
    expect(idsOf(stopped, row)).toEqual(until < 0 ? whole : whole.slice(0, until + 1));
    const last = stopped.filter((token) => token.row === row).at(-1)!;
    expect(last.end).toBe(until < 0 ? "length" : "stop");
  });
});

test("log probabilities are the model's, of prompt and answer", () => {
  const scored: number[] = [];
  const [prompt] = prompts;
  const tokens = [
    ...generate(generator, [prompt!], {
      ...weighted,
      onPrompt: (_row, logits) => void scored.push(...logits),
    }),
  ];
  const all = [...prompt!, ...idsOf(tokens)];
  const { logits, sequences } = feedParts(generator, [all], true);
  generator.drop(sequences);
  const { vocab } = generator;
  expect(scored).toHaveLength(prompt!.length * vocab);
  scored.forEach((x, i) => {
    expect(Math.abs(x - logits[i]!)).toBeLessThan(1e-4);
  });
  tokens.forEach(({ id, logProb }, i) => {
    const start = (prompt!.length + i - 1) * vocab;
    const before = logits.subarray(start, start + vocab);
    expect(Math.abs(logProb - (before[id]! - logSumExp(before)))).toBeLessThan(1e-4);
  });
});

test("who stops asking, and an answer that does not fit, leave nothing behind", () => {
  for (const _token of generate(generator, prompts, options)) break;
  expect(() => [...generate(generator, [tokensFrom(1, 38, 89)], options)]).toThrow("there is room for 40");
  expect(() => [...generate(generator, [[]], options)]).toThrow("the prompt has no tokens");
  expect([...generate(generator, prompts, { ...options, most: 0 })]).toEqual([]);
});
