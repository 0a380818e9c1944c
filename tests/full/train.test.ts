// The README's first command, shortened: the loss falls, the checkpoint is whole and gives the same logits.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { openEngine } from "../../runtime/engines/open.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
import { train } from "../../runtime/train/train.ts";
import { scratch } from "../support/scratch.ts";

const load = (...args: string[]) =>
  loadConfig(args, { env: {}, cwd: process.cwd(), modelsDir: resolve("models") });

test("examples/train.yml learns, saves and samples", async () => {
  const out = scratch();
  const config = load(
    "examples/train.yml",
    "steps=60",
    `base_output_directory=${out}`,
    "run_name=a",
    `metrics_file=${out}/metrics.jsonl`,
  );
  const engine = await openEngine(config);
  let sample = "";
  const result = await train(config, engine, {
    cwd: process.cwd(),
    breathe: async () => {},
    on(event) {
      if (event.kind === "sample") sample = event.text;
    },
  });
  const metrics = readFileSync(join(out, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(metrics).toHaveLength(60);
  expect(Math.abs(metrics[0]["learning/lm_loss"] - Math.log(256))).toBeLessThan(0.3);
  expect(result.loss).toBeLessThan(2.5);
  expect(sample.length).toBeGreaterThan(20);
  expect(readdirSync(result.directory!)).toEqual(["config.json", "model.safetensors"]);

  const again = load("base", `model_name=${result.directory!}`);
  const weights = startingWeights(again, forwardModel(again).params);
  const forward = openForward(again, engine, weights);
  const text = [...Buffer.from("export interface ")];
  const { logits, vocab } = forward.run(text);
  expect(vocab).toBe(256);
  expect(logits.every(Number.isFinite)).toBe(true);
  forward.release();
}, 600_000);
