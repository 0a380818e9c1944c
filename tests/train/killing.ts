// Training in a process that is killed, again and again, until it is let go on to its end.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { basename, join } from "node:path";
import { expect } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { ASIDE, finishedSteps } from "../../runtime/checkpoint/orbax/files.ts";
import { readResumed } from "../../runtime/train/checkpoints.ts";

// Every size as small as it goes, so that most of the time goes into saving.
const args = (out: string, name: string, steps: number): string[] => [
  ...["base", "model_name=qwen3-next-tiny", "override_model_config=true", `base_output_directory=${out}`],
  ...["per_device_batch_size=1", "max_target_length=6", "base_emb_dim=8", "vocab_size=256", "dtype=float32"],
  ...["base_num_query_heads=2", "base_num_kv_heads=1", "head_dim=8", "gdn_chunk_size=4", "num_experts=4"],
  ...["gdn_key_head_dim=4", "gdn_value_head_dim=4", "base_mlp_dim=8", "base_moe_mlp_dim=4"],
  ...["base_num_decoder_layers=1", "inhomogeneous_layer_cycle_interval=1", `run_name=${name}`],
  ...[`steps=${steps}`, "checkpoint_period=1", "max_num_checkpoints_to_keep=3", "sample_prompt="],
  ...["dataset_type=text", "dataset_path=package.json", "tokenizer_type=byte"],
  `metrics_file=${join(out, `${name}.jsonl`)}`,
];

/** q3c compiled into a directory; threads need compiled files. It must be within the package. */
export function compileProgram(folder: string): string {
  fs.mkdirSync(folder, { recursive: true });
  const tsc = join("node_modules", "typescript", "bin", "tsc");
  spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", folder]);
  return join(folder, "cli", "main.js");
}

const ended = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.on("close", resolve));

async function start(
  program: string,
  line: readonly string[],
  stop?: (child: ChildProcess, out: string) => void,
) {
  const child = spawn(process.execPath, [program, "train", ...line]);
  let [out, err] = ["", ""];
  child.stdout.on("data", (data) => {
    out += data;
    if (out.includes("completed step")) stop?.(child, out);
  });
  child.stderr.on("data", (data) => {
    err += data;
  });
  const code = await ended(child);
  return { code, out, err };
}

/** Lets the run have its way. */
export const runProgram = (program: string, out: string, steps: number) =>
  start(program, args(out, "killed", steps));

/** Interrupts a run once it has saved a checkpoint. */
export function interruptProgram(program: string, out: string) {
  let isDone = false;
  return start(program, args(out, "killed", 1000), (child, printed) => {
    if (isDone || !printed.includes("Saved a checkpoint")) return;
    isDone = true;
    child.kill("SIGINT");
  });
}

/** Kills a run `count` times, each time at a random moment after it has taken a step, and checks what it leaves. */
export async function survivesKills(
  program: string,
  out: string,
  count: number,
  random: () => number,
): Promise<void> {
  const steps = 10 + 2 * count;
  const root = join(out, "killed", "checkpoints");
  const config = loadConfig(args(out, "killed", steps), { env: {}, cwd: process.cwd(), modelsDir: "models" });
  const { params } = forwardModel(config);
  for (let i = 0; i < count; i++) {
    const delay = random() * 120;
    let timer: NodeJS.Timeout | undefined;
    const { err } = await start(program, args(out, "killed", steps), (child) => {
      timer ??= setTimeout(() => child.kill("SIGKILL"), delay);
    });
    clearTimeout(timer);
    expect(err).toBe("");
    // Whatever has a step's name is whole.
    const named = fs.existsSync(root) ? fs.readdirSync(root).filter((name) => !name.endsWith(ASIDE)) : [];
    const finished = finishedSteps(root).map((step) => Number(basename(step)));
    expect(finished).toEqual(named.map(Number).toSorted((a, b) => b - a));
    for (const step of named) {
      const { state, data } = readResumed(join(root, step), config, params);
      expect(state.step).toBe(Number(step) + 1);
      expect(data).toBeDefined();
    }
  }
  const last = await start(program, args(out, "killed", steps));
  const whole = await start(program, args(out, "whole", steps));
  expect([last.code, last.err, whole.code, whole.err]).toEqual([0, "", 0, ""]);
  const losses = (name: string): readonly unknown[] =>
    fs
      .readFileSync(join(out, `${name}.jsonl`), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => [JSON.parse(line).step, JSON.parse(line)["learning/loss"]]);
  expect(losses("killed")).toEqual(losses("whole"));
  expect(losses("whole")).toHaveLength(steps);
  const model = (name: string): Uint8Array =>
    fs.readFileSync(join(out, name, "hugging_face", `${steps}`, "model.safetensors"));
  expect(Buffer.compare(model("killed"), model("whole"))).toBe(0);
  expect(fs.readdirSync(root).toSorted()).toEqual([steps - 3, steps - 2, steps - 1].map(String));
}
