import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Batch, Dataset } from "../../runtime/data/dataset.ts";
import { syntheticDataset } from "../../runtime/data/synthetic.ts";
import { textDataset } from "../../runtime/data/text.ts";
import { pieces } from "../../runtime/data/text-file.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { openTokenizer } from "../../runtime/tokenizer/tokenizer.ts";
import { failure } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";

function directory(files: Readonly<Record<string, string | Uint8Array>>): string {
  const root = scratch();
  for (const [name, content] of Object.entries(files)) fs.writeFileSync(join(root, name), content);
  return root;
}

const DEFAULTS = { files: ["*"], length: 4, rows: 2, shuffle: false, seed: 0, epochs: 1 } as const;

function all(dataset: Dataset): readonly Batch[] {
  const batches: Batch[] = [];
  for (let batch = dataset.next(); batch; batch = dataset.next()) batches.push(batch);
  return batches;
}

const TEXTS = { a: "abcdefghij", b: "ABC", c: "01234567" };

// Each row as text: inputs and targets where the weight is 1.
function rowsOf({ rows, length, inputs, targets, weights }: Batch): readonly (readonly [string, string])[] {
  return Array.from({ length: rows }, (_, row) => {
    const counted = [...weights.keys()].filter((i) => Math.floor(i / length) === row && weights[i] === 1);
    const text = (ids: Int32Array): string => byteTokenizer.decode(counted.map((i) => ids[i]!));
    return [text(inputs), text(targets)] as const;
  });
}

test("windows follow each document and never cross into the next", () => {
  const dataset = textDataset({ ...DEFAULTS, cwd: directory(TEXTS) }, byteTokenizer);
  expect(all(dataset).flatMap(rowsOf)).toEqual([
    ["abcd", "bcde"],
    ["efgh", "fghi"],
    ["i", "j"],
    ["AB", "BC"],
    ["0123", "1234"],
    ["456", "567"],
  ]);
  expect(dataset.next()).toBeUndefined();
  expect(dataset.description).toBe("text: 3 files, 21 tokens, 6 windows of 4");
});

test("rows left over at the very end are padding of weight 0", () => {
  const dataset = textDataset({ ...DEFAULTS, rows: 4, cwd: directory(TEXTS) }, byteTokenizer);
  const [, last] = all(dataset);
  expect(rowsOf(last!)).toEqual([
    ["0123", "1234"],
    ["456", "567"],
    ["", ""],
    ["", ""],
  ]);
  expect([...last!.inputs.subarray(8)]).toEqual(new Array(8).fill(0));
});

test("every token but each first is a target exactly once per epoch, for any lengths and shuffles", () => {
  const root = scratch();
  const sizes = fc.array(fc.integer({ min: 2, max: 40 }), { minLength: 1, maxLength: 4 });
  const shape = fc.record({ length: fc.integer({ min: 1, max: 9 }), rows: fc.integer({ min: 1, max: 5 }) });
  fc.assert(
    fc.property(
      sizes,
      shape,
      fc.boolean(),
      fc.integer({ min: 1, max: 3 }),
      fc.nat(),
      (counts, size, shuffle, epochs, seed) => {
        for (const name of fs.readdirSync(root)) fs.rmSync(join(root, name));
        // Each token is a character of its own, and its successor is the next: a leak would show as a jump.
        counts.forEach((count, i) => {
          const text = String.fromCharCode(...Array.from({ length: count }, (_, j) => 0x4e00 + i * 100 + j));
          fs.writeFileSync(join(root, `${i}`), text);
        });
        const tokenizer = {
          ...byteTokenizer,
          encode: (text: string) => [...text].map((c) => c.charCodeAt(0) - 0x4e00),
        };
        const batches = all(
          textDataset({ files: ["*"], cwd: root, ...size, shuffle, seed, epochs }, tokenizer),
        );
        const seen = batches.flatMap(({ inputs, targets, weights }) =>
          [...weights.keys()].filter((i) => weights[i] === 1).map((i) => [inputs[i]!, targets[i]!] as const),
        );
        expect(seen.every(([input, target]) => target === input + 1)).toBe(true);
        const expected = counts.flatMap((count, i) =>
          Array.from({ length: count - 1 }, (_, j) => i * 100 + j + 1),
        );
        const once = seen.map(([, target]) => target).toSorted((a, b) => a - b);
        expect(once).toEqual(expected.flatMap((target) => new Array<number>(epochs).fill(target)));
      },
    ),
    { numRuns: 100 },
  );
});

