import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "@jest/globals";
import type { Config } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { openOrbax } from "../../runtime/checkpoint/orbax/read.ts";
import { nameOf } from "../../runtime/checkpoint/orbax/tree.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { findLatest } from "../../runtime/train/checkpoints.ts";
import { factLines } from "../../runtime/train/report.ts";
import { type TrainEvent, train } from "../../runtime/train/train.ts";
import { failure } from "../checkpoint/support.ts";
import { smallest } from "../remat/models.ts";
import { scratch } from "../support/scratch.ts";

const engine = await startTfjsEngine("wasm");
const text = join(scratch(), "text");
fs.writeFileSync(
  text,
  "checkpoints are taken along the way, and a run goes on from the latest one. ".repeat(9),
);

// One layer is enough for all that is about files.
const configOf = (out: string, ...overrides: string[]): Config =>
  smallest(
    ...["run_name=r", "steps=6", "base_num_decoder_layers=1", "inhomogeneous_layer_cycle_interval=1"],
    ...["dataset_type=text", `dataset_path=${text}`, "tokenizer_type=byte", "vocab_size=256"],
    ...["gradient_accumulation_steps=2", "enable_data_shuffling=true", "sample_prompt="],
    // Every save waits for the disk.
    "save_checkpoint_on_start=false",
    `base_output_directory=${out}`,
    ...overrides,
  );

/** Runs, and stops with an error right after a step if told to, as a process that ends would. */
async function run(config: Config, stopAfter = Number.POSITIVE_INFINITY) {
  const losses: number[] = [];
  const events: TrainEvent[] = [];
  const stopped = new Error("stopped");
  await train(config, engine, {
    cwd: process.cwd(),
    breathe: async () => {
      if (losses.length > 0 && lastStep(events) === stopAfter) throw stopped;
    },
    on(event) {
      events.push(event);
      if (event.kind === "step") losses.push(event.scalars["learning/loss"]!);
    },
  }).catch((error: unknown) => {
    if (error !== stopped) throw error;
  });
  return { losses, events };
}

const lastStep = (events: readonly TrainEvent[]): number | undefined =>
  events.flatMap((event) => (event.kind === "step" ? [event.step] : [])).at(-1);
const stepsIn = (out: string): string[] => fs.readdirSync(join(out, "r", "checkpoints")).toSorted();
const model = (out: string): Uint8Array =>
  fs.readFileSync(join(out, "r", "hugging_face", "6", "model.safetensors"));

const two = "base_num_decoder_layers=2";
test.each([
  [[two]],
  // Three layers are not a whole number of cycles of two, so each is saved by itself.
  [["base_num_decoder_layers=3", "inhomogeneous_layer_cycle_interval=2", "weight_dtype=bfloat16"]],
  [[two, "checkpoint_storage_use_zarr3=false", "param_scan_axis=0", "mu_dtype=bfloat16"]],
])("a run that was stopped goes on to the same numbers, bit for bit: %j", async (overrides) => {
  const [whole, parts] = [scratch(), scratch()];
  const { losses } = await run(configOf(whole, ...overrides));
  const again = configOf(parts, ...overrides, "checkpoint_period=2");
  const first = await run(again, 3);
  const second = await run(again);
  expect(second.events[0]).toMatchObject({
    kind: "start",
    facts: {
      first_step: 3,
      weights: `resumed at step 3 from ${join(parts, "r", "checkpoints", "2")}`,
    },
  });
  expect([...first.losses.slice(0, 3), ...second.losses]).toEqual(losses);
  expect(new Set(losses).size).toBe(6);
  expect(Buffer.compare(model(whole), model(parts))).toBe(0);
});

test("a run that is over has nothing left to do", async () => {
  const out = scratch();
  await run(configOf(out));
  const before = fs.statSync(join(out, "r", "hugging_face", "6")).mtimeMs;
  const { losses } = await run(configOf(out));
  expect(losses).toEqual([]);
  expect(fs.statSync(join(out, "r", "hugging_face", "6")).mtimeMs).toBe(before);
  const more = await run(configOf(out, "steps=8"));
  expect(more.losses).toHaveLength(2);
  const fewer = await run(configOf(out, "steps=4"));
  expect(fewer.losses).toEqual([]);
  // A model is named by the steps it has taken.
  expect(fs.readdirSync(join(out, "r", "hugging_face"))).toEqual(["6", "8"]);
});

test("a model that is there already is refused before a step is taken that would change it", async () => {
  const out = scratch();
  await run(configOf(out, "steps=1"));
  const file = join(out, "r", "hugging_face", "1", "model.safetensors");
  const before = fs.readFileSync(file);
  fs.rmSync(join(out, "r", "checkpoints"), { recursive: true });
  const steps: number[] = [];
  const again = train(configOf(out, "steps=1", "learning_rate=0.5"), engine, {
    cwd: process.cwd(),
    breathe: async () => {},
    on: (event) => void (event.kind === "step" && steps.push(event.step)),
  });
  const { code, message } = await rejection(again);
  expect([code, message, steps]).toEqual(["checkpoint-exists", expect.stringContaining(dirname(file)), []]);
  expect(Buffer.compare(fs.readFileSync(file), before)).toBe(0);
});

