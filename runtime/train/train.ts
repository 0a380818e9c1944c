// A training run from a configuration: data, steps, metrics, the saved model and a sample.
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { selectedExperts } from "../../compiler/config/moe.ts";
import { requireLocal } from "../../compiler/config/remote.ts";
import { fail } from "../../compiler/diag.ts";
import { elements } from "../../compiler/ir/shape.ts";
import { forwardModel, modelFlops } from "../../compiler/model.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import { saveHuggingFace } from "../checkpoint/save.ts";
import { type ClaimedDirectory, claimDirectory, removePartial } from "../claimed-directory.ts";
import type { Batch, Dataset } from "../data/dataset.ts";
import { openDataset } from "../data/open.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { startingDraft } from "../starting-weights.ts";
import { planSave, type Saver, savingBeside, savingInLoop } from "./checkpoints.ts";
import { holdRun } from "./hold.ts";
import { metricsFile, type RunFacts, type Scalars, scalarsOf, tokensPerStep } from "./report.ts";
import { type Routing, routingOf } from "./routing.ts";
import { openSample, type Sample } from "./sample.ts";
import { beginTrainer, findStart, type Start } from "./start.ts";
import type { StepReport } from "./trainer.ts";

/** What a run tells while it works. */
export type TrainEvent =
  | { readonly kind: "start"; readonly facts: RunFacts }
  | {
      readonly kind: "step";
      readonly step: number;
      readonly of: number;
      readonly scalars: Scalars;
      readonly tables: Routing["tables"];
    }
  | { readonly kind: "checkpoint"; readonly step: number; readonly directory: string }
  | { readonly kind: "saved"; readonly directory: string }
  | { readonly kind: "sample"; readonly prompt: string; readonly text: string };

export type TrainOptions = {
  readonly cwd: string;
  on(event: TrainEvent): void;
  /** Lets timers and signals through between steps. */
  breathe(): Promise<void>;
};

/** Where a run ended: its last step's loss, and the folder of the saved model, if any. */
export type TrainResult = {
  readonly steps: number;
  readonly loss: number;
  readonly directory: string | null;
};

/** A parameter in training is held four times: itself, its gradient and AdamW's two moments, four bytes each. */
const BYTES_PER_PARAMETER = 16;

/** Refuses paths of other machines, where a run would read or write them. */
export function requireLocalRun(config: Config): void {
  requireLocal(
    config,
    "load_parameters_path",
    "load_full_state_path",
    "dataset_path",
    "tokenizer_path",
    "metrics_file",
  );
  if (config.values.enable_checkpointing) requireLocal(config, "base_output_directory");
}

/** Trains as the configuration says. Errors about data, memory or where output goes come before the first step. */
export async function train(config: Config, engine: Engine, options: TrainOptions): Promise<TrainResult> {
  const { values } = config;
  const { cwd } = options;
  requireLocalRun(config);
  const { params } = forwardModel(config);
  requireFit(engine, BYTES_PER_PARAMETER * countOf(params), "the weights, gradients and AdamW moments");
  const sample = openSample(config, cwd);
  const dataset = openDataset(config, sample.tokenizer, cwd);
  const checkpoints = values.enable_checkpointing ? resolve(cwd, values.checkpoint_dir) : undefined;
  const release = checkpoints === undefined ? undefined : holdRun(dirname(checkpoints));
  try {
    return await trainHeld(config, engine, options, { params, sample, dataset, checkpoints });
  } finally {
    release?.();
  }
}

/** What a run has before it looks at what it may have left. */
type Prepared = {
  readonly params: readonly ParamDecl[];
  readonly sample: Sample;
  readonly dataset: Dataset;
  readonly checkpoints: string | undefined;
};

/** Trains, with the run's directory to itself. */
async function trainHeld(
  config: Config,
  engine: Engine,
  options: TrainOptions,
  { params, sample, dataset, checkpoints }: Prepared,
): Promise<TrainResult> {
  const { values } = config;
  const { cwd, on } = options;
  const start = findStart(config, params, checkpoints, cwd);
  if (start.data) dataset.restore(start.data);
  const output = checkpoints === undefined ? undefined : outputOf(config, checkpoints, start);
  const directory = output && claimModel(output, isOver(config, start));
  const saver = output && openSaver(config, output, on);
  try {
    // A head that drafts is not trained: the model keeps the one it came with.
    const head = directory ? startingDraft(config) : undefined;
    const tflops = (3 * modelFlops(config) * values.gradient_accumulation_steps) / 1e12;
    on({ kind: "start", facts: factsOf(config, engine, params, dataset, start, output, tflops) });
    const metrics = metricsFile(config, cwd, start.step);
    await options.breathe();
    const run: Run = { config, engine, dataset, tflops, start, output, saver };
    const { weights, last } = await runSteps(run, options, (step, measured) => {
      metrics({ step, ...measured.scalars, ...measured.tables });
      on({ kind: "step", step, of: values.steps, ...measured });
    });
    // Where there is a model of so many steps, there is a checkpoint of them too.
    await saver?.finish();
    if (directory) {
      saveHuggingFace(
        directory,
        config,
        [...params, ...(head?.params ?? [])],
        new Map([...weights, ...(head?.weights ?? [])]),
      );
      on({ kind: "saved", directory: directory.path });
    }
    const text = sample.run(engine, weights);
    if (text !== undefined) on({ kind: "sample", prompt: values.sample_prompt, text });
    const steps = finalStep(config, start);
    return { steps, loss: last?.loss ?? Number.NaN, directory: output?.model ?? null };
  } catch (error) {
    // What is being saved is whole and comes to its end; the failure told is the first.
    await saver?.finish().catch(() => {});
    throw error;
  } finally {
    directory?.abandon();
  }
}

