// Answers to a configuration's prompt, or to several: MaxText's decode.
import type { Config } from "../../compiler/config/load.ts";
import { selectedExperts } from "../../compiler/config/moe.ts";
import { requireLocal } from "../../compiler/config/remote.ts";
import { fail } from "../../compiler/diag.ts";
import { decodeDraft, decodeModel, forwardModel } from "../../compiler/model.ts";
import { at } from "../../compiler/ops/op.ts";
import { tokenizerOf } from "../data/open.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { logSumExp } from "../eval/log-softmax.ts";
import { type DraftHead, startingDraft, startingWeights, weightsOrigin } from "../starting-weights.ts";
import { type TextStream, textStream } from "../tokenizer/stream.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type GenerateOptions, generate, type Token } from "./generate.ts";
import { CHUNK, openGenerator } from "./generator.ts";
import { allowedIn, type Prompt, promptReader, stopsOf } from "./prompts.ts";
import { samplingOf } from "./sampling.ts";
import { type Acceptance, openDraftingPair, speculate } from "./speculate.ts";

/** One prompt's answer. */
export type Answer = {
  readonly prompt: string;
  readonly text: string;
  /** Tokens of the prompt as the model read it. */
  readonly prompt_tokens: number;
  readonly tokens: readonly number[];
  /** Why it ends: with an end-of-text, or because it may not be longer. */
  readonly end: "stop" | "length";
  /** With return_log_prob: of each of the answer's tokens, and of the prompt's from the second on. */
  readonly log_probs?: readonly number[];
  readonly prompt_log_probs?: readonly number[];
};

/** What decoding tells while it works; answers come one after another, whatever their order inside. */
export type DecodeEvent =
  | {
      readonly kind: "start";
      readonly engine: string;
      readonly weights: string;
      /** How experts are computed while the prompt is read, or null for a model without any. */
      readonly experts: string | null;
    }
  | { readonly kind: "prompt"; readonly prompt: string }
  | { readonly kind: "text"; readonly text: string }
  | ({ readonly kind: "answer" } & Answer)
  | {
      readonly kind: "speed";
      readonly tokens: number;
      readonly seconds: number;
      readonly tokens_per_second: number;
    }
  | ({ readonly kind: "drafts" } & Acceptance);

export type DecodeOptions = {
  readonly cwd: string;
  /** Take the place of the configuration's prompt if there are any. */
  readonly prompts: readonly string[];
  readonly seed: number;
  on(event: DecodeEvent): void;
  /** Lets timers and signals through between tokens. */
  breathe(): Promise<void>;
};

/** Answers the prompts, as many at a time as the configuration's batch has rows. */
export async function decode(config: Config, engine: Engine, options: DecodeOptions): Promise<void> {
  requireLocal(config, "load_parameters_path", "tokenizer_path");
  const { values } = config;
  const { cwd, on } = options;
  const most = answerLength(config);
  const tokenizer = tokenizerOf(config, cwd);
  const prompts = options.prompts.length > 0 ? options.prompts : [values.prompt];
  const read = promptReader(config, tokenizer, cwd);
  const encoded = prompts.map(read);
  const settings: GenerateOptions = {
    sampling: samplingOf(config),
    seed: options.seed,
    most,
    stops: stopsOf(config, tokenizer),
    isAllowed: allowedIn(values.vocab_size, tokenizer),
  };
  const rows = Math.min(encoded.length, Math.max(1, values.micro_batch_size_to_train_on));
  const head = values.num_speculative_tokens > 0 ? openHead(config) : undefined;
  requireRoom(config, engine, rows, head);
  // Dropping counts within a run, so a prompt that need not be cut is read in one.
  const whole = values.moe_strategy === "dropping" ? values.max_prefill_predict_length : CHUNK;
  const chunk = values.use_chunked_prefill ? values.prefill_chunk_size : whole;
  const experts = selectedExperts(values, chunk) ?? null;
  on({ kind: "start", engine: engine.name, weights: weightsOrigin(config), experts });
  const model = openModel(config, engine, head, chunk);
  for (let from = 0; from < encoded.length; from += rows)
    await answer(
      model,
      encoded.slice(from, from + rows),
      tokenizer,
      settings,
      values.return_log_prob,
      options,
    );
  if (model.acceptance) on({ kind: "drafts", ...model.acceptance });
  model.release();
}

/** What answers prompts. */
type Model = {
  readonly vocab: number;
  generate(prompts: readonly (readonly number[])[], options: GenerateOptions): Iterable<Token>;
  /** Where tokens are drafted. */
  readonly acceptance?: Acceptance;
  release(): void;
};

/** Refuses a model that does not fit with its states for so many prompts, and with its head if that drafts. */
function requireRoom(config: Config, engine: Engine, rows: number, head: DraftHead | undefined): void {
  const shape = { batch: rows, seq: 1 };
  const { params, states } = decodeModel(config, shape);
  // States that cannot go back are there twice while drafts are checked.
  const kept = states.filter(({ isRewindable }) => !isRewindable);
  const drafting = head ? [...head.params, ...(decodeDraft(config, shape)?.states ?? []), ...kept] : [];
  const bytes = [...params, ...states, ...drafting].reduce(
    (n, { value }) => n + engine.bytesOf(value.type),
    0,
  );
  requireFit(engine, bytes, "the weights and what is kept of the tokens");
}

