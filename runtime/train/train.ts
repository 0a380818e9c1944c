// A training run from a configuration: data, steps, metrics, the saved model and a sample.
import * as fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { elements } from "../../compiler/ir/shape.ts";
import { modelFlops } from "../../compiler/model.ts";
import { requireFree, saveHuggingFace } from "../checkpoint/save.ts";
import type { Batch, Dataset } from "../data/dataset.ts";
import { openDataset, tokenizerOf } from "../data/open.ts";
import type { Engine } from "../engines/engine.ts";
import { continueGreedily, openForward } from "../forward.ts";
import { startingWeights } from "../starting-weights.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { openTrainer, type StepReport, type Trainer } from "./trainer.ts";

/** What a run tells while it works. */
export type TrainEvent =
  | { readonly kind: "start"; readonly lines: readonly string[] }
  | {
      readonly kind: "step";
      readonly step: number;
      readonly of: number;
      readonly scalars: Readonly<Record<string, number>>;
      readonly line: string;
    }
  | { readonly kind: "saved"; readonly directory: string }
  | { readonly kind: "sample"; readonly prompt: string; readonly text: string };

export type TrainOptions = {
  readonly cwd: string;
  on(event: TrainEvent): void;
  /** Lets timers and signals through between steps. */
  breathe(): Promise<void>;
};

export type TrainResult = {
  readonly steps: number;
  readonly loss: number;
  readonly directory: string | null;
};

/** Trains as the configuration says. Errors about data, weights or the output directory come before the first step. */
export async function train(config: Config, engine: Engine, options: TrainOptions): Promise<TrainResult> {
  const { values } = config;
  const { cwd, on, breathe } = options;
  let opened: Tokenizer | undefined;
  const tokenizer = (): Tokenizer => {
    opened ??= tokenizerOf(config, cwd);
    return opened;
  };
  const directory = values.enable_checkpointing
    ? resolve(cwd, join(values.checkpoint_dir, String(values.steps)))
    : null;
  if (directory) requireFree(directory);
  if (values.sample_prompt !== "") tokenizer();
  const dataset = openDataset(config, tokenizer, cwd);
  let from = "";
  const trainer = openTrainer(config, engine, (params) => {
    const start = startingWeights(config, params);
    from = start.from;
    return start.weights;
  });
  const flops = modelFlops(config);
  on({ kind: "start", lines: startLines(config, engine, trainer, dataset, from, flops) });
  const metrics = metricsFile(config, cwd);
  let last: StepReport | undefined;
  for (let step = 0; step < values.steps; step++) {
    const started = performance.now();
    const batches = take(dataset, values.gradient_accumulation_steps, step);
    last = trainer.step(batches);
    const scalars = scalarsOf(last, (performance.now() - started) / 1000, config, flops);
    metrics({ step, ...scalars });
    on({ kind: "step", step, of: values.steps, scalars, line: stepLine(step, scalars) });
    refuseBadLoss(last.loss, step, config);
    await breathe();
  }
  const weights = trainer.weights();
  trainer.release();
  if (directory) {
    saveHuggingFace(directory, config, trainer.params, weights);
    on({ kind: "saved", directory });
  }
  if (values.sample_prompt !== "") {
    const forward = openForward(config, engine, weights);
    const { sample_prompt: prompt, sample_tokens: count } = values;
    const limit = Math.min(values.vocab_size, tokenizer().vocabSize);
    const text = tokenizer().decode(continueGreedily(forward, tokenizer().encode(prompt), count, limit));
    forward.release();
    on({ kind: "sample", prompt, text });
  }
  return { steps: values.steps, loss: last?.loss ?? Number.NaN, directory };
}

function take(dataset: Dataset, count: number, step: number): Batch[] {
  return Array.from({ length: count }, () => {
    const batch = dataset.next();
    if (batch) return batch;
    return fail({
      code: "data-exhausted",
      message: `the training data ran out at step ${step}`,
      help: "lower steps, or raise num_epoch",
    });
  });
}

