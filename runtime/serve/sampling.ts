// How a request wants its tokens chosen, and where its answer is to end.

import { greedy, openSampler, type Sampler, type Sampling } from "../decode/sampling.ts";
import { random } from "../random.ts";
import { countOf, type Fields, numberOf, refuseUnless, textsOf } from "./fields.ts";
import type { ServedModel } from "./model.ts";

/** The names of the fields read here, with those that are let through only when they change nothing. */
export const SAMPLING = [
  "temperature",
  "top_p",
  "top_k",
  "seed",
  "stop",
  "stream",
  "stream_options",
  "user",
  "n",
  "presence_penalty",
  "frequency_penalty",
  "logit_bias",
] as const;

const MOST_STOPS = 16;

export type Choosing = {
  readonly temperature: number;
  /** Only the likeliest tokens that together have this probability are chosen from. */
  readonly topP: number;
  /** Only so many of the likeliest tokens are chosen from. */
  readonly topK: number | undefined;
  readonly seed: number | undefined;
  readonly stops: readonly string[];
};

/** Reads the fields; defaults are OpenAI's. */
export function choosingOf(fields: Fields): Choosing {
  refuseUnless(fields, "n", [1]);
  refuseUnless(fields, "presence_penalty", [0]);
  refuseUnless(fields, "frequency_penalty", [0]);
  refuseUnless(fields, "logit_bias", []);
  return {
    temperature: numberOf(fields, "temperature", 1, { least: 0, most: 2 }),
    topP: numberOf(fields, "top_p", 1, { least: 0, most: 1 }),
    topK: countOf(fields, "top_k", undefined, { least: 1 }),
    seed: countOf(fields, "seed", undefined, {}),
    stops: textsOf(fields, "stop", MOST_STOPS),
  };
}

/**
 * Chooses a token for each row of logits in turn. Unlike MaxText, OpenAI lets the temperature act before the tokens
 * are sorted out by probability. Requests without a seed draw other numbers each time.
 */
export function samplerOf(
  { allowed, vocab }: ServedModel,
  { temperature, topP, topK, seed }: Choosing,
): Sampler {
  const isGreedy = temperature === 0 || topP === 0;
  const sampling: Sampling = isGreedy
    ? greedy
    : { strategy: "composite", nucleusP: topP, topK: topK ?? vocab, temperature: 1 };
  const sample = openSampler(sampling, random(seed ?? Math.floor(Math.random() * 2 ** 32)), allowed);
  return isGreedy ? sample : (logits) => sample(logits.map((x) => x / temperature));
}
