// What a training step tells about experts.
import { expect, test } from "@jest/globals";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { initialWeights } from "../../runtime/train/init.ts";
import { stepLine } from "../../runtime/train/report.ts";
import { routingOf } from "../../runtime/train/routing.ts";
import { openTrainer } from "../../runtime/train/trainer.ts";
import { configOf, smallest } from "../remat/models.ts";
import { randomFrom } from "../support/random.ts";

const engine = await startTfjsEngine("wasm");

/** One step of a small model on random tokens. */
function stepOf(...overrides: string[]) {
  const config = smallest("base_num_decoder_layers=2", "inhomogeneous_layer_cycle_interval=2", ...overrides);
  const {
    micro_batch_size_to_train_on: rows,
    gradient_accumulation_steps: count,
    max_target_length: length,
  } = config.values;
  const random = randomFrom(2);
  const tokens = () => Int32Array.from({ length: rows * length }, () => Math.floor(random() * 16));
  const trainer = openTrainer(config, engine, (params) => initialWeights(params, 1));
  const report = trainer.step(
    Array.from({ length: count }, () => ({
      rows,
      length,
      inputs: tokens(),
      targets: tokens(),
      weights: new Float32Array(rows * length).fill(1),
    })),
  );
  trainer.release();
  const { scalars, tables } = routingOf(report, config);
  return { report, scalars, counts: tables["moe/tokens_per_expert"]! };
}

const total = (layers: readonly (readonly number[])[]): number => layers.flat().reduce((n, x) => n + x, 0);

test.each(["sparse_matmul=true", "sparse_matmul=false"])(
  "%s: every choice is counted, over micro batches too",
  (flag) => {
    const { counts, scalars, report } = stepOf(
      flag,
      "per_device_batch_size=3",
      "gradient_accumulation_steps=2",
      "load_balance_loss_weight=0.25",
    );
    expect(counts.map((layer) => layer.length)).toEqual([4, 4]);
    // Two choices of 2 x 3 sequences of 6 tokens.
    for (const layer of counts) expect(total([layer])).toBe(72);
    expect(scalars["moe/dropped_share"]).toBe(0);
    const busiest = Math.max(...counts.flat()) / 18;
    expect(scalars["moe/busiest_expert_load"]).toBeCloseTo(busiest, 12);
    const balance = scalars["moe/load_balance_loss"]!;
    // Perfect balance is k = 2.
    expect(balance).toBeGreaterThan(1.9);
    expect(balance).toBeLessThan(2.5);
    expect(scalars["learning/moe_lb_loss"]).toBeCloseTo(balance / 4, 12);
    expect(report.loss - report.metrics.lm_loss![0]!).toBeCloseTo(balance / 4, 5);
  },
);

test("what is dropped is the share of choices that nobody computed", () => {
  const { counts, scalars } = stepOf("sparse_matmul=false", "capacity_factor=0.4", "per_device_batch_size=3");
  // ceil(6 * 2 / 4) * 0.4 = 1.2: one token of a sequence for each expert.
  for (const layer of counts) for (const count of layer) expect(count).toBeLessThanOrEqual(3);
  const share = 1 - total(counts) / (2 * 36);
  expect(share).toBeGreaterThan(0.6);
  expect(scalars["moe/dropped_share"]).toBeCloseTo(share, 12);
  expect(stepLine(0, scalars)).toMatch(
    new RegExp(`moe_lb_loss: 0.000000, dropped: ${(100 * share).toFixed(2)}%$`),
  );
});

test("a model without experts tells nothing of them", () => {
  const config = configOf("qwen3-0.6b");
  const report = { metrics: { loss: [1] }, loss: 1, gradNorm: 1, learningRate: 1, totalWeights: 1 };
  expect(routingOf(report, config)).toEqual({ scalars: {}, tables: {} });
});
