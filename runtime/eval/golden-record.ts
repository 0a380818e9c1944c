// A record of golden logits: what it must hold, whatever file it is in.

import { fail, type Place } from "../../compiler/diag.ts";

/** Whose logits a table holds, by the record's key: the model's, or those of its head that drafts. */
const kinds = ["logits", "mtp_logits"] as const;
export type LogitKind = (typeof kinds)[number];

/** The rows that a table has: one for each token; the head needs the token that follows, so it has none for the last. */
export const rowsOf = (kind: LogitKind, tokens: number): number => (kind === "logits" ? tokens : tokens - 1);

/** A prompt and logits that the reference model gave for it, row-major [rows, vocab]. */
export type GoldenRecord = {
  readonly kind: LogitKind;
  /** Of the record in its file, which may hold a table of each kind. */
  readonly index: number;
  readonly prompt: string;
  readonly tokens: readonly number[];
  readonly logits: Float32Array;
  readonly vocab: number;
  readonly attentionMask?: readonly number[];
  /** Where the record is: at a line, or one of those in a file. */
  readonly place: Place;
};

/** Logits row-major [rows, vocab]. */
export type Table = { readonly logits: Float32Array; readonly vocab: number; readonly rows: number };

/** What was read of a record. */
export type Fields = {
  prompt?: string;
  tokens?: readonly number[];
  attentionMask?: readonly number[];
  logits?: Table;
  mtp_logits?: Table;
};

/** The tables of a record, each with the prompt; an error at its place if something is missing or does not fit. */
export function assemble(place: Place, index: number, fields: Fields): readonly GoldenRecord[] {
  const { prompt = "", tokens, attentionMask } = fields;
  const refuse = (problem: string): never => fail({ code: "golden-record", message: problem, at: place });
  if (!tokens) return refuse("the record has no `tokens`");
  if (attentionMask && attentionMask.length !== tokens.length)
    return refuse(`\`attention_mask\` has ${attentionMask.length} entries for ${tokens.length} tokens`);
  const found = kinds.flatMap((kind): readonly GoldenRecord[] => {
    const table = fields[kind];
    if (!table) return [];
    const { rows, logits, vocab } = table;
    const wanted = kind === "logits" ? "a row for each token" : "a row for each token but the last";
    if (rows === 0 || vocab === 0) return refuse(`\`${kind}\` is empty; expected ${wanted}`);
    if (rows !== rowsOf(kind, tokens.length))
      return refuse(`\`${kind}\` has ${rows} rows for ${tokens.length} tokens; expected ${wanted}`);
    return [{ kind, index, prompt, tokens, logits, vocab, ...(attentionMask && { attentionMask }), place }];
  });
  return found.length > 0 ? found : refuse("the record has no `logits`");
}

/** A field that is written: text, whole numbers, floats, or a table of logits. */
export type WrittenValue = string | readonly number[] | Float64Array | Omit<Table, "rows">;

/** A record that is written, its fields in order. */
export type WrittenRecord = Readonly<Record<string, WrittenValue>>;

/** Logits of one prompt, row-major [tokens, vocab], and what they were computed from. */
export type PromptLogits = Omit<Table, "rows"> & {
  readonly prompt: string;
  /** What a chat template made of the prompt. */
  readonly formattedPrompt?: string | undefined;
  readonly tokens: readonly number[];
  readonly attentionMask: readonly number[];
};

/** The record of a prompt, its fields named and ordered as MaxText's. */
export function recordOf({
  prompt,
  formattedPrompt,
  tokens,
  attentionMask,
  logits,
  vocab,
}: PromptLogits): WrittenRecord {
  return {
    prompt,
    ...(formattedPrompt === undefined ? {} : { formatted_prompt: formattedPrompt }),
    tokens,
    attention_mask: attentionMask,
    logits: { logits, vocab },
  };
}