/** The configuration's model, with the head that drafts tokens if there is one. */
function openModel(config: Config, engine: Engine, head: DraftHead | undefined, chunk: number): Model {
  const weights = startingWeights(config, forwardModel(config).params);
  if (!head) {
    const generator = openGenerator(config, engine, weights, { chunk });
    return { ...generator, generate: (prompts, settings) => generate(generator, prompts, settings) };
  }
  const pair = openDraftingPair(config, engine, new Map([...weights, ...head.weights]), { chunk });
  const drafts = config.values.num_speculative_tokens;
  const acceptance = { drafted: [], accepted: [] };
  return {
    vocab: pair.model.vocab,
    generate: (prompts, settings) => speculate(pair, prompts, { ...settings, drafts, acceptance }),
    acceptance,
    release: pair.release,
  };
}

const openHead = (config: Config): DraftHead =>
  startingDraft(config) ??
  fail(
    {
      code: "decode-draft",
      message: `num_speculative_tokens=${config.values.num_speculative_tokens} needs a head for multi-token prediction, and the weights have none`,
      at: config.spanOf("num_speculative_tokens"),
      help: "name a checkpoint that holds mtp.* tensors, or leave num_speculative_tokens out",
    },
    2,
  );

/** MaxText answers with one token from the prompt and one for each place between the two lengths. */
function answerLength(config: Config): number {
  const { max_prefill_predict_length: prompt, max_target_length: all } = config.values;
  if (all > prompt) return all - prompt + 1;
  return fail(
    {
      code: "decode-length",
      message: `max_target_length=${all} leaves nothing to write after a prompt of max_prefill_predict_length=${prompt}`,
      at: config.spanOf("max_target_length"),
      help: "raise max_target_length, or lower max_prefill_predict_length",
    },
    2,
  );
}

/** What a row has answered so far. */
type Row = {
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly stream: TextStream;
  readonly tokens: number[];
  readonly logProbs: number[];
  readonly promptLogProbs: number[];
  text: string;
  end?: "stop" | "length";
};

/** Answers prompts side by side, and tells of one after another. */
async function answer(
  model: Model,
  prompts: readonly Prompt[],
  tokenizer: Tokenizer,
  settings: GenerateOptions,
  isScored: boolean,
  { on, breathe }: DecodeOptions,
): Promise<void> {
  const rows = prompts.map(
    (prompt): Row => ({
      ...prompt,
      stream: textStream(tokenizer),
      tokens: [],
      logProbs: [],
      promptLogProbs: [],
      text: "",
    }),
  );
  const tell = teller(rows, isScored, on);
  const tokens = model.generate(
    rows.map(({ ids }) => ids),
    isScored
      ? { ...settings, onPrompt: (row, logits) => score(at(rows, row), logits, model.vocab) }
      : settings,
  );
  let [start, count] = [0, 0];
  for (const token of tokens) {
    // The first tokens wait for the prompt to be read.
    if (start === 0) start = performance.now();
    else count++;
    take(at(rows, token.row), token);
    tell();
    await breathe();
  }
  const seconds = (performance.now() - start) / 1000;
  on({ kind: "speed", tokens: count, seconds, tokens_per_second: count / seconds });
}

function take(row: Row, { id, logProb, end }: Token): void {
  row.tokens.push(id);
  row.logProbs.push(logProb);
  if (end !== "stop") row.text += row.stream.push(id);
  if (end) row.text += row.stream.end();
  if (end) row.end = end;
}

/** The log probability of each token of a prompt after those before it. */
function score(row: Row, logits: Float32Array, vocab: number): void {
  row.ids.slice(1).forEach((id, i) => {
    const before = logits.subarray(i * vocab, (i + 1) * vocab);
    row.promptLogProbs.push((before[id] ?? Number.NaN) - logSumExp(before));
  });
}

/** Tells what is new of the first row that is not told of to its end, and of those after it as far as they are. */
function teller(rows: readonly Row[], isScored: boolean, on: DecodeOptions["on"]): () => void {
  let [told, characters, isBegun] = [0, 0, false];
  return () => {
    for (let row = rows[told]; row; row = rows[told]) {
      if (!isBegun) on({ kind: "prompt", prompt: row.prompt });
      isBegun = true;
      if (row.text.length > characters) on({ kind: "text", text: row.text.slice(characters) });
      characters = row.text.length;
      if (!row.end) return;
      on({ kind: "answer", ...answerOf(row, row.end, isScored) });
      [told, characters, isBegun] = [told + 1, 0, false];
    }
  };
}

const answerOf = (row: Row, end: "stop" | "length", isScored: boolean): Answer => ({
  prompt: row.prompt,
  text: row.text,
  prompt_tokens: row.ids.length,
  tokens: row.tokens,
  end,
  ...(isScored && { log_probs: row.logProbs, prompt_log_probs: row.promptLogProbs }),
});