test("shuffling is fixed by the seed and new in every epoch", () => {
  const root = directory({
    a: Array.from({ length: 200 }, (_, i) => String.fromCharCode(33 + (i % 90))).join(""),
  });
  const firsts = (seed: number): readonly string[] => {
    const dataset = textDataset(
      { ...DEFAULTS, rows: 50, shuffle: true, seed, epochs: 2, cwd: root },
      byteTokenizer,
    );
    return all(dataset).map((batch) => String(rowsOf(batch)));
  };
  const [one, two] = firsts(1);
  expect(firsts(1)).toEqual([one, two]);
  expect(two).not.toBe(one);
  expect(firsts(2)[0]).not.toBe(one);
});

test("a restored dataset goes on exactly where the state was taken", () => {
  const root = directory(TEXTS);
  const make = () =>
    textDataset(
      { ...DEFAULTS, rows: 4, shuffle: true, seed: 3, epochs: undefined, cwd: root },
      byteTokenizer,
    );
  fc.assert(
    fc.property(fc.nat(12), fc.nat(12), (before, detour) => {
      const dataset = make();
      for (let i = 0; i < before; i++) dataset.next();
      const state = JSON.parse(JSON.stringify(dataset.state()));
      const expected = [dataset.next(), dataset.next(), dataset.next()];
      const other = make();
      for (let i = 0; i < detour; i++) other.next();
      other.restore(state);
      expect([other.next(), other.next(), other.next()]).toEqual(expected);
    }),
    { numRuns: 40 },
  );
});

test("a state of other data, and one outside the data, are refused", () => {
  const open = (texts: Readonly<Record<string, string>>, seed = 0) =>
    textDataset({ ...DEFAULTS, shuffle: true, seed, cwd: directory(texts) }, byteTokenizer);
  const dataset = open(TEXTS);
  const state = dataset.state();
  open(TEXTS).restore(state);
  expect(failure(() => open({ ...TEXTS, b: "ABD" }).restore(state)).code).toBe("dataset-changed");
  expect(failure(() => open(TEXTS, 1).restore(state)).code).toBe("dataset-changed");
  expect(failure(() => dataset.restore({ ...state, position: 6 })).code).toBe("dataset-state");
  expect(failure(() => dataset.restore({ ...state, epoch: -1 })).code).toBe("dataset-state");
});

test.each<[claim: string, code: string, content: string | Uint8Array, words: string]>([
  ["empty", "data-file-empty", "", "the file is empty"],
  ["of one token", "data-file-short", "a", "1 tokens leave nothing to predict"],
  ["binary", "data-file-binary", "é\0", "a zero byte at offset 2"],
  ["not UTF-8", "file-not-utf8", Uint8Array.of(97, 98, 0xe2, 0x28, 99), "bad byte at offset 2"],
  ["cut inside a character", "file-not-utf8", Uint8Array.of(97, 0xf0, 0x9f, 0x99), "bad byte at offset 1"],
  ["of a byte that never begins a character", "file-not-utf8", Uint8Array.of(97, 98, 99, 0xff), "offset 3"],
  ["of an overlong character", "file-not-utf8", Uint8Array.of(97, 0xe0, 0x80, 0x80, 97), "offset 1"],
])("a file that is %s is refused as %s", (_, code, content, words) => {
  const root = directory({ good: "good text", "odd.txt": content });
  const found = failure(() => textDataset({ ...DEFAULTS, cwd: root }, byteTokenizer));
  expect(found.code).toBe(code);
  expect(found.message).toContain(join(root, "odd.txt"));
  expect(found.message).toContain(words);
});

