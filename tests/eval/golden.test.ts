import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { readGolden } from "../../runtime/eval/golden.ts";
import { failure, fileOf } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";
import { goldenText, outcome } from "./support.ts";

const FIRST = {
  prompt: 'I "love"\nto 🙂',
  tokens: [3, 0, 7],
  attention_mask: [1, 1, 1],
  logits: [
    [0.5, -1.25, 3e-5, 2],
    [-0.11180338263511658, 1e2, -0, 12345678],
    [1, 2, 3, 4],
  ],
};
const SECOND = {
  logits: [[-7.5, 1e-40, 0.1]],
  image: { nested: [true, false, null, "]}", { a: [] }, {}] },
  tokens: [1],
  prompt: "",
};
const TEXT = goldenText(FIRST, SECOND);

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 });

test("reads records in order, whatever the order of their keys", () => {
  expect(outcome(TEXT)).toEqual([
    {
      kind: "logits",
      index: 0,
      prompt: FIRST.prompt,
      tokens: FIRST.tokens,
      attentionMask: [1, 1, 1],
      logits: Float32Array.from(FIRST.logits.flat()),
      vocab: 4,
      place: { file: "g.jsonl", line: 1 },
    },
    {
      kind: "logits",
      index: 1,
      prompt: "",
      tokens: [1],
      logits: Float32Array.from(SECOND.logits[0]!),
      vocab: 3,
      place: { file: "g.jsonl", line: 2 },
    },
  ]);
});

test("a record may hold the logits of multi-token prediction, beside the model's or alone", () => {
  const { logits, ...rest } = FIRST;
  const mtp_logits = logits.slice(1);
  const [model, head, alone] = outcome(goldenText({ mtp_logits, ...FIRST }, { ...rest, mtp_logits }));
  expect([model, head, alone]).toMatchObject([
    { kind: "logits", index: 0, vocab: 4, place: { file: "g.jsonl", line: 1 } },
    { kind: "mtp_logits", index: 0, vocab: 4, place: { file: "g.jsonl", line: 1 } },
    {
      kind: "mtp_logits",
      index: 1,
      tokens: FIRST.tokens,
      attentionMask: [1, 1, 1],
      place: { file: "g.jsonl", line: 2 },
    },
  ]);
  expect(alone).toMatchObject({ logits: Float32Array.from(mtp_logits.flat()) });
});

test("blank lines, carriage returns and a missing last line end are no fault", () => {
  const [first, second] = TEXT.split("\n");
  const found = outcome(`\r\n  \n${first}\r\n\n${second}`);
  expect(found).toMatchObject([
    { place: { file: "g.jsonl", line: 3 } },
    { place: { file: "g.jsonl", line: 5 } },
  ]);
});

test("reads a file larger than a portion, and closes it when the reader turns away", () => {
  const logits = Array.from({ length: 40 }, (_, i) =>
    Array.from({ length: 3000 }, (_, j) => Math.sin(i * 3000 + j)),
  );
  const record = { prompt: "long", tokens: logits.map((_, i) => i), logits };
  const path = fileOf(goldenText(record, record), "g.jsonl");
  expect(fs.statSync(path).size).toBeGreaterThan(2 << 20);
  const records = [...readGolden(path)];
  expect(records.map(({ place }) => place)).toEqual([
    { file: path, line: 1 },
    { file: path, line: 2 },
  ]);
  expect(records[1]!.logits).toEqual(Float32Array.from(logits.flat()));
  for (const { vocab } of readGolden(path)) {
    expect(vocab).toBe(3000);
    break;
  }
});

test("agrees with JSON.parse on any record, however its bytes are cut", () => {
  const logit = fc.float({ noNaN: true, noDefaultInfinity: true });
  const record = fc
    .record({ rows: fc.integer({ min: 1, max: 4 }), vocab: fc.integer({ min: 1, max: 5 }) })
    .chain(({ rows, vocab }) =>
      fc.record({
        prompt: fc.string({ unit: "binary" }),
        tokens: fc.array(fc.nat(), { minLength: rows, maxLength: rows }),
        logits: fc.array(fc.array(logit, { minLength: vocab, maxLength: vocab }), {
          minLength: rows,
          maxLength: rows,
        }),
        other: fc.jsonValue(),
      }),
    );
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 3 }), sizes, (records, cut) => {
      const found = outcome(goldenText(...records), cut);
      expect(found).toEqual(
        records.map(({ prompt, tokens, logits }, i) => ({
          kind: "logits",
          index: i,
          prompt,
          tokens,
          logits: Float32Array.from(logits.flat()),
          vocab: logits[0]!.length,
          place: { file: "g.jsonl", line: i + 1 },
        })),
      );
    }),
    { numRuns: 100 },
  );
});

