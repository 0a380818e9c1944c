// Answers by likelihood, as lm-evaluation-harness takes them: the letter that the model finds likeliest.

import { fail } from "../../../compiler/diag.ts";
import type { OpenModel } from "../open-model.ts";
import type { Scored, Scorer } from "../score.ts";
import type { Verdict } from "./evaluate.ts";
import { lettersOf, type Question } from "./question.ts";

/** How texts become tokens, and how many a model takes. */
export type LikelihoodOptions = Pick<OpenModel, "encode"> & {
  /** Most tokens of prompt and letter; the prompt loses its beginning when there are more. */
  readonly maxTokens: number;
};

/** Chooses the letter, a space before it, that is likeliest after the prompt; the first at a tie. */
export const byLikelihood =
  (scorer: Scorer, options: LikelihoodOptions) =>
  (prompt: string, question: Question): Verdict => {
    const pairs = lettersOf(question).map((letter) => pairOf(prompt, ` ${letter}`, options));
    const values = scorer.logLikelihoods(pairs);
    if (values.some(Number.isNaN)) {
      fail({
        code: "mmlu-not-finite",
        message: "the model's logits are not numbers: its weights are broken",
      });
    }
    return {
      chosen: values.reduce((best, value, i) => (value > (values[best] ?? Number.NaN) ? i : best), 0),
      truncated: Math.max(...pairs.map(({ truncated }) => truncated)),
      logLikelihoods: values,
    };
  };

/**
 * Tokens of a text and its continuation. They are tokenised together, and what is longer than the context alone is the
 * continuation; white space at the end of the context counts to the continuation, for the sake of word-wise tokenizers.
 */
function pairOf(
  text: string,
  continuation: string,
  { encode, maxTokens }: LikelihoodOptions,
): Scored & { readonly truncated: number } {
  const context = text.trimEnd();
  const start = encode(context);
  const whole = encode(text + continuation);
  const tokens = [...start, ...whole.slice(start.length)];
  const truncated = Math.max(0, tokens.length - maxTokens);
  const from = start.length - truncated;
  if (from < 1 || tokens.length === start.length) {
    fail({
      code: "mmlu-continuation",
      message:
        from < 1
          ? `max_target_length leaves room for ${maxTokens} tokens, and the answer \`${continuation}\` alone takes ${tokens.length - start.length}`
          : `the tokenizer gives \`${continuation}\` after the prompt no tokens of its own`,
    });
  }
  return { tokens: tokens.slice(truncated), from, truncated };
}
