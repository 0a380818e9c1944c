// Reading a prompt and writing on, as units of work for the queue.

import { invariant } from "../../compiler/diag.ts";
import type { Sampler } from "../decode/sampling.ts";
import { topCandidates } from "../eval/compare.ts";
import { logSumExp } from "../eval/log-softmax.ts";
import type { Reading } from "../eval/reading.ts";
import { textStream } from "../tokenizer/stream.ts";
import type { ServedModel, TokenScore } from "./model.ts";
import type { Work } from "./queue.ts";

/** Why a text ends: at a stop or the end of the text, or for want of room. */
export type FinishReason = "stop" | "length";

export type ContinueOptions = {
  /** Most tokens written. */
  readonly maxTokens: number;
  /** Whether the prompt's tokens are given, too. */
  readonly echo: boolean;
  /** How many of the likeliest tokens are given with each; without it no log probabilities are. */
  readonly top?: number | undefined;
  /** Texts that end the answer and are not part of it. */
  readonly stops: readonly string[];
  readonly choose: Sampler;
};

/** Text in the order it is made, with the tokens it is made of. */
export type Piece = { readonly text: string; readonly tokens: readonly TokenScore[] };

/** Gives the pieces of an answer, and of the prompt if it is echoed; empty ones stand for work without a result. */
export function* continueText(
  model: ServedModel,
  prompt: readonly number[],
  options: ContinueOptions,
): Work<Piece, FinishReason> {
  const reading = model.begin();
  try {
    const { logits, offset } = yield* readPrompt(model, reading, prompt, options);
    return yield* writeOn(model, reading, logits, offset, options);
  } finally {
    reading.close();
  }
}

type Start = { readonly logits: Float32Array; readonly offset: number };

function* readPrompt(
  { tokenizer, vocab, chunk }: ServedModel,
  reading: Reading,
  prompt: readonly number[],
  { echo, top }: ContinueOptions,
): Work<Piece, Start> {
  const isEach = echo && top !== undefined;
  const stream = textStream(tokenizer);
  let last: Float32Array | undefined;
  let offset = 0;
  for (let start = 0; start < prompt.length; start += chunk) {
    const ids = prompt.slice(start, start + chunk);
    const logits = reading.read(ids, isEach ? ids.length : 1);
    const rowAt = (i: number): Float32Array => logits.slice(i * vocab, (i + 1) * vocab);
    const tokens: TokenScore[] = [];
    let text = "";
    if (echo) {
      for (const [i, id] of ids.entries()) {
        tokens.push(scoreOf(id, offset + text.length, i > 0 && isEach ? rowAt(i - 1) : last, top));
        text += stream.push(id);
      }
      if (start + chunk >= prompt.length) text += stream.end();
    }
    offset += text.length;
    last = rowAt(isEach ? ids.length - 1 : 0);
    yield { text, tokens };
  }
  invariant(last, "a prompt has a token");
  return { logits: last, offset };
}

function* writeOn(
  { tokenizer, stops: ends }: ServedModel,
  reading: Reading,
  first: Float32Array,
  start: number,
  { maxTokens, top, stops, choose }: ContinueOptions,
): Work<Piece, FinishReason> {
  const stream = textStream(tokenizer);
  const watch = stopWatch(stops);
  let [logits, offset] = [first, start];
  let reason: FinishReason = "length";
  for (let count = 1; count <= maxTokens; count++) {
    const id = choose(logits);
    const tokens = [scoreOf(id, offset, logits, top)];
    if (ends.has(id)) {
      yield { text: "", tokens };
      reason = "stop";
      break;
    }
    const text = stream.push(id);
    const { text: shown, isStopped } = watch.push(text);
    yield { text: shown, tokens };
    if (isStopped) return "stop";
    offset += text.length;
    if (count < maxTokens) logits = reading.read([id]);
  }
  const { text, isStopped } = watch.push(stream.end());
  yield { text: isStopped ? text : text + watch.rest(), tokens: [] };
  return isStopped ? "stop" : reason;
}

/** A token's score by the logits before it; without these, or where no scores are wanted, only the token. */
function scoreOf(
  id: number,
  offset: number,
  row: Float32Array | undefined,
  top: number | undefined,
): TokenScore {
  if (!row || top === undefined) return { id, offset, top: [] };
  const total = logSumExp(row);
  return {
    id,
    offset,
    logProb: (row[id] ?? Number.NaN) - total,
    top: topCandidates(row, top).map((one) => ({ id: one.id, score: one.score - total })),
  };
}

type StopWatch = {
  /** What may be shown now of all text so far, and whether a stop ended it. */
  push(text: string): { readonly text: string; readonly isStopped: boolean };
  /** What was held back because it might have become a stop. */
  rest(): string;
};

/** Shows text up to the first stop in it; what might be the beginning of one is held back. */
export function stopWatch(stops: readonly string[]): StopWatch {
  let held = "";
  return {
    push(text) {
      held += text;
      const at = Math.min(...stops.map((stop) => held.indexOf(stop)).filter((i) => i >= 0));
      if (Number.isFinite(at)) {
        const shown = held.slice(0, at);
        held = "";
        return { text: shown, isStopped: true };
      }
      const kept = Math.max(0, ...stops.map((stop) => overlap(held, stop)));
      const shown = held.slice(0, held.length - kept);
      held = held.slice(held.length - kept);
      return { text: shown, isStopped: false };
    },
    rest: () => held,
  };
}

/** How long the longest end of a text is that begins a stop. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--)
    if (stop.startsWith(text.slice(text.length - n))) return n;
  return 0;
}
