// What stands around an answer: the prompt as tokens, the tokens that end it, and those that it may hold.
import { foldersBeside } from "../../compiler/config/beside.ts";
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { openChatTemplate } from "../tokenizer/chat-template.ts";
import { endOfTextIn } from "../tokenizer/end-of-text.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** A prompt as it was given, and as the model reads it. */
export type Prompt = { readonly prompt: string; readonly ids: readonly number[] };

/**
 * Beginning-of-text, where texts as they are begin with it. A tokenizer with a chat template is a chat model's, whose
 * texts MaxText begins without.
 */
export const beginningOf = ({ values }: Config, { bosId, chatTemplate }: Tokenizer): readonly number[] =>
  values.add_bos && !chatTemplate && bosId !== undefined ? [bosId] : [];

/** Prompts as tokens: rendered with the chat template, or as they are after beginning-of-text. */
export function promptReader(config: Config, tokenizer: Tokenizer, cwd: string): (prompt: string) => Prompt {
  const { values } = config;
  const template = values.use_chat_template
    ? openChatTemplate(tokenizer, { text: values.chat_template, path: values.chat_template_path, cwd })
    : undefined;
  const system = values.system_prompt === "" ? [] : [{ role: "system", content: values.system_prompt }];
  const begin = template ? [] : beginningOf(config, tokenizer);
  return (prompt) => {
    const text = template ? template.render([...system, { role: "user", content: prompt }]) : prompt;
    const all = [...begin, ...tokenizer.encode(text)];
    if (all.length <= values.max_prefill_predict_length) return { prompt, ids: all };
    return fail(
      {
        code: "decode-prompt",
        message: `the prompt has ${all.length} tokens, and max_prefill_predict_length is ${values.max_prefill_predict_length}`,
        at: config.spanOf("prompt") ?? config.spanOf("max_prefill_predict_length"),
        help: `use max_prefill_predict_length=${2 ** Math.ceil(Math.log2(all.length))}, with a larger max_target_length`,
      },
      2,
    );
  };
}

/** End-of-text of the tokenizer, and of the files beside the weights. */
export function stopsOf({ values }: Config, tokenizer: Tokenizer): ReadonlySet<number> {
  const folders = values.weights_path === null ? [] : foldersBeside(values.weights_path);
  const named = [...endOfTextIn(folders, "generation_config.json"), ...endOfTextIn(folders, "config.json")];
  return new Set([...tokenizer.eosIds, ...named]);
}

/** A model's vocabulary is often padded beyond the tokenizer's; an id without a token is no answer. */
export const allowedIn = (vocab: number, tokenizer: Tokenizer): Uint8Array =>
  Uint8Array.from({ length: vocab }, (_, id) => (tokenizer.has(id) ? 1 : 0));
