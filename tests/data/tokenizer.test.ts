import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { openTokenizer } from "../../runtime/tokenizer/tokenizer.ts";
import { failure } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";

const here = dirname(fileURLToPath(import.meta.url));
const tiny = openTokenizer({ type: "huggingface", path: "tiny-tokenizer", cwd: here });

test("the byte tokenizer gives every text back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const ids = byteTokenizer.encode(text);
      expect(ids.every((id) => id >= 0 && id < byteTokenizer.vocabSize)).toBe(true);
      expect(byteTokenizer.decode(ids)).toBe(text);
    }),
  );
  expect(byteTokenizer.encode("é\n")).toEqual([0xc3, 0xa9, 10]);
  expect(byteTokenizer.decode([0xef, 0xbb, 0xbf, 0x61])).toBe("\ufeffa");
});

test("ids that are no bytes, and bytes that are no text, decode to the replacement character", () => {
  expect(byteTokenizer.decode([104, 0xff, 105])).toBe("h\ufffdi");
  expect(byteTokenizer.decode([104, 300, -1])).toBe("h\ufffd\ufffd");
  expect(byteTokenizer.decode([])).toBe("");
});

// Expected ids come from the `tokenizers` library in Rust, version 0.23, on the same tokenizer.json.
const ENCODINGS: readonly [text: string, ids: readonly number[]][] = [
  ["the cat's hat", [258, 262, 267, 278]],
  ["The THE they're 1234", [270, 220, 51, 39, 36, 284, 268, 220, 16, 17, 18, 19]],
  [
    "  two  spaces\n\n tail ",
    [220, 265, 86, 78, 220, 220, 82, 79, 64, 66, 68, 82, 198, 198, 265, 64, 72, 75, 220],
  ],
  [
    "naïve 你好世界 🙂",
    [
      77, 64, 127, 107, 85, 68, 220, 160, 121, 254, 161, 98, 121, 160, 116, 244, 163, 243, 234, 220, 172, 253,
      247, 224,
    ],
  ],
  ["<|im_start|>user\nthe mat<|im_end|>\n", [289, 84, 82, 68, 81, 198, 258, 282, 290, 198]],
  ["a\tb\r\nc", [64, 197, 65, 201, 198, 66]],
];

test.each(ENCODINGS)("%j encodes as the reference does, and back", (text, ids) => {
  expect(tiny.encode(text)).toEqual(ids);
  expect(tiny.decode(ids)).toBe(text);
});

test("a decomposed letter is composed first, as the file's normalizer asks", () => {
  expect(tiny.encode("cafe\u0301")).toEqual([66, 64, 69, 127, 102]);
});

test("every composed text comes back from the byte-level tokenizer", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), (text) => {
      expect(tiny.decode(tiny.encode(text))).toBe(text.normalize("NFC"));
    }),
    { numRuns: 200 },
  );
});

test("special tokens come from the files beside tokenizer.json", () => {
  expect(tiny).toMatchObject({ kind: "huggingface", vocabSize: 291, eosIds: [290, 288], padId: 288 });
  expect(tiny.bosId).toBeUndefined();
  expect(tiny.encode("")).toEqual([]);
  expect(tiny.decode([])).toBe("");
});

test("ids of a padded vocabulary have no text", () => {
  expect(tiny.decode([258, 300, 151_000, 262])).toBe("the cat");
});

test("a path may name the file itself, and lone files need no configuration", () => {
  const directory = scratch();
  const file = join(directory, "tokenizer.json");
  fs.copyFileSync(join(here, "tiny-tokenizer", "tokenizer.json"), file);
  const lone = openTokenizer({ type: "huggingface", path: file, cwd: "/" });
  expect(lone.eosIds).toEqual([]);
  expect(lone.encode("the cat's")).toEqual([258, 262, 267]);
});

const open = (type: string, path: string, cwd: string = here) =>
  failure(() => openTokenizer({ type, path, cwd }));

test("types we do not read say how to convert", () => {
  for (const type of ["sentencepiece", "tiktoken"]) {
    const { code, message } = open(type, "x.model");
    expect(code).toBe("tokenizer-unsupported");
    expect(message).toContain("save it as tokenizer.json with Transformers");
  }
  expect(open("hugingface", "x").message).toContain("did you mean `huggingface`?");
});

test("missing tokenizers say what was looked for", () => {
  expect(open("huggingface", "").message).toContain("needs tokenizer_path");
  expect(open("huggingface", "./nowhere").message).toContain(
    `${join(here, "nowhere")}: tokenizer-missing: no such tokenizer`,
  );
  const hub = open("huggingface", "Qwen/Qwen3-Next-80B-A3B-Instruct");
  expect(hub.code).toBe("tokenizer-missing");
  expect(hub.message).toContain("looks like a Hugging Face id, and nothing is downloaded");
  const directory = scratch();
  expect(open("huggingface", directory).message).toContain("expected tokenizer.json, found none");
  fs.writeFileSync(join(directory, "tokenizer.model"), "");
  expect(open("huggingface", directory).message).toContain("AutoTokenizer");
});

function broken(files: Readonly<Record<string, unknown>>): { code: string; message: string } {
  const directory = scratch();
  fs.copyFileSync(join(here, "tiny-tokenizer", "tokenizer.json"), join(directory, "tokenizer.json"));
  for (const [name, content] of Object.entries(files)) {
    fs.writeFileSync(join(directory, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  const { code, message } = open("huggingface", directory);
  expect(message).toContain(directory);
  return { code, message };
}

test("malformed JSON is located", () => {
  const short = broken({ "tokenizer.json": '{\n  "model": {,}\n}' });
  expect(short.code).toBe("json-syntax");
  expect(short.message).toContain("tokenizer.json:2:13: json-syntax: malformed JSON: expected a key");
  const minified = broken({ "tokenizer.json": `{"a":[${"1,".repeat(200)}]}` });
  expect(minified.message).toContain(
    "tokenizer.json:1:407: json-syntax: malformed JSON: expected a value, found `]}`",
  );
});

test.each<[string, string, Readonly<Record<string, unknown>>]>([
  ["a list", "tokenizer-malformed", { "tokenizer.json": [] }],
  ["no model", "tokenizer-malformed", { "tokenizer.json": {} }],
  ["an unknown model", "tokenizer-malformed", { "tokenizer.json": { model: { type: "Nope", vocab: {} } } }],
  [
    "an id that is no number",
    "tokenizer-malformed",
    { "tokenizer.json": { model: { type: "BPE", vocab: { a: "1" } } } },
  ],
  [
    "an id beyond all bounds",
    "tokenizer-malformed",
    { "tokenizer.json": { model: { vocab: { a: 2 ** 40 } } } },
  ],
  [
    "an end token it does not have",
    "tokenizer-special-token",
    { "tokenizer_config.json": { eos_token: "<eos>" } },
  ],
  [
    "an end id that is no id",
    "tokenizer-special-token",
    { "generation_config.json": { eos_token_id: ["x"] } },
  ],
])("a tokenizer with %s is refused as %s", (_, code, files) => {
  expect(broken(files).code).toBe(code);
});
