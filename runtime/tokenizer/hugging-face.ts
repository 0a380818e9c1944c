// Tokenizers in Hugging Face's tokenizer.json, with the special tokens that the files beside it name.

import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { Tokenizer as Tokenizers } from "@huggingface/tokenizers";
import { fail } from "../../compiler/diag.ts";
import { isRecord, parseJson } from "../../compiler/json.ts";
import { readText, reason } from "../files.ts";
import { endOfTextIn, isId } from "./end-of-text.ts";
import type { Tokenizer } from "./tokenizer.ts";

// What we use of the library, whose own declarations do not resolve under nodenext.
type Library = {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): { readonly ids: number[]; readonly tokens: readonly string[] };
  decode(ids: readonly number[], options: { readonly clean_up_tokenization_spaces: boolean }): string;
  id_to_token(id: number): string | undefined;
};

type Fields = Readonly<Record<string, unknown>>;

function readObject(file: string): Fields {
  const value = parseJson({ file, text: readText(file) });
  if (isRecord(value)) return value;
  return fail({ code: "tokenizer-malformed", message: "expected a JSON object", at: { file } });
}

const readIfThere = (file: string): Fields => (fs.existsSync(file) ? readObject(file) : {});

/** Opens a tokenizer.json; tokenizer_config.json and generation_config.json beside it are read when there. */
export function huggingFaceTokenizer(file: string): Tokenizer {
  const fields = readObject(file);
  const configFile = join(dirname(file), "tokenizer_config.json");
  const config = readIfThere(configFile);
  const ids = vocabulary(file, fields);
  const tokenizer = build(file, fields, config);
  const named = (key: string): number | undefined => specialId(configFile, key, config[key], ids);
  const [eosId, bosId, padId] = [named("eos_token"), named("bos_token"), named("pad_token")];
  const chatTemplate = chatTemplateOf(file, configFile, config["chat_template"]);
  const stops = endOfTextIn([dirname(file)], "generation_config.json");
  return {
    kind: "huggingface",
    vocabSize: 1 + [...ids.values()].reduce((largest, id) => Math.max(largest, id), -1),
    eosIds: [...new Set(eosId === undefined ? stops : [eosId, ...stops])],
    ...(bosId !== undefined && { bosId }),
    ...(padId !== undefined && { padId }),
    specials: specialsOf(config),
    ...(chatTemplate && { chatTemplate }),
    has: (id) => tokenizer.id_to_token(id) !== undefined,
    encode: (text) => encode(file, tokenizer, text),
    // A model's vocabulary is often padded beyond the tokenizer's: such an id has no text.
    decode(all) {
      const known = all.filter((id) => tokenizer.id_to_token(id) !== undefined);
      const clean_up_tokenization_spaces = config["clean_up_tokenization_spaces"] === true;
      return known.length === 0 ? "" : tokenizer.decode(known, { clean_up_tokenization_spaces });
    },
  };
}

function encode(file: string, tokenizer: Library, text: string): number[] {
  const { ids, tokens } = tokenizer.encode(text, { add_special_tokens: false });
  const unknown = ids.findIndex((id) => !Number.isInteger(id));
  if (unknown < 0) return ids;
  return fail({
    code: "tokenizer-unknown-token",
    message: `the vocabulary has neither \`${tokens[unknown]}\` nor a token for the unknown`,
    at: { file },
  });
}

// The library trusts the file; what it throws on a file that breaks that trust is about the file, not about us.
function build(file: string, fields: Fields, config: Fields): Library {
  try {
    return new Tokenizers(fields, config);
  } catch (error) {
    const message = `not a usable tokenizer: ${reason(error)}`;
    return fail({ code: "tokenizer-malformed", message, at: { file } });
  }
}

// Every token's id: `model.vocab` is a table, or for Unigram a list of [token, score], and added tokens have their own.
function vocabulary(file: string, fields: Fields): ReadonlyMap<string, number> {
  const bad = (message: string): never => fail({ code: "tokenizer-malformed", message, at: { file } });
  const vocab = isRecord(fields["model"]) ? fields["model"]["vocab"] : undefined;
  if (!isRecord(vocab) && !Array.isArray(vocab)) return bad("expected `model.vocab`, found none");
  const added = fields["added_tokens"] ?? [];
  if (!Array.isArray(added)) return bad("expected `added_tokens` to be a list");
  const model: [string, unknown][] = Array.isArray(vocab)
    ? vocab.map((pair: unknown, id) => [String(Array.isArray(pair) ? pair[0] : pair), id])
    : Object.entries(vocab);
  const more = added.map((token: unknown): [string, unknown] =>
    isRecord(token)
      ? [String(token["content"]), token["id"]]
      : bad("expected `added_tokens` to hold objects"),
  );
  return new Map(
    [...model, ...more].map(([token, id]) => [
      token,
      isId(id) ? id : bad(`token \`${token}\` has no valid id`),
    ]),
  );
}

// A special token is a string, or an object with `content`, or null.
function specialId(
  file: string,
  key: string,
  value: unknown,
  ids: ReadonlyMap<string, number>,
): number | undefined {
  const token = isRecord(value) ? value["content"] : value;
  if (token === undefined || token === null) return undefined;
  const id = typeof token === "string" ? ids.get(token) : undefined;
  if (id !== undefined) return id;
  return fail({
    code: "tokenizer-special-token",
    message: `${key} ${JSON.stringify(token)} is not in the tokenizer's vocabulary`,
    at: { file },
  });
}

const SPECIALS = ["bos_token", "eos_token", "pad_token", "unk_token"];

function specialsOf(config: Fields): Record<string, string> {
  const pairs = SPECIALS.map((key) => {
    const token = isRecord(config[key]) ? config[key]["content"] : config[key];
    return [key, token] as const;
  });
  return Object.fromEntries(pairs.filter((pair): pair is [string, string] => typeof pair[1] === "string"));
}

// chat_template.jinja beside the tokenizer, or a text in its configuration, or there one of several by name.
function chatTemplateOf(file: string, configFile: string, value: unknown): Tokenizer["chatTemplate"] {
  const beside = join(dirname(file), "chat_template.jinja");
  if (fs.existsSync(beside)) return { text: readText(beside), from: beside };
  if (value === undefined || value === null) return undefined;
  const named = Array.isArray(value) ? value.filter(isRecord) : [];
  const text = typeof value === "string" ? value : (named.find(isDefault) ?? named[0])?.["template"];
  if (typeof text === "string") return { text, from: configFile };
  return fail({
    code: "tokenizer-malformed",
    message: "expected chat_template to be a text or a list of named templates",
    at: { file: configFile },
  });
}

const isDefault = ({ name }: Fields): boolean => name === "default";
