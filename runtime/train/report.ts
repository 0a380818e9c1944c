// What a training run tells: facts at the start, MaxText's scalars and line at every step, the metrics file.
import * as fs from "node:fs";
import { dirname, resolve } from "node:path";
import type { Config } from "../../compiler/config/load.ts";
import { fail, type Place, Q3Error } from "../../compiler/diag.ts";
import { isRecord } from "../../compiler/json.ts";
import { readText, writeAside } from "../files.ts";
import type { StepReport } from "./trainer.ts";

/** What is known before the first step. */
export type RunFacts = {
  readonly run_name: string;
  readonly parameters: number;
  readonly weights: string;
  /** More than 0 where a run goes on. */
  readonly first_step: number;
  /** How experts are computed, or null for a model without any. */
  readonly experts: string | null;
  readonly data: string;
  readonly engine: string;
  readonly steps: number;
  readonly tokens_per_step: number;
  readonly tflops_per_step: number;
  /** Where the states to go on from are saved, or null. */
  readonly checkpoints: string | null;
  /** Where the model will be saved, or null. */
  readonly output: string | null;
};

export type Scalars = Readonly<Record<string, number>>;

export const tokensPerStep = ({ values }: Config): number =>
  values.global_batch_size_to_train_on * values.max_target_length;

/** The facts as lines. */
export const factLines = (facts: RunFacts): readonly string[] => [
  `run: ${facts.run_name}`,
  `number parameters: ${(facts.parameters / 1e9).toFixed(3)} billion (${facts.parameters.toLocaleString("en-US")})`,
  `weights: ${facts.weights}`,
  ...(facts.experts === null ? [] : [`experts: ${facts.experts}`]),
  `data: ${facts.data}`,
  `engine: ${facts.engine}`,
  ...(facts.checkpoints === null ? [] : [`checkpoints: ${facts.checkpoints}`]),
  `output: ${facts.output ?? "none (enable_checkpointing=false)"}`,
  `Per train step: total TFLOPs ${facts.tflops_per_step.toPrecision(4)}, ${facts.tokens_per_step} tokens`,
  ...(facts.first_step < facts.steps
    ? []
    : [`nothing is left to train: steps=${facts.steps}, and ${facts.first_step} are taken`]),
];

/** MaxText's scalars under MaxText's names; `tflops` is a whole step's work. */
export function scalarsOf(report: StepReport, seconds: number, tokens: number, tflops: number): Scalars {
  const { metrics, loss, gradNorm, learningRate, totalWeights } = report;
  const lm = metrics.lm_loss?.[0] ?? loss;
  return {
    "perf/step_time_seconds": seconds,
    "perf/per_device_tflops_per_sec": tflops / seconds,
    "perf/per_device_tokens_per_sec": tokens / seconds,
    "learning/total_weights": totalWeights,
    "learning/loss": loss,
    "learning/lm_loss": lm,
    "learning/perplexity": Math.exp(lm),
    "learning/grad_norm": gradNorm,
    "learning/current_learning_rate": learningRate,
  };
}

/** MaxText's line per step (metric_logger.py), and what share of the experts' work was dropped, if any. */
export function stepLine(step: number, scalars: Scalars): string {
  const parts: readonly (readonly [string, string, number])[] = [
    ["seconds", "perf/step_time_seconds", 3],
    ["TFLOP/s/device", "perf/per_device_tflops_per_sec", 3],
    ["Tokens/s/device", "perf/per_device_tokens_per_sec", 3],
    ["total_weights", "learning/total_weights", 0],
    ["loss", "learning/loss", 3],
    ["lm_loss", "learning/lm_loss", 3],
    ["perplexity", "learning/perplexity", 3],
    ["moe_lb_loss", "learning/moe_lb_loss", 6],
  ];
  const shown = parts.flatMap(([label, name, digits]) => {
    const scalar = scalars[name];
    return scalar === undefined ? [] : [`${label}: ${scalar.toFixed(digits)}`];
  });
  const dropped = scalars["moe/dropped_share"] ?? 0;
  if (dropped > 0) shown.push(`dropped: ${(100 * dropped).toFixed(2)}%`);
  return `completed step: ${step}, ${shown.join(", ")}`;
}

/**
 * Writes one JSON object a step to the configuration's metrics_file. A run that saves checkpoints and is started again
 * goes on with its file: steps from `first` on, which will be taken again, are dropped. Any other file is refused.
 */
export function metricsFile(
  { values }: Config,
  cwd: string,
  first: number,
): (metrics: Readonly<Record<string, unknown>>) => void {
  if (values.metrics_file === "") return () => {};
  const path = resolve(cwd, values.metrics_file);
  const recording = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Error) || error instanceof Q3Error) throw error;
      return failMetrics({ file: path }, `cannot be written: ${error.message}`);
    }
  };
  recording(() => {
    fs.mkdirSync(dirname(path), { recursive: true });
    if (!values.enable_checkpointing || !fs.existsSync(path)) fs.closeSync(fs.openSync(path, "wx"));
    else {
      const kept = earlierLines(path, values.run_name, first);
      writeAside(path, (append) => append(new TextEncoder().encode(kept)), { overwrite: true });
    }
  });
  return (metrics) =>
    recording(() =>
      fs.appendFileSync(path, `${JSON.stringify({ ...metrics, run_name: values.run_name })}\n`),
    );
}

const failMetrics = (at: Place, problem: string): never =>
  fail({ code: "metrics-file", message: `metrics_file ${problem}`, at });

/** The lines of steps before `first` in a file that the same run wrote; its last line may have been cut off. */
function earlierLines(path: string, run: string, first: number): string {
  const lines = readText(path).split("\n");
  const whole = lines.slice(0, -1).map((line) => ({ line, metrics: parseMetrics(line) }));
  const stranger = whole.findIndex(({ metrics }) => metrics?.["run_name"] !== run);
  if (stranger >= 0)
    failMetrics({ file: path, line: stranger + 1 }, `already exists, and this line is not of the run ${run}`);
  return whole
    .filter(({ metrics }) => Number(metrics?.["step"]) < first)
    .map(({ line }) => `${line}\n`)
    .join("");
}

function parseMetrics(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const metrics: unknown = JSON.parse(line);
    return isRecord(metrics) ? metrics : undefined;
  } catch {
    return undefined;
  }
}
