// Text out of tokens one by one.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { textStream } from "../../runtime/tokenizer/stream.ts";
import { openTokenizer } from "../../runtime/tokenizer/tokenizer.ts";

const here = dirname(fileURLToPath(import.meta.url));
const tiny = openTokenizer({ type: "huggingface", path: "tiny-tokenizer", cwd: here });

test.each([byteTokenizer, tiny])("the pieces of any tokens join to their text: $kind", (tokenizer) => {
  // Bytes that begin and go on characters, and those that never do, close together.
  const id = fc.oneof(
    fc.nat(tokenizer.vocabSize - 1),
    fc.constantFrom(0xc3, 0xa9, 0xf0, 0x9f, 0x99, 0x82, 0xff),
  );
  fc.assert(
    fc.property(fc.array(id, { maxLength: 30 }), (ids) => {
      const stream = textStream(tokenizer);
      const pieces = ids.map((one) => stream.push(one));
      expect(pieces.join("") + stream.end()).toBe(tokenizer.decode(ids));
    }),
  );
});

test("a character comes when it is whole", () => {
  const stream = textStream(byteTokenizer);
  const pieces = byteTokenizer.encode("aé🙂b").map((id) => stream.push(id));
  expect([...pieces, stream.end()]).toEqual(["a", "", "é", "", "", "", "🙂", "b", ""]);
});
