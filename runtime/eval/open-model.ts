// A model with its tokenizer, ready to score texts and to write on.

import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { decodeModel } from "../../compiler/model.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import { tokenizerOf } from "../data/open.ts";
import { type Generator, openGenerator } from "../decode/generator.ts";
import { allowedIn, beginningOf, stopsOf } from "../decode/prompts.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { startingWeights, weightsOrigin } from "../starting-weights.ts";
import { type Message, openChatTemplate } from "../tokenizer/chat-template.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { beginReading, type Reading } from "./reading.ts";

/** A model and its tokenizer, ready to read and continue texts. */
export type OpenModel = {
  readonly generator: Generator;
  readonly vocab: number;
  /** Most tokens of a text. */
  readonly maxTokens: number;
  /** Most tokens read in a run. */
  readonly chunk: number;
  /** Whether a text may be read in parts without changing what comes of it. */
  readonly canCut: boolean;
  /** How many texts at once leave the engine room to work. */
  readonly mostTexts: number;
  /** Begins a text. */
  begin(): Reading;
  readonly tokenizer: Tokenizer;
  /** Tokens that end a text. */
  readonly stops: ReadonlySet<number>;
  /** By id, 1 where a text may hold it. */
  readonly allowed: Uint8Array;
  /** The tokens of a text, after beginning-of-text if the model is used to it. */
  encode(text: string): readonly number[];
  /** A conversation as the text that the model was trained to continue. */
  chat(messages: readonly Message[]): string;
  /** Where the weights come from, in words. */
  readonly origin: string;
};

/** Loads the weights, which `read` gives, and the tokenizer that a configuration names. */
export function openModel(
  config: Config,
  engine: Engine,
  cwd: string,
  read: (params: readonly ParamDecl[]) => Weights = (params) => startingWeights(config, params),
): OpenModel {
  const { values } = config;
  const tokenizer = tokenizerOf(config, cwd);
  if (tokenizer.vocabSize > values.vocab_size) {
    fail({
      code: "token-out-of-vocabulary",
      message: `the tokenizer has ids up to ${tokenizer.vocabSize - 1}, but the model's vocab_size is ${values.vocab_size}`,
      at: config.spanOf("tokenizer_path"),
      help: "set tokenizer_path to the model's own tokenizer",
    });
  }
  const { params, states } = decodeModel(config, { batch: 1, seq: 1 });
  const bytesOf = (values: typeof params | typeof states): number =>
    values.reduce((sum, { value }) => sum + engine.bytesOf(value.type), 0);
  const [weights, text] = [bytesOf(params), bytesOf(states)];
  requireFit(engine, weights + text, "the weights and what is kept of a text");
  // Dropping counts within a run, so there a text is read in one.
  const canCut = values.moe_strategy !== "dropping";
  const options = canCut ? {} : { chunk: values.max_target_length };
  const generator = openGenerator(config, engine, read(params), options);
  const begin = beginningOf(config, tokenizer);
  const template = { text: values.chat_template, path: values.chat_template_path, cwd };
  return {
    generator,
    vocab: generator.vocab,
    maxTokens: generator.length,
    chunk: generator.chunk,
    canCut,
    // Half of what the weights leave is for what a run computes.
    mostTexts: Math.max(1, Math.floor((engine.capacity - weights) / 2 / text)),
    begin: () => beginReading(generator),
    tokenizer,
    stops: stopsOf(config, tokenizer),
    allowed: allowedIn(generator.vocab, tokenizer),
    encode: (text) => [...begin, ...tokenizer.encode(text)],
    chat: (messages) => openChatTemplate(tokenizer, template).render(messages),
    origin: weightsOrigin(config),
  };
}
