// Against Hugging Face transformers: logits, hidden states, gradients, training curves, greedy continuation.
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { forwardModel } from "../../compiler/model.ts";
import { openSafetensors } from "../../runtime/checkpoint/safetensors.ts";
import { continueGreedily } from "../../runtime/decode/generate.ts";
import { openGenerator } from "../../runtime/decode/generator.ts";
import type { Engine } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
import { openTrainer } from "../../runtime/train/trainer.ts";
import {
  batchOf,
  configOf,
  goldenDirectories,
  gradientErrors,
  readGreedy,
  readLogits,
  readTrain,
  relativeError,
} from "./golden.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await startTfjsEngine();
});

const forwardOf = (dir: string, taps: string[] = [], ...overrides: string[]) => {
  const config = configOf(dir, ...overrides);
  const { params } = forwardModel(config);
  return openForward(config, engine, startingWeights(config, params), taps);
};

describe.each(goldenDirectories())("%s", (dir) => {
  test.each([
    ["chunked", true],
    ["chunked", false],
    ["recurrent", true],
    ["recurrent", false],
  ])("logits, %s rule, sparse_matmul=%s", (rule, sparse) => {
    const forward = forwardOf(dir, [], `gated_delta_rule=${rule}`, `sparse_matmul=${sparse}`);
    for (const { tokens, logits } of readLogits(dir))
      expect(relativeError(forward.run(tokens).logits, logits)).toBeLessThanOrEqual(5e-5);
    forward.release();
  });

  test("hidden states of every layer", () => {
    const golden = openSafetensors(join(dir, "layers.safetensors"));
    const tokens = [...golden.readNumbers("tokens")];
    const states = [...golden.entries.keys()].filter((name) => name.startsWith("hidden.")).length;
    const forward = forwardOf(dir, ["hidden", "normed"]);
    const { taps } = forward.run(tokens);
    // transformers norms the last one: the taps hold every layer's output and then the normed one.
    const ours = [...taps.slice(0, states - 1), taps.at(-1)!];
    ours.forEach((state, i) => {
      expect(relativeError(state, golden.read(`hidden.${i}`))).toBeLessThanOrEqual(1e-4);
    });
    golden.close();
    forward.release();
  });

  test("gradients and the training curve", () => {
    const config = configOf(dir);
    const { batches, order, curve } = readTrain(dir);
    const trainer = openTrainer(config, engine, (params) => startingWeights(config, params));
    const errors = gradientErrors(dir, trainer.params, trainer.gradients([batchOf(batches[0]!)]));
    // A gradient that is zero in exact arithmetic (top-1 routing with normalised weights) has no relative error.
    const counted = errors.filter(({ size }) => size > 1e-7).sort((a, b) => a.relative - b.relative);
    expect(counted.filter(({ relative }) => relative > 1e-3)).toEqual([]);
    expect(counted[counted.length >> 1]!.relative).toBeLessThanOrEqual(1e-4);
    const losses = order.map((index) => trainer.step([batchOf(batches[index]!)]));
    losses.forEach(({ loss, gradNorm }, i) => {
      expect([i, Math.abs(loss / curve[i]!.loss - 1) <= 1e-3]).toEqual([i, true]);
      if (i === 0) expect(Math.abs(gradNorm / curve[i]!.grad_norm - 1)).toBeLessThanOrEqual(1e-4);
    });
    trainer.release();
  });

  test("greedy continuation", () => {
    const { prompt, greedy } = readGreedy(dir);
    const config = configOf(dir);
    const weights = startingWeights(config, forwardModel(config).params);
    const length = prompt.length + greedy.length;
    const generator = openGenerator(config, engine, weights, { length });
    expect(continueGreedily(generator, prompt, greedy.length)).toEqual(greedy);
    generator.release();
  });
});
