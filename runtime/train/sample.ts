// The greedy sample at the end of a training run.
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import { tokenizerOf } from "../data/open.ts";
import { continueGreedily } from "../decode/generate.ts";
import { openGenerator } from "../decode/generator.ts";
import { allowedIn } from "../decode/prompts.ts";
import type { Engine } from "../engines/engine.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** The text that shows at the end of a run what was learnt. */
export type Sample = {
  /** The configuration's tokenizer, opened when it is first asked for. */
  tokenizer(): Tokenizer;
  /** What the model continues the configuration's prompt with; nothing when none is asked for. */
  run(engine: Engine, weights: Weights): string | undefined;
};

/** Reads the prompt, so that one that does not fit the model is refused before the first step. */
export function openSample(config: Config, cwd: string): Sample {
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
    run(engine, weights) {
      if (ids.length === 0 || count === 0) return undefined;
      const generator = openGenerator(config, engine, weights, { length: ids.length + count });
      const found = continueGreedily(generator, ids, count, allowedIn(vocab, tokenizer()));
      generator.release();
      return tokenizer().decode(found);
    },
  };
}
