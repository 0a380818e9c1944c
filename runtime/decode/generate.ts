// Answers to prompts, token by token.
import { fail, invariant } from "../../compiler/diag.ts";
import { logSumExp } from "../eval/log-softmax.ts";
import { random } from "../random.ts";
import type { Generator } from "./generator.ts";
import { greedy, openSampler, type Sampling } from "./sampling.ts";

export type GenerateOptions = {
  readonly sampling: Sampling;
  /** Each row draws random numbers of its own from this seed, whatever the others do. */
  readonly seed: number;
  /** The most tokens of an answer, end-of-text included. */
  readonly most: number;
  /** End-of-text: an answer ends with the first of these. */
  readonly stops: ReadonlySet<number>;
  /** By id, 1 where it may be chosen; all may if it is not given. */
  readonly isAllowed?: Uint8Array;
  /** Hears the logits of each prompt, [tokens, vocab], before its answer. */
  onPrompt?(row: number, logits: Float32Array): void;
};

/** One more token of a row's answer, and why it is the last if it is. */
export type Token = {
  readonly row: number;
  readonly id: number;
  /** Its log probability among all tokens, whatever the way it was chosen. */
  readonly logProb: number;
  readonly end?: "stop" | "length";
};

/** Continues prompts of at least one token side by side, as long as the caller asks. */
export function* generate(
  generator: Generator,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): globalThis.Generator<Token, void> {
  const { sampling, seed, most, stops, isAllowed, onPrompt } = options;
  if (prompts.some((prompt) => prompt.length === 0))
    fail(
      {
        code: "decode-prompt",
        message: "the prompt has no tokens, and so nothing to continue",
        help: "give a text, or use a tokenizer with a beginning-of-text token and add_bos=true",
      },
      2,
    );
  const samplers = prompts.map((_, row) => openSampler(sampling, random(seed, row), isAllowed));
  let sequences = generator.start(prompts.length);
  try {
    const prefill = generator.feed(sequences, prompts, { isEach: onPrompt !== undefined });
    sequences = prefill.sequences;
    if (onPrompt) for (const [row, each] of prefill.logits.entries()) onPrompt(row, each);
    let logits: readonly Float32Array[] = prefill.logits.map((each) => each.subarray(-generator.vocab));
    for (let count = 1, active = [...prompts.keys()]; count <= most && active.length > 0; count++) {
      const next: number[][] = prompts.map(() => []);
      for (const row of active) {
        const [own, sampler] = [logits[row], samplers[row]];
        invariant(own && sampler, "an active row was fed");
        const id = sampler(own);
        const end = stops.has(id) ? "stop" : count === most ? "length" : undefined;
        if (!end) next[row] = [id];
        yield { row, id, logProb: (own[id] ?? Number.NaN) - logSumExp(own), ...(end && { end }) };
      }
      active = active.filter((row) => next[row]?.length);
      if (active.length === 0) break;
      ({ sequences, logits } = generator.feed(sequences, next));
    }
  } finally {
    generator.drop(sequences);
  }
}

/** Continues a prompt with the likeliest tokens, as many as asked for. */
export const continueGreedily = (
  generator: Generator,
  prompt: readonly number[],
  most: number,
  isAllowed?: Uint8Array,
): number[] =>
  Array.from(
    generate(generator, [prompt], {
      sampling: greedy,
      seed: 0,
      most,
      stops: new Set(),
      ...(isAllowed && { isAllowed }),
    }),
    ({ id }) => id,
  );
