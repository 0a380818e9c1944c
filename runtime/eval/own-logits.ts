// Logits of prompts by q3c's own engine, each prompt at its own length.

import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { forwardModel, moduleStats } from "../../compiler/model.ts";
import { tokenizerOf } from "../data/open.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { openForward } from "../forward.ts";
import { startingWeights } from "../starting-weights.ts";
import { openChatTemplate } from "../tokenizer/chat-template.ts";
import type { PromptLogits } from "./golden-record.ts";

/** How prompts become tokens. */
export type PromptOptions = { readonly cwd: string; readonly applyChatTemplate: boolean };

/** A prompt as it was given, as the chat template renders it if there is one, and as the model reads it. */
type EncodedPrompt = Pick<PromptLogits, "prompt" | "formattedPrompt" | "tokens">;

/** The logits of prompts, each when it is asked for. All prompts are read before the weights are. */
export function promptLogits(
  config: Config,
  engine: Engine,
  prompts: readonly string[],
  options: PromptOptions,
): Iterable<PromptLogits> {
  const encoded = prompts.map(promptEncoder(config, options));
  const { module, params } = forwardModel(config);
  requireFit(engine, moduleStats(module).parameters * 4, "the weights");
  const forward = openForward(config, engine, startingWeights(config, params));
  return (function* () {
    for (const one of encoded) {
      const { logits, vocab } = forward.run(one.tokens);
      yield { ...one, attentionMask: one.tokens.map(() => 1), logits, vocab };
    }
  })();
}

function promptEncoder(
  config: Config,
  { cwd, applyChatTemplate }: PromptOptions,
): (prompt: string) => EncodedPrompt {
  const { add_bos: addBos, ...values } = config.values;
  const tokenizer = tokenizerOf(config, cwd);
  const template = applyChatTemplate
    ? openChatTemplate(tokenizer, { text: values.chat_template, path: values.chat_template_path, cwd })
    : undefined;
  // A chat template writes the beginning of the text itself.
  const bos = addBos && !template && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  return (prompt) => {
    const formattedPrompt = template?.render([{ role: "user", content: prompt }]);
    const tokens = [...bos, ...tokenizer.encode(formattedPrompt ?? prompt)];
    const said = JSON.stringify(prompt);
    if (tokens.length === 0)
      fail({
        code: "golden-prompt",
        message: `the prompt ${said} has no tokens`,
        help: "separate prompts by semicolons, without one at the end",
      });
    const stranger = tokens.find((id) => id >= values.vocab_size);
    if (stranger !== undefined)
      fail({
        code: "golden-prompt",
        message: `the prompt ${said} has the token ${stranger}, vocab_size is ${values.vocab_size}`,
        help: "set tokenizer_path to the model's own tokenizer",
      });
    return { prompt, formattedPrompt, tokens };
  };
}
