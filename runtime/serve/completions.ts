// POST /v1/completions: texts that go on from prompts, with the log probabilities of both if wanted.

import { showJson } from "../../compiler/json.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { continueText, type FinishReason, type Piece } from "./continue.ts";
import { refuse } from "./errors.ts";
import { countOf, fieldsOf, flagOf, refuseUnless } from "./fields.ts";
import type { ServedModel, TokenScore } from "./model.ts";
import type { Work } from "./queue.ts";
import {
  headOf,
  limitOf,
  type Reply,
  requireModel,
  requireRoom,
  streamOf,
  tokensOf,
  usageOf,
  writing,
} from "./reply.ts";
import { type Choosing, choosingOf, SAMPLING, samplerOf } from "./sampling.ts";

// The last is lm-evaluation-harness's own name, which it sends beside the other.
const LIMITS = ["max_tokens", "max_gen_toks"];
const KNOWN = ["model", "prompt", ...LIMITS, "echo", "logprobs", "suffix", "best_of", ...SAMPLING];
const MOST_TOP = 20;

/** Answers a request's body. */
export function completions(model: ServedModel, body: unknown): Reply {
  const fields = fieldsOf(body, KNOWN);
  requireModel(model, fields);
  refuseUnless(fields, "best_of", [1]);
  refuseUnless(fields, "suffix", [""]);
  const maxTokens = limitOf(fields, LIMITS, 0) ?? 16;
  const prompts = promptsOf(model, fields["prompt"] ?? undefined);
  for (const prompt of prompts) requireRoom(model, "prompt", prompt, maxTokens);
  const request = {
    prompts,
    maxTokens,
    echo: flagOf(fields, "echo"),
    top: countOf(fields, "logprobs", undefined, { least: 0, most: MOST_TOP }),
    ...choosingOf(fields),
    ...streamOf(fields),
  };
  return { kind: "work", isStream: request.isStream, work: answer(model, request) };
}

type Request = ReturnType<typeof streamOf> &
  Choosing & {
    readonly prompts: readonly (readonly number[])[];
    readonly maxTokens: number;
    readonly echo: boolean;
    readonly top: number | undefined;
  };

function* answer(model: ServedModel, request: Request): Work<object | undefined, object> {
  const { prompts, echo, top, isStream, withUsage } = request;
  const head = headOf("cmpl", "text_completion", model);
  const choices: object[] = [];
  let count = 0;
  for (const [index, prompt] of prompts.entries()) {
    const choiceOf = ({ text, tokens }: Piece, finish_reason: FinishReason | null): object => {
      const logprobs = top === undefined ? null : logProbsOf(model.tokenizer, tokens);
      return { index, text, logprobs, finish_reason };
    };
    const chunkOf = (piece: Piece): object => ({ ...head, choices: [choiceOf(piece, null)] });
    const pieces = continueText(model, prompt, { ...request, choose: samplerOf(model, request) });
    const written = yield* writing(pieces, isStream ? chunkOf : undefined);
    if (isStream) yield { ...head, choices: [choiceOf({ text: "", tokens: [] }, written.reason)] };
    choices.push(choiceOf(written, written.reason));
    count += written.tokens.length - (echo ? prompt.length : 0);
  }
  const read = prompts.reduce((sum, prompt) => sum + prompt.length, 0);
  const usage = usageOf(read, count);
  if (withUsage) yield { ...head, choices: [], usage };
  return { ...head, choices, usage };
}

/** The prompts as tokens: a text, a list of texts, a list of tokens, or a list of lists of tokens. */
function promptsOf(model: ServedModel, value: unknown): readonly (readonly number[])[] {
  const isText = (x: unknown): x is string => typeof x === "string";
  const isId = (x: unknown): x is number => Number.isInteger(x) && Number(x) >= 0 && Number(x) < model.vocab;
  const isIds = (x: unknown): x is readonly number[] => Array.isArray(x) && x.length > 0 && x.every(isId);
  const encode = (text: string) => tokensOf(model, "prompt", text, model.encode);
  if (isText(value)) return [encode(value)];
  if (isIds(value)) return [value];
  if (Array.isArray(value) && value.length > 0) {
    if (value.every(isText)) return value.map(encode);
    if (value.every(isIds)) return value;
  }
  return refuse(
    "prompt",
    `\`prompt\` must be a text, a list of texts, or one or more lists of token ids below ${model.vocab}; found ${showJson(value)}`,
  );
}

/** OpenAI's table of log probabilities. Where two tokens are spelled the same, the likelier one is shown. */
function logProbsOf({ decode }: Tokenizer, tokens: readonly TokenScore[]): object {
  const topOf = ({ id, logProb, top }: TokenScore): object | null => {
    if (logProb === undefined) return null;
    const byText = new Map<string, number>();
    for (const one of [...top, { id, score: logProb }]) {
      const text = decode([one.id]);
      byText.set(text, Math.max(one.score, byText.get(text) ?? Number.NEGATIVE_INFINITY));
    }
    return Object.fromEntries(byText);
  };
  return {
    tokens: tokens.map(({ id }) => decode([id])),
    token_logprobs: tokens.map(({ logProb }) => logProb ?? null),
    top_logprobs: tokens.map(topOf),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
