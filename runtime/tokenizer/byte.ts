// The tokenizer that needs no file: a token is a byte of UTF-8.

import type { Tokenizer } from "./tokenizer.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

// Never part of UTF-8, so an id that is no byte decodes to the replacement character.
const NO_BYTE = 0xff;

const isByte = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < 256;

/** Ids 0 to 255 are bytes; there is no end-of-text, and bytes that spell no character decode to U+FFFD. */
export const byteTokenizer: Tokenizer = {
  kind: "byte",
  vocabSize: 256,
  eosIds: [],
  specials: {},
  has: isByte,
  encode: (text) => Array.from(encoder.encode(text)),
  decode: (ids) => decoder.decode(Uint8Array.from(ids, (id) => (isByte(id) ? id : NO_BYTE))),
};
