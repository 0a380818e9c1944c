// Answers that the model writes, as MaxText's mmlu_eval reads them.

import { setImmediate as breathe } from "node:timers/promises";
import { generate } from "../../decode/generate.ts";
import type { Sampling } from "../../decode/sampling.ts";
import { textStream } from "../../tokenizer/stream.ts";
import type { OpenModel } from "../open-model.ts";
import type { Judge } from "./evaluate.ts";
import { lettersOf } from "./question.ts";

/** What is needed of a model that writes. */
export type WritingModel = Pick<OpenModel, "generator" | "tokenizer" | "stops" | "allowed" | "encode">;

export type GenerationOptions = {
  readonly sampling: Sampling;
  readonly seed: number;
  /** Most tokens of a prompt, which loses its beginning when there are more. */
  readonly maxPrompt: number;
  /** Most tokens of prompt and answer together. */
  readonly maxTokens: number;
};

/** Has the model write until a letter can be read, the text ends, or there is no more room. */
export const byGeneration =
  (model: WritingModel, { sampling, seed, maxPrompt, maxTokens }: GenerationOptions): Judge =>
  async ({ start, end }, question) => {
    const prompt = start + end;
    const { tokenizer, generator, stops, allowed: isAllowed } = model;
    const all = model.encode(prompt);
    const truncated = Math.max(0, all.length - maxPrompt);
    const tokens = all.slice(truncated);
    const letters = lettersOf(question);
    const most = maxTokens - tokens.length;
    const stream = textStream(tokenizer);
    let output = "";
    for (const { id } of generate(generator, [tokens], { sampling, seed, most, stops, isAllowed })) {
      if (stops.has(id)) break;
      output += stream.push(id);
      const chosen = answerIn(prompt, output, letters);
      if (chosen !== undefined) return { chosen, truncated, output };
      await breathe();
    }
    output += stream.end();
    return { chosen: answerIn(prompt, output, letters) ?? null, truncated, output };
  };

/**
 * The index of the first letter that follows "Answer:" or "The answer is" in what the model wrote. A prompt that
 * ends in "Answer:" counts as its beginning. As in MaxText the words may be written in any case; but the letter must be
 * a capital, for `a` begins many an answer that names none, and examples in the prompt are not taken for answers.
 */
export function answerIn(prompt: string, output: string, letters: readonly string[]): number | undefined {
  const [end = ""] = /answer:\s*$/i.exec(prompt) ?? [];
  for (const [, letter = ""] of `${end}${output}`.matchAll(/(?:answer:|the answer is)\s*([a-z])/gi)) {
    const index = letters.indexOf(letter);
    if (index >= 0) return index;
  }
  return undefined;
}
