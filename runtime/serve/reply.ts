// What the endpoints' answers have in common.

import { randomUUID } from "node:crypto";
import { isRecord, showJson } from "../../compiler/json.ts";
import type { FinishReason, Piece } from "./continue.ts";
import { ApiError, refuse } from "./errors.ts";
import { countOf, type Fields, fieldsOf, flagOf } from "./fields.ts";
import type { ServedModel } from "./model.ts";
import { mapWork, type Work } from "./queue.ts";

/** An answer that is there at once, or one that takes work. */
export type Reply =
  | { readonly kind: "now"; readonly value: object }
  | {
      readonly kind: "work";
      /** Whether what the work yields is sent as it comes; else what it returns is sent. */
      readonly isStream: boolean;
      readonly work: Work<object | undefined, object>;
    };

/** Refuses requests for a model that is not served; without a name the one that is served is meant. */
export function requireModel({ name }: ServedModel, fields: Fields): void {
  const wanted = fields["model"] ?? name;
  if (typeof wanted !== "string") refuse("model", `\`model\` must be text, found ${showJson(wanted)}`);
  if (wanted !== name) {
    const message = `the model \`${wanted}\` is not served here; the only one is \`${name}\``;
    throw new ApiError(404, message, { code: "model_not_found", param: "model" });
  }
}

/** Refuses prompts that have no token, or that leave too little room for the answer. */
export function requireRoom(
  { maxTokens: room }: ServedModel,
  param: string,
  tokens: readonly number[],
  maxTokens: number,
): void {
  if (tokens.length === 0) refuse(param, "the prompt has no tokens");
  if (tokens.length + maxTokens <= room) return;
  const message = `the model takes ${room} tokens; ${tokens.length} of the prompt and ${maxTokens} of the answer are more`;
  refuse(param, message, "context_length_exceeded");
}

// No tokenizer has tokens of this length on the average of a whole text, and tokenising takes time.
const MOST_CHARACTERS_A_TOKEN = 256;

/** A text's tokens, of which there may not be more than the model takes. */
export function tokensOf(
  { maxTokens }: ServedModel,
  param: string,
  text: string,
  encode: (text: string) => readonly number[],
): readonly number[] {
  if (text.length <= maxTokens * MOST_CHARACTERS_A_TOKEN) return encode(text);
  const message = `the model takes ${maxTokens} tokens; a prompt of ${text.length} characters is more`;
  return refuse(param, message, "context_length_exceeded");
}

/** The limit of an answer by the first of these names that is there. */
export function limitOf(fields: Fields, names: readonly string[], least: number): number | undefined {
  const limits = names.map((name) => countOf(fields, name, undefined, { least }));
  return limits.find((limit) => limit !== undefined);
}

/** How an answer is sent, by `stream` and `stream_options`. */
export function streamOf(fields: Fields): { readonly isStream: boolean; readonly withUsage: boolean } {
  const isStream = flagOf(fields, "stream");
  const options = fields["stream_options"] ?? {};
  if (!isRecord(options))
    refuse("stream_options", `\`stream_options\` must be an object, found ${showJson(options)}`);
  if (!isStream && fields["stream_options"])
    refuse("stream_options", "`stream_options` is only for `stream`");
  return { isStream, withUsage: flagOf(fieldsOf(options, ["include_usage"]), "include_usage") };
}

/** Tokens of the prompts and of the answers, as OpenAI counts them. */
export const usageOf = (prompt: number, answer: number): object => ({
  prompt_tokens: prompt,
  completion_tokens: answer,
  total_tokens: prompt + answer,
});

/** What every object about one answer begins with. */
export const headOf = (prefix: string, object: string, { name }: ServedModel): object => ({
  id: `${prefix}-${randomUUID()}`,
  object,
  created: Math.floor(Date.now() / 1000),
  model: name,
});

/** A text with the tokens it is made of, and why it ends. */
export type Written = Piece & { readonly reason: FinishReason };

/** Puts pieces together; with `chunkOf` those that are not empty are also given as what it makes of them. */
export function* writing(
  pieces: Work<Piece, FinishReason>,
  chunkOf: ((piece: Piece) => object) | undefined,
): Work<object | undefined, Written> {
  const all: Piece[] = [];
  const reason = yield* mapWork(pieces, (piece) => {
    if (piece.text === "" && piece.tokens.length === 0) return undefined;
    all.push(piece);
    return chunkOf?.(piece);
  });
  return { text: all.map(({ text }) => text).join(""), tokens: all.flatMap(({ tokens }) => tokens), reason };
}