/** Where a run saves: the state after some steps, to go on from, and the model at the end, for transformers. */
type Output = { readonly checkpoints: string; readonly model: string };

const outputOf = (config: Config, checkpoints: string, start: Start): Output => ({
  checkpoints,
  model: join(dirname(checkpoints), "hugging_face", String(finalStep(config, start))),
});

/** The steps that the model has taken at the end: more than asked for where a longer run is gone on from. */
const finalStep = ({ values }: Config, { step }: Start): number => Math.max(values.steps, step);

/** Whether no step is left to take. */
const isOver = ({ values }: Config, { step }: Start): boolean => step >= values.steps;

/** The model's place; nothing when an earlier run has filled it and there is nothing to add. */
function claimModel({ model }: Output, isOver: boolean): ClaimedDirectory | undefined {
  removePartial(model);
  return isOver && existsSync(model) ? undefined : claimDirectory(model);
}

const openSaver = ({ values }: Config, { checkpoints }: Output, on: TrainOptions["on"]): Saver => {
  const saved = (step: number): void =>
    on({ kind: "checkpoint", step, directory: join(checkpoints, String(step)) });
  return values.async_checkpointing ? savingBeside(saved) : savingInLoop(saved);
};

const countOf = (params: readonly ParamDecl[]): number =>
  params.reduce((n, { value }) => n + elements(value.type), 0);

function factsOf(
  config: Config,
  engine: Engine,
  params: readonly ParamDecl[],
  dataset: Dataset,
  start: Start,
  output: Output | undefined,
  tflops: number,
): RunFacts {
  return {
    run_name: config.values.run_name,
    parameters: countOf(params),
    weights: start.origin,
    first_step: start.step,
    experts: selectedExperts(config.values, config.values.max_target_length) ?? null,
    data: dataset.description,
    engine: engine.name,
    steps: config.values.steps,
    tokens_per_step: tokensPerStep(config),
    tflops_per_step: tflops,
    checkpoints: output?.checkpoints ?? null,
    output: output?.model ?? null,
  };
}

type Run = {
  readonly config: Config;
  readonly engine: Engine;
  readonly dataset: Dataset;
  readonly tflops: number;
  readonly start: Start;
  readonly output: Output | undefined;
  readonly saver: Saver | undefined;
};

async function runSteps(
  { config, engine, dataset, tflops, start, output, saver }: Run,
  { breathe }: TrainOptions,
  after: (step: number, measured: Routing) => void,
): Promise<{ weights: Weights; last: StepReport | undefined }> {
  const { values } = config;
  const tokens = tokensPerStep(config);
  const trainer = beginTrainer(config, engine, start);
  let last: StepReport | undefined;
  for (let step = start.step; step < values.steps; step++) {
    const started = performance.now();
    last = trainer.step(take(dataset, values.gradient_accumulation_steps, step));
    const general = scalarsOf(last, (performance.now() - started) / 1000, tokens, tflops);
    const { scalars, tables } = routingOf(last, config);
    after(step, { scalars: { ...general, ...scalars }, tables });
    refuseBadLoss(last.loss, step, config);
    if (saver && output && isSavedAfter(step, config)) {
      const root = output.checkpoints;
      await saver.save(() => planSave(root, config, trainer.params, trainer.state(), dataset.state()));
    }
    await breathe();
  }
  const weights = trainer.weights();
  trainer.release();
  return { weights, last };
}

function isSavedAfter(step: number, { values }: Config): boolean {
  if (step === values.steps - 1 && values.save_checkpoint_on_completion) return true;
  return step % values.checkpoint_period === 0 && (step > 0 || values.save_checkpoint_on_start);
}

function take(dataset: Dataset, count: number, step: number): Batch[] {
  return Array.from({ length: count }, () => {
    const batch = dataset.next();
    return (
      batch ??
      fail({
        code: "data-exhausted",
        message: `the training data ran out at step ${step}`,
        help: "lower steps",
      })
    );
  });
}

function refuseBadLoss(loss: number, step: number, { values }: Config): void {
  const isBad = Number.isNaN(loss)
    ? values.abort_on_nan_loss
    : !Number.isFinite(loss) && values.abort_on_inf_loss;
  if (isBad)
    fail({
      code: "loss-not-finite",
      message: `the loss is ${loss} at step ${step}`,
      help: "lower learning_rate, or look at the data; this step was not saved",
    });
}
