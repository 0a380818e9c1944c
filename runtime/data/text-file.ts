// One text file as tokens.

import { fail } from "../../compiler/diag.ts";
import { readText } from "../files.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** The tokens of one document. */
export type Document = { readonly file: string; readonly tokens: Int32Array };

/** What is put around a document, and the vocabulary its ids must lie in. */
export type DocumentOptions = {
  /** Ids must be below this: the number of rows of the model's embedding. */
  readonly vocabSize?: number | undefined;
  /** Start with the tokenizer's beginning-of-text, if it has one (MaxText's `add_bos`). */
  readonly addBos?: boolean | undefined;
  /** End with the tokenizer's end-of-text, if it has one (MaxText's `add_eos`). */
  readonly addEos?: boolean | undefined;
};

// Characters tokenised at a time: a tokenizer needs many times the memory of its text.
const PIECE = 1 << 20;

/** Reads and tokenises a UTF-8 file. */
export function readDocument(file: string, tokenizer: Tokenizer, options: DocumentOptions): Document {
  const text = readText(file);
  if (text === "") fail({ code: "data-file-empty", message: "the file is empty", at: { file } });
  const zero = text.indexOf("\0");
  if (zero >= 0) {
    fail({
      code: "data-file-binary",
      message: `not text: a zero byte at offset ${Buffer.byteLength(text.slice(0, zero))}`,
      at: { file },
    });
  }
  const { bosId, eosIds } = tokenizer;
  const [eosId] = eosIds;
  const chunks = [...pieces(text, PIECE)].map((piece) => Int32Array.from(tokenizer.encode(piece)));
  if (options.addBos && bosId !== undefined) chunks.unshift(Int32Array.of(bosId));
  if (options.addEos && eosId !== undefined) chunks.push(Int32Array.of(eosId));
  const tokens = join(chunks);
  if (options.vocabSize !== undefined) checkIds(file, tokens, options.vocabSize);
  if (tokens.length < 2) {
    fail({
      code: "data-file-short",
      message: `${tokens.length} tokens leave nothing to predict; expected at least 2`,
      at: { file },
    });
  }
  return { file, tokens };
}

/**
 * The text in pieces of about `size` characters, cut after a line end that has no white space beside it. Byte-level
 * tokenizers split there anyway, so the tokens are those of the whole text.
 */
export function* pieces(text: string, size: number): Generator<string> {
  const lineEnd = /(?<=\S)\n(?=\S)/g;
  let start = 0;
  while (text.length - start > size) {
    lineEnd.lastIndex = start + size - 1;
    const cut = lineEnd.exec(text);
    if (!cut) break;
    yield text.slice(start, cut.index + 1);
    start = cut.index + 1;
  }
  if (start < text.length) yield text.slice(start);
}

function join(chunks: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

function checkIds(file: string, tokens: Int32Array, vocabSize: number): void {
  const at = tokens.findIndex((id) => id < 0 || id >= vocabSize);
  if (at < 0) return;
  fail({
    code: "token-out-of-vocabulary",
    message: `token ${at} has id ${tokens[at]}, but the model's vocab_size is ${vocabSize}`,
    at: { file },
    help: "use the model's own tokenizer, or raise vocab_size",
  });
}
