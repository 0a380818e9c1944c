// Logits of prompts by q3c's own engine, each prompt at its own length.

import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { forwardModel, moduleStats } from "../../compiler/model.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { openForward } from "../forward.ts";
import { startingWeights } from "../starting-weights.ts";
import { openChatTemplate } from "../tokenizer/chat-template.ts";
import { openTokenizer } from "../tokenizer/tokenizer.ts";
import type { PromptLogits } from "./golden-record.ts";

/** How prompts become tokens. */
export type PromptOptions = { readonly cwd: string; readonly applyChatTemplate: boolean };

/** Loads the weights and the tokenizer that a configuration names; what it gives computes a prompt's logits. */
export function openPromptLogits(
  config: Config,
  engine: Engine,
  { cwd, applyChatTemplate }: PromptOptions,
): (prompt: string) => PromptLogits {
  const { tokenizer_type: type, tokenizer_path: path, add_bos: addBos, ...values } = config.values;
  const tokenizer = openTokenizer({ type, path: path ?? "", cwd });
  const template = applyChatTemplate
    ? openChatTemplate(tokenizer, { text: values.chat_template, path: values.chat_template_path, cwd })
    : undefined;
  // A chat template writes the beginning of the text itself.
  const bos = addBos && !template && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  const { module, params } = forwardModel(config);
  requireFit(engine, moduleStats(module).parameters * 4, "the weights");
  const forward = openForward(config, engine, startingWeights(config, params));
  return (prompt) => {
    const formattedPrompt = template?.render([{ role: "user", content: prompt }]);
    const tokens = [...bos, ...tokenizer.encode(formattedPrompt ?? prompt)];
    const said = JSON.stringify(prompt);
    if (tokens.length === 0) fail({ code: "golden-prompt", message: `the prompt ${said} has no tokens` });
    const stranger = tokens.find((id) => id >= values.vocab_size);
    if (stranger !== undefined)
      fail({
        code: "golden-prompt",
        message: `the prompt ${said} has the token ${stranger}, vocab_size is ${values.vocab_size}`,
        help: "set tokenizer_path to the model's own tokenizer",
      });
    const { logits, vocab } = forward.run(tokens);
    return { prompt, formattedPrompt, tokens, attentionMask: tokens.map(() => 1), logits, vocab };
  };
}
