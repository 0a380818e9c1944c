// A golden: what Hugging Face transformers computed for one small model, as tests/oracles/hf_golden.py writes it.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { type Config, loadConfig } from "../../compiler/config/load.ts";
import type { Weights } from "../../runtime/checkpoint/hugging-face.ts";
import { openCheckpoint } from "../../runtime/checkpoint/open.ts";
import { contentsOf, readWeights } from "../../runtime/checkpoint/weights.ts";
import type { Batch } from "../../runtime/data/dataset.ts";

export type LogitsRecord = { readonly tokens: number[]; readonly logits: Float64Array };
export type TrainRecord = {
  readonly batches: number[][][];
  readonly order: number[];
  readonly curve: { loss: number; grad_norm: number }[];
};

export const readLogits = (dir: string): LogitsRecord[] =>
  readFileSync(join(dir, "logits.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { tokens: number[]; logits: number[][] })
    .map(({ tokens, logits }) => ({ tokens, logits: Float64Array.from(logits.flat()) }));

export const readTrain = (dir: string): TrainRecord =>
  JSON.parse(readFileSync(join(dir, "train.json"), "utf8")) as TrainRecord;

export const readGreedy = (dir: string): { prompt: number[]; greedy: number[] } =>
  JSON.parse(readFileSync(join(dir, "greedy.json"), "utf8")) as { prompt: number[]; greedy: number[] };

/** The golden's model with its training run's settings, and overrides. */
export function configOf(dir: string, ...overrides: string[]): Config {
  const { batches, curve } = readTrain(dir);
  const args = [
    "base",
    `model_name=${dir}`,
    "base_output_directory=unused",
    `per_device_batch_size=${batches[0]!.length}`,
    `max_target_length=${batches[0]![0]!.length}`,
    "learning_rate=1e-3",
    "warmup_steps_fraction=0",
    "learning_rate_final_fraction=1",
    `steps=${curve.length}`,
    ...overrides,
  ];
  return loadConfig(args, { env: {}, cwd: process.cwd(), modelsDir: resolve("models") });
}

/** Rows of tokens, each the target of the one before it; the last position of a row predicts nothing. */
export function batchOf(rows: number[][]): Batch {
  const length = rows[0]!.length;
  return {
    rows: rows.length,
    length,
    inputs: Int32Array.from(rows.flat()),
    targets: Int32Array.from(rows.flatMap((row) => [...row.slice(1), 0])),
    weights: Float32Array.from(rows.flatMap((row) => row.map((_, i) => (i < length - 1 ? 1 : 0)))),
  };
}

/** ‖a - b‖ / ‖b‖ */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

export type GradientError = { readonly name: string; readonly relative: number; readonly size: number };

/** How far each gradient is from the golden's, each in its parameter's own layout. */
export function gradientErrors(
  dir: string,
  params: readonly ParamDecl[],
  gradients: Weights,
): GradientError[] {
  const golden = openCheckpoint(join(dir, "grads.safetensors"));
  const norm = (x: Float32Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
  const contents = contentsOf(golden, { own: params, draft: [] }, 0);
  const expected = readWeights(golden, contents, params);
  golden.tensors.close();
  const total = Math.sqrt([...expected.values()].reduce((sum, values) => sum + norm(values) ** 2, 0));
  return params.map(({ path }) => {
    const [ours, theirs] = [gradients.get(path)!, expected.get(path)!];
    return { name: path, relative: relativeError(ours, theirs), size: norm(theirs) / total };
  });
}

/** Golden directories: the committed ones, and those of a colon-separated list in Q3C_GOLDENS. */
export function goldenDirectories(): string[] {
  const own = ["tests/goldens/random-a", "tests/goldens/random-b", "tests/goldens/qwen3-dense"];
  return [...own, ...givenDirectories()].filter((dir) => existsSync(join(dir, "train.json")));
}

/** Goldens of multi-token prediction, as tests/oracles/mtp_golden.py writes them. */
export const draftDirectories = (): string[] =>
  ["tests/goldens/mtp", ...givenDirectories()].filter((dir) => existsSync(join(dir, "mtp_logits.jsonl")));

function givenDirectories(): string[] {
  const given = (process.env["Q3C_GOLDENS"] ?? "").split(":").filter((dir) => dir !== "");
  for (const dir of given)
    if (!["train.json", "mtp_logits.jsonl"].some((file) => existsSync(join(dir, file))))
      throw new Error(`${dir} is no golden`);
  return given;
}