// Each byte of the file for itself: every token is cut everywhere.
test("bytes one by one give the same records", () => {
  expect(outcome(TEXT, [1])).toEqual(outcome(TEXT));
});

test("a damaged file gives records or one clear error, the same however it is cut", () => {
  const bytes = Buffer.from(TEXT);
  const place = fc.nat({ max: bytes.length - 1 });
  const byte = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...Buffer.from('"[]{},:0-.eN\\\n')));
  const damage = fc.oneof(
    fc.record({ kind: fc.constant("set" as const), at: place, byte }),
    fc.record({ kind: fc.constant("insert" as const), at: place, byte }),
    fc.record({ kind: fc.constant("cut" as const), at: place, byte: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant("end" as const), at: place, byte }),
  );
  fc.assert(
    fc.property(fc.array(damage, { minLength: 1, maxLength: 3 }), sizes, (damages, cut) => {
      let text: Uint8Array = bytes;
      for (const { kind, at, byte } of damages) {
        const [before, after] = [text.subarray(0, at), text.subarray(at)];
        if (kind === "end") text = before;
        else if (kind === "cut") text = Buffer.concat([before, after.subarray(byte)]);
        else text = Buffer.concat([before, Uint8Array.of(byte), kind === "set" ? after.subarray(1) : after]);
      }
      const whole = outcome(text);
      if (typeof whole === "string") expect(whole).toMatch(/^g\.jsonl:[\d:]* golden-[a-z]+: /);
      expect(outcome(text, cut)).toEqual(whole);
    }),
    { numRuns: 300 },
  );
});

const GOOD = '{"prompt": "x", "tokens": [1, 2], "logits": [[1, 2], [3, 4]]}';