function startLines(
  config: Config,
  engine: Engine,
  { params }: Trainer,
  dataset: Dataset,
  from: string,
  flops: number,
): string[] {
  const { values } = config;
  const count = params.reduce((n, { value }) => n + elements(value.type), 0);
  const perStep = (3 * flops * values.gradient_accumulation_steps) / 1e12;
  return [
    `run: ${values.run_name}`,
    `number parameters: ${(count / 1e9).toFixed(3)} billion (${count.toLocaleString("en-US")}), ${from}`,
    `data: ${dataset.description}`,
    `engine: ${engine.name}`,
    `Per train step: total TFLOPs ${perStep.toPrecision(4)}, ${tokensPerStep(config)} tokens`,
  ];
}

const tokensPerStep = ({ values }: Config): number =>
  values.global_batch_size_to_train_on * values.max_target_length;

/** MaxText's scalars under MaxText's names, without their groups. */
function scalarsOf(
  report: StepReport,
  seconds: number,
  config: Config,
  flops: number,
): Record<string, number> {
  const lm = report.metrics.lm_loss ?? report.loss;
  const tflops = (3 * flops * config.values.gradient_accumulation_steps) / 1e12;
  return {
    "perf/step_time_seconds": seconds,
    "perf/per_device_tflops_per_sec": tflops / seconds,
    "perf/per_device_tokens_per_sec": tokensPerStep(config) / seconds,
    "learning/total_weights": report.totalWeights,
    "learning/loss": report.loss,
    "learning/lm_loss": lm,
    "learning/perplexity": Math.exp(lm),
    ...(report.metrics.moe_lb_loss === undefined
      ? {}
      : { "learning/moe_lb_loss": report.metrics.moe_lb_loss }),
    "learning/grad_norm": report.gradNorm,
    "learning/current_learning_rate": report.learningRate,
  };
}

/** MaxText's line per step (metric_logger.py). */
function stepLine(step: number, scalars: Readonly<Record<string, number>>): string {
  const show = (name: string, digits: number): string => (scalars[name] ?? Number.NaN).toFixed(digits);
  const balance =
    scalars["learning/moe_lb_loss"] === undefined ? "" : `, moe_lb_loss: ${show("learning/moe_lb_loss", 6)}`;
  return (
    `completed step: ${step}, seconds: ${show("perf/step_time_seconds", 3)}, TFLOP/s/device: ${show("perf/per_device_tflops_per_sec", 3)}, ` +
    `Tokens/s/device: ${show("perf/per_device_tokens_per_sec", 3)}, total_weights: ${show("learning/total_weights", 0)}, ` +
    `loss: ${show("learning/loss", 3)}, lm_loss: ${show("learning/lm_loss", 3)}, perplexity: ${show("learning/perplexity", 3)}${balance}`
  );
}

function refuseBadLoss(loss: number, step: number, { values }: Config): void {
  const isBad = Number.isNaN(loss)
    ? values.abort_on_nan_loss
    : !Number.isFinite(loss) && values.abort_on_inf_loss;
  if (isBad)
    fail({
      code: "loss-not-finite",
      message: `the loss is ${loss} at step ${step}`,
      help: "lower learning_rate, or look at the data; nothing was saved",
    });
}

/** One JSON object a step in metrics_file, from the first step on; nothing when no file is named. */
function metricsFile({ values }: Config, cwd: string): (scalars: Readonly<Record<string, number>>) => void {
  if (values.metrics_file === "") return () => {};
  const path = resolve(cwd, values.metrics_file);
  fs.mkdirSync(dirname(path), { recursive: true });
  fs.writeFileSync(path, "");
  return (scalars) =>
    fs.appendFileSync(path, `${JSON.stringify({ ...scalars, run_name: values.run_name })}\n`);
}
