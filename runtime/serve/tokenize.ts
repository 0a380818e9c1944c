// The tokenizer over HTTP, by the names that vLLM gave it: lm-evaluation-harness counts tokens with it.

import { showJson } from "../../compiler/json.ts";
import { refuse } from "./errors.ts";
import { fieldsOf, flagOf, textOf } from "./fields.ts";
import type { ServedModel } from "./model.ts";
import { type Reply, requireModel, tokensOf } from "./reply.ts";

/** POST /tokenize: a text as tokens. */
export function tokenize(model: ServedModel, body: unknown): Reply {
  const fields = fieldsOf(body, ["model", "prompt", "add_special_tokens"]);
  requireModel(model, fields);
  const text = textOf(fields, "prompt") ?? refuse("prompt", "`prompt` is missing");
  const withBos = flagOf({ add_special_tokens: true, ...fields }, "add_special_tokens");
  const tokens = tokensOf(model, "prompt", text, withBos ? model.encode : model.tokenizer.encode);
  return { kind: "now", value: { tokens, count: tokens.length, max_model_len: model.maxTokens } };
}

/** POST /detokenize: tokens as a text. */
export function detokenize(model: ServedModel, body: unknown): Reply {
  const fields = fieldsOf(body, ["model", "tokens"]);
  requireModel(model, fields);
  const { tokens } = fields;
  const isId = (id: unknown): id is number => Number.isSafeInteger(id) && Number(id) >= 0;
  if (!Array.isArray(tokens) || !tokens.every(isId))
    refuse("tokens", `\`tokens\` must be a list of token ids, found ${showJson(tokens)}`);
  return { kind: "now", value: { prompt: model.tokenizer.decode(tokens) } };
}

/** GET /tokenizer_info: what the special tokens are. */
export function tokenizerInfo({ tokenizer }: ServedModel): Reply {
  const { eosIds, bosId, padId } = tokenizer;
  const text = (id: number | undefined): string | null => (id === undefined ? null : tokenizer.decode([id]));
  const value = { eos_token: text(eosIds[0]), bos_token: text(bosId), pad_token: text(padId) };
  return { kind: "now", value };
}
