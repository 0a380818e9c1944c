// A training run from a configuration: data, steps, metrics, the saved model and a sample.
import { join, resolve } from "node:path";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { selectedExperts } from "../../compiler/config/moe.ts";
import { requireLocal } from "../../compiler/config/remote.ts";
import { fail } from "../../compiler/diag.ts";
import { elements } from "../../compiler/ir/shape.ts";
import { forwardModel, modelFlops } from "../../compiler/model.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import { type ClaimedDirectory, claimDirectory, saveHuggingFace } from "../checkpoint/save.ts";
import type { Batch, Dataset } from "../data/dataset.ts";
import { openDataset, tokenizerOf } from "../data/open.ts";
import { continueGreedily } from "../decode/generate.ts";
import { openGenerator } from "../decode/generator.ts";
import { allowedIn } from "../decode/prompts.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { startingDraft, startingWeights, weightsOrigin } from "../starting-weights.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { metricsFile, type RunFacts, type Scalars, scalarsOf, tokensPerStep } from "./report.ts";
import { type Routing, routingOf } from "./routing.ts";
import { openTrainer, type StepReport } from "./trainer.ts";

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

/** A parameter in training is held four times: itself, its gradient and AdamW's two moments, four bytes each. */
const BYTES_PER_PARAMETER = 16;

/** Trains as the configuration says. Errors about data, memory or where output goes come before the first step. */
export async function train(config: Config, engine: Engine, options: TrainOptions): Promise<TrainResult> {
  const { values } = config;
  const { cwd, on } = options;
  requireLocal(config, "load_parameters_path", "dataset_path", "tokenizer_path", "metrics_file");
  if (values.enable_checkpointing) requireLocal(config, "base_output_directory");
  const { params } = forwardModel(config);
  requireFit(engine, BYTES_PER_PARAMETER * countOf(params), "the weights, gradients and AdamW moments");
  const sample = openSample(config, cwd);
  const dataset = openDataset(config, sample.tokenizer, cwd);
  const directory = values.enable_checkpointing
    ? claimDirectory(resolve(cwd, join(values.checkpoint_dir, String(values.steps))))
    : null;
  try {
    // A head that drafts is not trained: the model keeps the one it came with.
    const head = directory ? startingDraft(config) : undefined;
    const tflops = (3 * modelFlops(config) * values.gradient_accumulation_steps) / 1e12;
    on({ kind: "start", facts: factsOf(config, engine, params, dataset, directory, tflops) });
    const metrics = metricsFile(config, cwd);
    await options.breathe();
    const { weights, last } = await runSteps(config, engine, dataset, tflops, options, (step, measured) => {
      metrics({ step, ...measured.scalars, ...measured.tables });
      on({ kind: "step", step, of: values.steps, ...measured });
    });
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
    return { steps: values.steps, loss: last?.loss ?? Number.NaN, directory: directory?.path ?? null };
  } finally {
    directory?.abandon();
  }
}

const countOf = (params: readonly ParamDecl[]): number =>
  params.reduce((n, { value }) => n + elements(value.type), 0);

function factsOf(
  config: Config,
  engine: Engine,
  params: readonly ParamDecl[],
  dataset: Dataset,
  directory: ClaimedDirectory | null,
  tflops: number,
): RunFacts {
  return {
    run_name: config.values.run_name,
    parameters: countOf(params),
    weights: weightsOrigin(config),
    experts: selectedExperts(config.values, config.values.max_target_length) ?? null,
    data: dataset.description,
    engine: engine.name,
    steps: config.values.steps,
    tokens_per_step: tokensPerStep(config),
    tflops_per_step: tflops,
    output: directory?.path ?? null,
  };
}

async function runSteps(
  config: Config,
  engine: Engine,
  dataset: Dataset,
  tflops: number,
  { breathe }: TrainOptions,
  after: (step: number, measured: Routing) => void,
): Promise<{ weights: Weights; last: StepReport | undefined }> {
  const { values } = config;
  const tokens = tokensPerStep(config);
  const trainer = openTrainer(config, engine, (params) => startingWeights(config, params));
  let last: StepReport | undefined;
  for (let step = 0; step < values.steps; step++) {
    const started = performance.now();
    last = trainer.step(take(dataset, values.gradient_accumulation_steps, step));
    const general = scalarsOf(last, (performance.now() - started) / 1000, tokens, tflops);
    const { scalars, tables } = routingOf(last, config);
    after(step, { scalars: { ...general, ...scalars }, tables });
    refuseBadLoss(last.loss, step, config);
    await breathe();
  }
  const weights = trainer.weights();
  trainer.release();
  return { weights, last };
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
      help: "lower learning_rate, or look at the data; nothing was saved",
    });
}

/** The tokenizer, opened once when first needed, and the greedy sample at the end of a run. */
function openSample(config: Config, cwd: string) {
  const { sample_prompt: prompt, sample_tokens: count, vocab_size: vocab } = config.values;
  let opened: Tokenizer | undefined;
  const tokenizer = (): Tokenizer => {
    opened ??= tokenizerOf(config, cwd);
    return opened;
  };
  const ids = prompt === "" ? [] : tokenizer().encode(prompt);
  const stranger = ids.find((id) => id >= vocab);
  if (stranger !== undefined)
    fail(
      {
        code: "sample-prompt",
        message: `sample_prompt has the token ${stranger}, vocab_size is ${vocab}`,
        at: config.spanOf("sample_prompt"),
        help: "the tokenizer and the model do not belong together",
      },
      2,
    );
  return {
    tokenizer,
    /** The continuation, or nothing when none is asked for. */
    run(engine: Engine, weights: Weights): string | undefined {
      if (ids.length === 0 || count === 0) return undefined;
      const generator = openGenerator(config, engine, weights, { length: ids.length + count });
      const found = continueGreedily(generator, ids, count, allowedIn(vocab, tokenizer()));
      generator.release();
      return tokenizer().decode(found);
    },
  };
}
