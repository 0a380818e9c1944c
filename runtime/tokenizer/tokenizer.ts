// What every tokenizer offers, and the door that opens one by its MaxText type.

import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { didYouMean, fail } from "../../compiler/diag.ts";
import { byteTokenizer } from "./byte.ts";
import { huggingFaceTokenizer } from "./hugging-face.ts";

/** Text to token ids and back. No special tokens are added; those spelled out in the text are recognised. */
export type Tokenizer = {
  readonly kind: string;
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Whether an id stands for a token. */
  has(id: number): boolean;
  encode(text: string): number[];
  decode(ids: readonly number[]): string;
  /** Ids that end a text, the usual one first. */
  readonly eosIds: readonly number[];
  readonly bosId?: number;
  readonly padId?: number;
  /** Special tokens by the names that chat templates know them by: bos_token, eos_token, … */
  readonly specials: Readonly<Record<string, string>>;
  /** The template of conversations that comes with it, and where it is from. */
  readonly chatTemplate?: { readonly text: string; readonly from: string };
};

/** MaxText's `tokenizer_type` and `tokenizer_path`, the latter relative to `cwd`. */
export type TokenizerChoice = { readonly type: string; readonly path: string; readonly cwd: string };

const CONVERT =
  "save it as tokenizer.json with Transformers (`AutoTokenizer.from_pretrained(…).save_pretrained(directory)`), then set tokenizer_type=huggingface and tokenizer_path to that directory";

type Opener = (choice: TokenizerChoice) => Tokenizer;

const refuse: Opener = ({ type }) =>
  fail({
    code: "tokenizer-unsupported",
    message: `tokenizer_type \`${type}\` is not supported here`,
    help: CONVERT,
  });

const OPENERS: ReadonlyMap<string, Opener> = new Map<string, Opener>([
  ["byte", () => byteTokenizer],
  ["huggingface", (choice) => huggingFaceTokenizer(findDirectory(choice))],
  ["sentencepiece", refuse],
  ["tiktoken", refuse],
]);

/** Opens the tokenizer that a configuration names; nothing is ever downloaded. */
export function openTokenizer(choice: TokenizerChoice): Tokenizer {
  const open = OPENERS.get(choice.type);
  if (open) return open(choice);
  return fail({
    code: "tokenizer-unknown",
    message: `unknown tokenizer_type \`${choice.type}\`; expected ${[...OPENERS.keys()].join(", ")}`,
    help: didYouMean(choice.type, OPENERS.keys()),
  });
}

// The directory or the tokenizer.json that the path names.
function findDirectory({ path, cwd }: TokenizerChoice): string {
  if (path === "") {
    fail({
      code: "tokenizer-missing",
      message: "tokenizer_type `huggingface` needs tokenizer_path",
      help: "set it to a directory that holds tokenizer.json, or set tokenizer_type=byte",
    });
  }
  const full = resolve(cwd, path);
  const found = fs.statSync(full, { throwIfNoEntry: false });
  if (!found) failMissing(path, full);
  if (!found.isDirectory()) return full;
  const file = join(full, "tokenizer.json");
  if (fs.existsSync(file)) return file;
  const hasOther = ["tokenizer.model", "vocab.json", "vocab.txt"].some((name) =>
    fs.existsSync(join(full, name)),
  );
  return fail({
    code: "tokenizer-missing",
    message: "expected tokenizer.json, found none",
    at: { file: full },
    help: hasOther ? CONVERT : undefined,
  });
}

function failMissing(path: string, full: string): never {
  const isHubId = /^[\w.-]+\/[\w.-]+$/.test(path) && !path.startsWith(".");
  fail({
    code: "tokenizer-missing",
    message: "no such tokenizer directory or tokenizer.json",
    at: { file: full },
    help: isHubId
      ? `\`${path}\` looks like a Hugging Face id, and nothing is downloaded: fetch its tokenizer.json and tokenizer_config.json and set tokenizer_path to the local directory`
      : undefined,
  });
}