const REFUSED: readonly (readonly [text: string, message: string])[] = [
  ["", "g.jsonl: golden-empty: the file has no records"],
  ["\n  \n", "g.jsonl: golden-empty: the file has no records"],
  ["hello", "g.jsonl:1:1: golden-syntax: expected a record, `{`, found `hello`"],
  ["[]", "g.jsonl:1:1: golden-syntax: expected a record, `{`, found `[]`"],
  [`${GOOD}\n{`, "g.jsonl:2:2: golden-syntax: expected a key in double quotes, found the end of the file"],
  ['{"tokens" [1]}', "g.jsonl:1:11: golden-syntax: expected a colon, found `[1]}`"],
  ['{"tokens": [1 2]}', "g.jsonl:1:15: golden-syntax: expected a comma or `]`, found `2]}`"],
  ['{"tokens": [1,]}', "g.jsonl:1:15: golden-syntax: expected a token id, found `]}`"],
  ['{"tokens": [01]}', "g.jsonl:1:13: golden-syntax: expected a token id, found `01]}`"],
  ['{"tokens": [[1]]}', "g.jsonl:1:13: golden-syntax: expected a token id, found `[1]]}`"],
  ['{"tokens": [NaN]}', "g.jsonl:1:13: golden-syntax: expected a token id, found `NaN]}`"],
  ['{"tokens": [null]}', "g.jsonl:1:13: golden-syntax: expected a token id, found `null]}`"],
  ['{"tokens": 5}', "g.jsonl:1:12: golden-syntax: expected `tokens` to be an array, found `5}`"],
  ['{"tokens": [-1]}', "g.jsonl:1:13: golden-record: a token id is a whole number from 0 up, found -1"],
  ['{"tokens": [1.5]}', "g.jsonl:1:13: golden-record: a token id is a whole number from 0 up, found 1.5"],
  [
    '{"tokens": [1e999]}',
    "g.jsonl:1:13: golden-record: a token id is a whole number from 0 up, found Infinity",
  ],
  ['{"logits": 5}', "g.jsonl:1:12: golden-syntax: expected `logits` to be an array of rows, found `5}`"],
  ['{"logits": [5]}', "g.jsonl:1:13: golden-syntax: expected a row of logits, found `5]}`"],
  ['{"logits": [["1"]]}', 'g.jsonl:1:14: golden-syntax: expected a finite number, found `"1"]]}`'],
  ['{"logits": [[1, NaN]]}', "g.jsonl:1:17: golden-syntax: expected a finite number, found `NaN]]}`"],
  [
    '{"logits": [[-Infinity]]}',
    "g.jsonl:1:14: golden-syntax: expected a finite number, found `-Infinity]]}`",
  ],
  ['{"logits": [[1e39]]}', "g.jsonl:1:14: golden-record: the logit 1e+39 is too large for float32"],
  ['{"logits": [[]]}', "g.jsonl:1:15: golden-record: row 0 of `logits` has no numbers"],
  [
    '{"logits": [[1, 2], [3]]}',
    "g.jsonl:1:24: golden-record: row 1 of `logits` has 1 numbers, but row 0 has 2",
  ],
  [
    '{"logits": [[1, 2], [3, 4, 5]]}',
    "g.jsonl:1:27: golden-record: row 1 of `logits` has 3 or more numbers, but row 0 has 2",
  ],
  ['{"prompt": 5}', "g.jsonl:1:12: golden-syntax: expected `prompt` to be a string, found `5}`"],
  ['{"prompt": "\\x"}', "g.jsonl:1:12: golden-syntax: this string has an escape that JSON does not know"],
  [
    '{"prompt": "a',
    "g.jsonl:1:14: golden-syntax: expected a closing double quote, found the end of the file",
  ],
  [
    '{"prompt": "a\nb"}',
    "g.jsonl:1:14: golden-syntax: expected a closing double quote, found the end of the line",
  ],
  ['{"a": 1, "a": 2}', "g.jsonl:1:10: golden-record: `a` is there twice"],
  ['{"a": nil}', "g.jsonl:1:7: golden-syntax: expected a value, found `nil}`"],
  [`{"a": ${"9".repeat(1500)}}`, "g.jsonl:1:7: golden-syntax: expected a value, found `999999999999`"],
  [
    `{"a": ${"[".repeat(600)}`,
    "g.jsonl:1:507: golden-syntax: expected at most 500 nested brackets, found `[[[[[[[[[[[[`",
  ],
  [`${GOOD} ${GOOD}`, 'g.jsonl:1:63: golden-syntax: expected the end of the line, found `{"prompt": "`'],
  ["{}", "g.jsonl:1: golden-record: the record has no `tokens`"],
  ['{"tokens": [1]}', "g.jsonl:1: golden-record: the record has no `logits`"],
  ['{"logits": [[1]]}', "g.jsonl:1: golden-record: the record has no `tokens`"],
  [
    '{"tokens": [], "logits": []}',
    "g.jsonl:1: golden-record: `logits` is empty; expected a row for each token",
  ],
  [
    '{"tokens": [1], "logits": [[1], [2]]}',
    "g.jsonl:1: golden-record: `logits` has 2 rows for 1 tokens; expected a row for each token",
  ],
  [
    '{"tokens": [1, 2], "mtp_logits": [[1], [2]]}',
    "g.jsonl:1: golden-record: `mtp_logits` has 2 rows for 2 tokens; expected a row for each token but the last",
  ],
  [
    '{"tokens": [1], "logits": [[1]], "mtp_logits": []}',
    "g.jsonl:1: golden-record: `mtp_logits` is empty; expected a row for each token but the last",
  ],
  [
    '{"mtp_logits": [[1, 2], [3]]}',
    "g.jsonl:1:28: golden-record: row 1 of `mtp_logits` has 1 numbers, but row 0 has 2",
  ],
  [
    '{"tokens": [1], "logits": [[1]], "attention_mask": []}',
    "g.jsonl:1: golden-record: `attention_mask` has 0 entries for 1 tokens",
  ],
];

test.each(REFUSED.map(([text, message]) => [message, text] as const))("%s", (message, text) => {
  expect(outcome(text)).toBe(message);
  expect(outcome(text, [1])).toBe(message);
});

test("bytes that are not UTF-8 are refused within a string", () => {
  const text = Buffer.concat([Buffer.from('{"prompt": "'), Uint8Array.of(0xff), Buffer.from('"}')]);
  expect(outcome(text)).toBe("g.jsonl:1:12: golden-syntax: this string is not UTF-8");
});

test("a file that is missing, a directory and other formats are refused", () => {
  const read = (path: string) => failure(() => [...readGolden(path)]);
  const missing = join(scratch(), "none.jsonl");
  expect(read(missing).message).toBe(`${missing}: file-missing: no such file or directory`);
  const directory = join(scratch(), "d.jsonl");
  fs.mkdirSync(directory);
  expect(read(directory).code).toBe("file-unreadable");
  const other = join(directory, "g.json");
  fs.writeFileSync(other, "");
  expect(read(other).message).toBe(
    `${other}: golden-format: golden logits are in a file that ends with .jsonl, .pickle, .pkl\nhelp: write one record per line of JSON, each with \`prompt\`, \`tokens\` and \`logits\``,
  );
});