test("missing files, no files and impossible sizes are refused", () => {
  const cwd = directory(TEXTS);
  const open = (options: object) =>
    failure(() => textDataset({ ...DEFAULTS, cwd, ...options }, byteTokenizer));
  expect(open({ files: ["nowhere.txt"] }).code).toBe("data-file-missing");
  expect(open({ files: [] }).code).toBe("data-file-missing");
  expect(open({ rows: 0 }).message).toContain("dataset rows must be a positive whole number, found 0");
  expect(open({ length: 1.5 }).code).toBe("dataset-size");
  expect(open({ epochs: -1 }).code).toBe("dataset-size");
});

test("an id beyond the model's vocabulary is refused with its place", () => {
  const cwd = directory({ a: "abcz" });
  const { code, message } = failure(() => textDataset({ ...DEFAULTS, cwd, vocabSize: 100 }, byteTokenizer));
  expect(code).toBe("token-out-of-vocabulary");
  expect(message).toContain("token 3 has id 122, but the model's vocab_size is 100");
});

test("begin and end tokens are put around each document when the tokenizer has them", () => {
  const cwd = directory({ a: "ab", b: "c" });
  const marked = { ...byteTokenizer, vocabSize: 259, bosId: 256, eosIds: [257], padId: 258 };
  const options = { ...DEFAULTS, addBos: true, addEos: true, cwd };
  const [batch] = all(textDataset(options, marked));
  expect([...batch!.inputs]).toEqual([256, 97, 98, 258, 256, 99, 258, 258]);
  expect([...batch!.targets]).toEqual([97, 98, 257, 258, 99, 257, 258, 258]);
  expect([...batch!.weights]).toEqual([1, 1, 1, 0, 1, 1, 0, 0]);
  const [plain] = all(textDataset({ ...options, files: ["a"] }, byteTokenizer));
  expect([...plain!.inputs.subarray(0, 4)]).toEqual([97, 0, 0, 0]);
});

test("a text tokenised in pieces gives the tokens of the whole", () => {
  const path = join(dirname(fileURLToPath(import.meta.url)), "tiny-tokenizer");
  const tokenizer = openTokenizer({ type: "huggingface", path, cwd: "/" });
  const words = fc.constantFrom(
    "the",
    " cat",
    "'s",
    "\n",
    "\n\n",
    " \n",
    "\r\n",
    "\t",
    " ",
    "7",
    "!",
    ".\n",
    "你",
    "🙂",
    "\u0301",
  );
  fc.assert(
    fc.property(fc.array(words, { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (parts, size) => {
      const text = parts.join("");
      const cut = [...pieces(text, size)];
      expect(cut.join("")).toBe(text);
      expect(cut.flatMap((piece) => tokenizer.encode(piece))).toEqual(tokenizer.encode(text));
    }),
    { numRuns: 300 },
  );
  expect([...pieces("ab\ncd\nef\n gh", 2)]).toEqual(["ab\n", "cd\n", "ef\n gh"]);
});

test("synthetic data is one fixed batch of uniform ids whose targets follow the inputs", () => {
  const make = (seed: number) => syntheticDataset({ vocabSize: 7, length: 50, rows: 40, seed });
  const dataset = make(0);
  const first = dataset.next()!;
  expect(dataset.next()).toEqual(first);
  expect(make(0).next()).toEqual(first);
  expect(make(1).next()).not.toEqual(first);
  expect(new Set(first.inputs)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
  expect(first.weights.every((weight) => weight === 1)).toBe(true);
  for (let row = 0; row < 40; row++) {
    const [from, to] = [row * 50, row * 50 + 50];
    expect(first.targets.slice(from, to - 1)).toEqual(first.inputs.slice(from + 1, to));
  }
  const state = dataset.state();
  expect(state.position).toBe(2);
  make(0).restore(state);
  expect(failure(() => make(1).restore(state)).code).toBe("dataset-changed");
});