test("a run without a step left says so, and its model is of the steps that were taken", async () => {
  const out = scratch();
  await run(configOf(out, "steps=2"));
  fs.rmSync(join(out, "r", "hugging_face"), { recursive: true });
  const { events } = await run(configOf(out, "steps=1"));
  const lines = events.flatMap((event) => (event.kind === "start" ? factLines(event.facts) : []));
  expect(lines).toContain("nothing is left to train: steps=1, and 2 are taken");
  expect(events.filter(({ kind }) => kind !== "start")).toEqual([
    { kind: "saved", directory: join(out, "r", "hugging_face", "2") },
  ]);
});

test.each([
  [["save_checkpoint_on_start=true"], ["0", "5"]],
  [
    ["checkpoint_period=2", "save_checkpoint_on_completion=false"],
    ["2", "4"],
  ],
  [
    ["checkpoint_period=2", "max_num_checkpoints_to_keep=2", "async_checkpointing=false"],
    ["4", "5"],
  ],
])("%j leaves the steps %j", async (overrides, steps) => {
  const out = scratch();
  await run(configOf(out, ...overrides));
  expect(stepsIn(out)).toEqual(steps);
});

test("without checkpointing nothing is saved and nothing is resumed", async () => {
  const out = scratch();
  await run(configOf(out));
  const { losses } = await run(configOf(out, "enable_checkpointing=false"));
  expect(losses).toHaveLength(6);
  expect(fs.readdirSync(join(out, "r", "hugging_face"))).toEqual(["6"]);
});

test("the tree is MaxText's: parameters, optax's chain for AdamW, counts", async () => {
  const out = scratch();
  await run(configOf(out, "steps=1", "checkpoint_storage_use_ocdbt=false"));
  const reader = openOrbax(join(out, "r", "checkpoints"));
  const layers = [...reader.tensors.keys()].filter((name) => name.startsWith("params.params."));
  expect(reader.customMetadata).toEqual({ scan_layers: true });
  expect(layers).toContain("params.params.decoder.layers.layer_0.input_layernorm.scale");
  expect(reader.format).toEqual({ isOcdbt: false, zarrVersion: 3 });
  const trees = ["opt_state.0.mu.params.", "opt_state.0.nu.params."].flatMap((root) =>
    layers.map((name) => name.replace("params.params.", root)),
  );
  expect([...reader.tensors.keys()].toSorted()).toEqual(
    [...layers, ...trees, "opt_state.0.count", "opt_state.2.count", "step"].toSorted(),
  );
  expect([...reader.read("step")]).toEqual([1, 0, 0, 0]);
  expect(reader.leaves.filter(({ kind }) => kind === "None").map(({ path }) => nameOf(path))).toEqual([
    "opt_state.1",
  ]);
  reader.close();
});

test("a full state of another run may be gone on from; its data is this run's from the beginning", async () => {
  const [one, other] = [scratch(), scratch()];
  const { losses } = await run(configOf(one, "checkpoint_period=3", "dataset_type=synthetic"));
  const full = `load_full_state_path=${join(one, "r", "checkpoints", "3")}`;
  const { losses: rest, events } = await run(configOf(other, full, "dataset_type=synthetic"));
  expect(rest).toEqual(losses.slice(4));
  expect(events[0]).toMatchObject({
    facts: { first_step: 4, weights: expect.stringMatching(/data from its/) },
  });
});

const rejection = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return failure(() => {
    throw error;
  });
};

test("a state of another model is refused with what is missing, what is left over and what differs", async () => {
  const out = scratch();
  await run(configOf(out, two, "scan_layers=false", "steps=1"));
  const less = await rejection(run(configOf(out)));
  expect(less.message).toMatch(/tensor-unexpected: .*`params.params.decoder.layers_1\./);
  const wider = await rejection(run(configOf(out, two, "base_emb_dim=12")));
  expect(wider.message).toMatch(/tensor-shape: .*expected shape/);
  const deeper = await rejection(run(configOf(out, "base_num_decoder_layers=3")));
  expect(deeper.message).toMatch(/tensor-missing: .*`params.params.decoder.layers_2\./);
  const dtype = await rejection(run(configOf(out, two, "weight_dtype=bfloat16")));
  expect(dtype).toMatchObject({
    code: "tensor-dtype",
    message: expect.stringMatching(/expected BF16, found F32\nhelp: set weight_dtype/),
  });
  const both = await rejection(run(configOf(out, "load_full_state_path=a", "load_parameters_path=b")));
  expect(both.code).toBe("two-starts");
  // A run that never began leaves nothing.
  const nowhere = configOf(join(out, "new/deep"), "load_full_state_path=nowhere");
  expect((await rejection(run(nowhere))).code).toBe("file-missing");
  expect(fs.existsSync(join(out, "new"))).toBe(false);
});

