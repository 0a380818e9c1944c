// Answers by likelihood, as lm-evaluation-harness takes them: the letter that the model finds likeliest.

import { fail } from "../../../compiler/diag.ts";
import type { OpenModel } from "../open-model.ts";
import { commonLength, type Scored, type Scorer } from "../score.ts";
import type { Verdict } from "./evaluate.ts";
import type { Prompt } from "./prompt.ts";
import { lettersOf, type Question } from "./question.ts";

/** How texts become tokens, and how many a model takes. */
export type LikelihoodOptions = Pick<OpenModel, "encode"> & {
  /** Most tokens of prompt and letter; the prompt loses its beginning when there are more. */
  readonly maxTokens: number;
};

/** Chooses the letter, a space before it, that is likeliest after the prompt; the first at a tie. */
export const byLikelihood =
  (scorer: Scorer, options: LikelihoodOptions) =>
  (prompt: Prompt, question: Question): Verdict => {
    const pairs = pairsOf(
      prompt,
      lettersOf(question).map((letter) => ` ${letter}`),
      options,
    );
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

type Pair = Scored & { readonly truncated: number };

/**
 * Tokens of a prompt with each of some continuations. They are tokenised together, and what is longer than the prompt
 * alone is the continuation; white space at the end of the prompt counts to the continuation, for the sake of word-wise
 * tokenizers.
 */
function pairsOf(
  { start, end }: Prompt,
  continuations: readonly string[],
  { encode, maxTokens }: LikelihoodOptions,
): readonly Pair[] {
  const text = start + end;
  const context = encode(text.trimEnd());
  const shared = commonLength(encode(start), context);
  return continuations.map((continuation): Pair => {
    const answer = encode(text + continuation).slice(context.length);
    if (answer.length === 0) {
      const message = `the tokenizer gives \`${continuation}\` after the prompt no tokens of its own`;
      fail({ code: "mmlu-continuation", message });
    }
    const tokens = [...context, ...answer];
    const truncated = Math.max(0, tokens.length - maxTokens);
    if (truncated >= context.length) {
      const message = `max_target_length leaves room for ${maxTokens} tokens, and the answer \`${continuation}\` alone takes ${answer.length}`;
      fail({ code: "mmlu-continuation", message });
    }
    return {
      tokens: tokens.slice(truncated),
      from: context.length - truncated,
      // Each prompt that is cut begins somewhere else.
      shared: truncated > 0 ? 0 : shared,
      truncated,
    };
  });
}
