// Text as its tokens come is the text of all of them.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { textStream } from "../../runtime/tokenizer/stream.ts";
import { openTokenizer, type Tokenizer } from "../../runtime/tokenizer/tokenizer.ts";

const here = dirname(fileURLToPath(import.meta.url));
const tiny = openTokenizer({ type: "huggingface", path: "tiny-tokenizer", cwd: here });

function piecesOf(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const stream = textStream(tokenizer);
  return [...ids.map((id) => stream.push(id)), stream.end()];
}

test.each([
  ["byte", byteTokenizer],
  ["byte-level", tiny],
] as const)("%s: the pieces of any text and of any tokens are the whole", (_name, tokenizer) => {
  const id = fc.integer({ min: 0, max: tokenizer.vocabSize - 1 });
  const texts = fc
    .string({ unit: "grapheme-composite", maxLength: 20 })
    .map((text) => tokenizer.encode(text));
  fc.assert(
    fc.property(fc.oneof(texts, fc.array(id, { maxLength: 20 })), (ids) => {
      expect(piecesOf(tokenizer, ids).join("")).toBe(tokenizer.decode(ids));
    }),
    { numRuns: 300 },
  );
});

test("a character comes when its last byte is there", () => {
  expect(piecesOf(byteTokenizer, byteTokenizer.encode("aé🙂b"))).toEqual([
    "a",
    "",
    "é",
    "",
    "",
    "",
    "🙂",
    "b",
    "",
  ]);
  expect(piecesOf(byteTokenizer, [97, 0xf0, 0x9f])).toEqual(["a", "", "", "\ufffd"]);
});