test("other data than the run had is refused", async () => {
  const out = scratch();
  await run(configOf(out, "steps=1"));
  const found = await rejection(run(configOf(out, "data_shuffle_seed=5")));
  expect(found.code).toBe("dataset-changed");
  const file = join(out, "r", "checkpoints", "0", "iter", "process_0-of-1.json");
  for (const text of ["null", "{", '{"source":1}']) {
    fs.writeFileSync(file, text);
    const { code, message } = await rejection(run(configOf(out)));
    expect([code, message]).toEqual(["dataset-state", expect.stringContaining(file)]);
  }
});

test("what a save that was cut off left is removed and never taken for a checkpoint", async () => {
  const out = scratch();
  await run(configOf(out, "checkpoint_period=2"), 3);
  const root = join(out, "r", "checkpoints");
  fs.cpSync(join(root, "2"), join(root, "3.orbax-checkpoint-tmp"), { recursive: true });
  fs.mkdirSync(join(out, "r", "hugging_face", ".6.1-00000000.partial"), { recursive: true });
  const config = configOf(out, "checkpoint_period=2");
  expect(findLatest(root, config, forwardModel(config).params)?.state.step).toBe(3);
  await run(config);
  expect(stepsIn(out)).toEqual(["2", "4", "5"]);
  expect(fs.readdirSync(join(out, "r", "hugging_face"))).toEqual(["6"]);
});

test("a damaged latest checkpoint is refused before the first step, with the last whole one", async () => {
  const out = scratch();
  await run(configOf(out, "checkpoint_period=2"));
  const root = join(out, "r", "checkpoints");
  const more = configOf(out, "steps=9");
  const refused = async () => {
    const { code, message } = await rejection(run(more));
    expect(code).toBe("checkpoint-damaged");
    return message;
  };
  const data = fs.readdirSync(join(root, "5", "items", "ocdbt.process_0", "d"));
  for (const name of data) fs.truncateSync(join(root, "5", "items", "ocdbt.process_0", "d", name), 9);
  expect(await refused()).toMatch(
    /from 5, damaged or unfinished; the last whole step is 4\n.*: note: .*\nhelp: remove 5 there/,
  );
  fs.rmSync(join(root, "4", "items", "_METADATA"));
  expect(await refused()).toMatch(/from 5, 4, damaged or unfinished; the last whole step is 2\n/);
  fs.rmSync(join(root, "5"), { recursive: true });
  expect(await refused()).toMatch(/from 4, damaged or unfinished; the last whole step is 2\n/);
  fs.rmSync(join(root, "2"), { recursive: true });
  expect(await refused()).toMatch(/from 4, damaged or unfinished; no step is whole\n.*\nhelp: .* start anew/);
});

test("a run that another process trains is refused and left as it is; one whose process is gone is taken", async () => {
  const out = scratch();
  const saving = join(out, "r", "checkpoints", "3.orbax-checkpoint-tmp");
  const held = (pid: number) => join(out, "r", `.training-${pid}`);
  fs.mkdirSync(saving, { recursive: true });
  fs.writeFileSync(held(process.ppid), "");
  const found = await rejection(run(configOf(out, "steps=1")));
  expect(found).toMatchObject({ code: "run-held", message: expect.stringContaining(`${process.ppid}`) });
  expect(fs.existsSync(saving)).toBe(true);
  fs.renameSync(held(process.ppid), held(spawnSync(process.execPath, ["--version"]).pid));
  const { losses } = await run(configOf(out, "steps=1"));
  expect(losses).toHaveLength(1);
  expect(fs.readdirSync(join(out, "r")).toSorted()).toEqual(["checkpoints", "hugging_face"]);
});

test("a run that this very process trains is refused, and goes on undisturbed", async () => {
  const out = scratch();
  const link = join(scratch(), "link");
  fs.symlinkSync(out, link);
  const first = run(configOf(out));
  expect(await rejection(run(configOf(link)))).toMatchObject({
    code: "run-held",
    message: expect.stringContaining("this process is already training this run"),
  });
  expect(fs.readdirSync(join(out, "r"))).toContain(`.training-${process.pid}`);
  expect((await first).losses).toHaveLength(6);
  expect(fs.readdirSync(join(out, "r")).toSorted()).toEqual(["checkpoints", "hugging_face"]);
  // What an earlier process of the same id left is nobody's: in a container ids come again.
  fs.writeFileSync(join(out, "r", `.training-${process.pid}`), "");
  expect((await run(configOf(out, "steps=7"))).losses).toHaveLength(1);
});

test("the metrics file goes on where the run does", async () => {
  const out = scratch();
  const file = join(out, "metrics.jsonl");
  const config = configOf(out, "checkpoint_period=2", `metrics_file=${file}`);
  await run(config, 3);
  // A process that is killed may leave half a line.
  fs.appendFileSync(file, '{"step":4,"per');
  await run(config);
  const lines = fs.readFileSync(file, "utf8").trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).step)).toEqual([0, 1, 2, 3, 4, 5]);
  fs.writeFileSync(file, '{"step":0,"run_name":"other"}\n');
  const found = await rejection(run(configOf(out, "steps=7", `metrics_file=${file}`)));
  expect(found).toMatchObject({
    code: "metrics-file",
    message: expect.stringMatching(/metrics\.jsonl:1: .* this line is not of the run r/),
  });
});
