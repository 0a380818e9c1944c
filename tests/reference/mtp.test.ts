// The multi-token prediction head against an oracle, its way in and out of a checkpoint, and checkpoints that damage it.
import { copyFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { type Config, loadConfig } from "../../compiler/config/load.ts";
import { draftParams, forwardModel } from "../../compiler/model.ts";
import { namesOf } from "../../runtime/checkpoint/layout.ts";
import { openSafetensors, type Safetensors } from "../../runtime/checkpoint/safetensors.ts";
import { type TensorToWrite, writeShardedSafetensors } from "../../runtime/checkpoint/write-safetensors.ts";
import type { Engine } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { compareLogits } from "../../runtime/eval/compare.ts";
import { readGolden } from "../../runtime/eval/golden.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingDraft, startingWeights } from "../../runtime/starting-weights.ts";
import { train } from "../../runtime/train/train.ts";
import { failure } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";
import { draftDirectories } from "./golden.ts";

const GOLDEN = "tests/goldens/mtp";

let engine: Engine;
beforeAll(async () => {
  engine = await startTfjsEngine();
});

const configOf = (dir: string, ...overrides: string[]): Config =>
  loadConfig(["base", `model_name=${resolve(dir)}`, "base_output_directory=unused", ...overrides], {
    env: {},
    cwd: process.cwd(),
    modelsDir: resolve("models"),
  });

const loaded = (config: Config) => startingWeights(config, forwardModel(config).params);

const forwardOf = (config: Config) =>
  openForward(config, engine, new Map([...loaded(config), ...startingDraft(config)!.weights]));

describe.each(draftDirectories())("%s", (dir) => {
  test.each([true, false])("logits of the model and of its head, sparse_matmul=%s", (sparse) => {
    const forward = forwardOf(configOf(dir, `sparse_matmul=${sparse}`));
    for (const golden of readGolden(join(dir, "mtp_logits.jsonl"))) {
      const table = golden.kind === "logits" ? forward.run(golden.tokens) : forward.draft(golden.tokens);
      const { relativeL2, maxKl } = compareLogits(table, golden, { rtol: 0 });
      expect(relativeL2).toBeLessThanOrEqual(5e-5);
      expect(maxKl.value).toBeLessThanOrEqual(1e-9);
    }
    forward.release();
  });
});

/** The golden with its tensors changed, in a directory of its own. */
function changed(
  change: (tensors: readonly TensorToWrite[], checkpoint: Safetensors) => readonly TensorToWrite[],
): string {
  const out = scratch();
  const checkpoint = openSafetensors(GOLDEN);
  const tensors = [...checkpoint.entries.values()].map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
    bytes: () => checkpoint.readRaw(name),
  }));
  writeShardedSafetensors(out, change(tensors, checkpoint));
  checkpoint.close();
  copyFileSync(join(GOLDEN, "config.json"), join(out, "config.json"));
  return out;
}

const without = (...names: string[]) =>
  changed((tensors) => tensors.filter(({ name }) => !names.some((start) => name.startsWith(start))));

test("without mtp.* there is no head, and the model is the same", () => {
  const config = configOf(without("mtp."));
  expect(startingDraft(config)).toBeUndefined();
  expect([...loaded(config)]).toEqual([...loaded(configOf(GOLDEN))]);
});

test("the model's parameters are those of a checkpoint without a head", () => {
  const config = configOf(GOLDEN);
  const own = forwardModel(config).params.flatMap(({ origins }) => namesOf(origins[0]!));
  expect(own.filter((name) => name.startsWith("mtp."))).toEqual([]);
  const head = draftParams(config).flatMap(({ origins }) => namesOf(origins[0]!));
  const checkpoint = openSafetensors(GOLDEN);
  expect([...own, ...head].sort()).toEqual([...checkpoint.entries.keys()].sort());
  checkpoint.close();
});

test("a head in part is an error that names what is missing, wherever it is loaded", () => {
  const dir = without("mtp.fc.", "mtp.layers.0.mlp.experts.1.up_proj");
  const message = `${dir}: tensor-missing: tensor \`mtp.fc.weight\` is missing from the checkpoint
${dir}: tensor-missing: tensor \`mtp.layers.0.mlp.experts.1.up_proj.weight\` is missing from the checkpoint`;
  expect(failure(() => startingDraft(configOf(dir))).message).toBe(message);
  expect(failure(() => loaded(configOf(dir))).message).toBe(message);
});

test("a head of two layers is refused, not cut off", () => {
  const dir = changed((tensors) => [
    ...tensors,
    ...tensors
      .filter(({ name }) => name === "mtp.layers.0.input_layernorm.weight")
      .map((tensor) => ({ ...tensor, name: "mtp.layers.1.input_layernorm.weight" })),
  ]);
  expect(failure(() => loaded(configOf(dir)))).toEqual({
    code: "tensor-unexpected",
    message: `${dir}: tensor-unexpected: tensor \`mtp.layers.1.input_layernorm.weight\` in the checkpoint is not part of the model`,
  });
});

test("experts of the head may be fused", () => {
  const experts = "mtp.layers.0.mlp.experts.";
  const dir = changed((tensors, checkpoint) => {
    const all = (...parts: string[]) =>
      Array.from({ length: 4 }, (_, e) =>
        parts.map((part) => checkpoint.readRaw(`${experts}${e}.${part}.weight`)),
      );
    const fused = (name: string, shape: number[], parts: Uint8Array[]): TensorToWrite => ({
      name: `${experts}${name}`,
      dtype: "F32",
      shape,
      bytes: () => parts,
    });
    return [
      ...tensors.filter(({ name }) => !name.startsWith(experts)),
      fused("gate_up_proj", [4, 20, 24], all("gate_proj", "up_proj").flat()),
      fused("down_proj", [4, 24, 10], all("down_proj").flat()),
    ];
  });
  expect([...startingDraft(configOf(dir))!.weights]).toEqual([...startingDraft(configOf(GOLDEN))!.weights]);
});

test("training keeps the head it came with", async () => {
  const out = scratch();
  const data = ["dataset_type=synthetic", "per_device_batch_size=1", "max_target_length=8", "steps=1"];
  const config = configOf(GOLDEN, ...data, `base_output_directory=${out}`, "run_name=a");
  const { directory } = await train(config, engine, {
    cwd: process.cwd(),
    breathe: async () => {},
    on: () => {},
  });
  const [before, after] = [openSafetensors(GOLDEN), openSafetensors(directory!)];
  expect([...after.entries.keys()].sort()).toEqual([...before.entries.keys()].sort());
  const isHead = (name: string): boolean => name.startsWith("mtp.");
  for (const name of before.entries.keys())
    if (isHead(name)) expect(after.readRaw(name)).toEqual(before.readRaw(name));
  expect(after.readRaw("lm_head.weight")).not.toEqual(before.readRaw("lm_head.weight"));
  before.close();
  after.close();
});
