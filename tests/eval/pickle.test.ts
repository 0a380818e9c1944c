// Golden logits in pickles: what Python writes is read, what we write reads back, and nothing in a pickle is carried out.
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Q3Error } from "../../compiler/diag.ts";
import { readGolden } from "../../runtime/eval/golden.ts";
import { type GoldenFormat, openGoldenWriter } from "../../runtime/eval/golden-writer.ts";
import { scratch } from "../support/scratch.ts";

const folder = new URL("pickles/", import.meta.url);
const pickles = fs.readdirSync(folder).sort();
const directory = scratch();

/** The records of bytes in a file of the given name, or the message of the error that reading them ends with. */
function outcome(bytes: Uint8Array, name = "g.pkl") {
  const path = join(directory, name);
  fs.writeFileSync(path, bytes);
  try {
    return [...readGolden(path)].map((record) => ({
      ...record,
      place: { ...record.place, file: record.place.file.replace(path, name) },
    }));
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    return error.message.replaceAll(path, name);
  }
}

test("there are pickles of both NumPys in three protocols", () => {
  expect(pickles).toEqual([1, 2].flatMap((major) => [3, 4, 5].map((p) => `numpy${major}-p${p}.pkl`)));
});

// The records of tests/oracles/golden_pickles.py.
test.each(pickles)("%s", (name) => {
  expect(outcome(fs.readFileSync(new URL(name, folder)))).toEqual([
    {
      kind: "logits",
      index: 0,
      prompt: "I love to 🙂",
      tokens: [3, 0, 7],
      attentionMask: [1, 1, 1],
      logits: Float32Array.of(0.5, -1.25, 3e-5, 2, -0.1, 100, -0, 12345678, 1, 2, 3, 4),
      vocab: 4,
      place: { file: "g.pkl", part: "record 0" },
    },
    {
      kind: "logits",
      index: 1,
      prompt: "",
      tokens: [1, 2],
      attentionMask: [1, 1],
      logits: Float32Array.of(1, 2, 3, 4, 5, 6),
      vocab: 3,
      place: { file: "g.pkl", part: "record 1" },
    },
    {
      kind: "logits",
      index: 2,
      prompt: "half",
      tokens: [9],
      logits: Float32Array.of(1.5, -2.25, 2 ** -24),
      vocab: 3,
      place: { file: "g.pkl", part: "record 2" },
    },
  ]);
});

const sample = fs.readFileSync(new URL("numpy2-p4.pkl", folder));

test("a pickle cut anywhere is an error that says where", () => {
  fc.assert(
    fc.property(fc.nat({ max: sample.length - 1 }), (length) => {
      expect(outcome(sample.subarray(0, length))).toMatch(/^g\.pkl: pickle: byte \d+: /);
    }),
    { numRuns: 100 },
  );
});

test("a damaged pickle gives records or one clear error", () => {
  const place = fc.nat({ max: sample.length - 1 });
  fc.assert(
    fc.property(place, fc.nat({ max: 255 }), (at, byte) => {
      const damaged = Uint8Array.from(sample);
      damaged[at] = byte;
      const found = outcome(damaged);
      if (typeof found === "string") expect(found).toMatch(/^g\.pkl: (pickle|golden-record|golden-empty): /);
    }),
    { numRuns: 200 },
  );
});

const python = (...parts: readonly (string | number)[]): Uint8Array =>
  Buffer.concat(
    parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part, "latin1"))),
  );
const START = [0x80, 4] as const;
const u64 = (n: bigint): string => Buffer.from(BigUint64Array.of(n).buffer).toString("latin1");

test.each<[claim: string, bytes: Uint8Array, message: string]>([
  [
    "a call of the shell",
    python(...START, "cos\nsystem\n(X", "\x04\0\0\0", "true", "tR."),
    "g.pkl: pickle: byte 2: the pickle names `os.system`, which q3c neither knows nor calls; golden logits are lists, dicts, texts, numbers and NumPy arrays",
  ],
  [
    "an object of a class",
    python(...START, ")", 0x81, "."),
    "g.pkl: pickle: byte 3: an instruction 0x81, which plain data and arrays have no use for",
  ],
  [
    "another protocol",
    python(0x80, 2, "]."),
    "g.pkl: pickle: byte 0: this is a pickle of protocol 2, expected 3 to 5\nhelp: write it with pickle.dump(records, file), whose own protocol is 4 or 5",
  ],
  [
    "a text file",
    python("(lp0\n."),
    "g.pkl: pickle: byte 0: this does not begin as a pickle of protocol 3 to 5 does\nhelp: write it with pickle.dump(records, file), whose own protocol is 4 or 5",
  ],
  [
    "more bytes than there are",
    python(...START, 0x8e, u64(1n << 62n), "."),
    "g.pkl: pickle: byte 2: 9007199254740991 bytes are announced, the file has 1 more",
  ],
  ["nothing on the stack", python(...START, "a."), "g.pkl: pickle: byte 2: there is nothing to take"],
  ["no mark", python(...START, "]e."), "g.pkl: pickle: byte 3: there is no mark to go back to"],
  ["nothing remembered", python(...START, "h\x07."), "g.pkl: pickle: byte 2: nothing was remembered as 7"],
  ["a lone value", python(...START, "N."), "g.pkl: golden-record: the pickle is not a list of records"],
  ["no records", python(...START, "]."), "g.pkl: golden-empty: the file has no records"],
  ["a record of nothing", python(...START, "]Na."), "g.pkl: golden-record: record 0: a record is a dict"],
  [
    "a record without tokens",
    python(...START, "]}a."),
    "g.pkl: golden-record: record 0: the record has no `tokens`",
  ],
])("%s is refused", (_claim, bytes, message) => {
  expect(outcome(bytes)).toBe(message);
});

test("a list within itself ends", () => {
  expect(outcome(python(...START, "]", 0x94, "h\0a."))).toBe(
    "g.pkl: golden-record: record 0: a record is a dict",
  );
});

test("a directory and a missing file are errors of the file", () => {
  const path = join(directory, "d.pkl");
  fs.mkdirSync(path);
  const codeOf = (name: string): string => {
    try {
      return String([...readGolden(name)].length);
    } catch (error) {
      return (error as Q3Error).diagnostics[0]!.code;
    }
  };
  expect(codeOf(path)).toBe("file-unreadable");
  expect(codeOf(join(directory, "none.pkl"))).toBe("file-missing");
});

const formats: readonly (readonly [GoldenFormat, string])[] = [
  ["json", "w.jsonl"],
  ["pickle", "w.pickle"],
];

test.each(formats)("what is written as %s reads back, bit by bit", (format, name) => {
  const path = join(directory, name);
  const logit = fc.float({ noNaN: true, noDefaultInfinity: true });
  const record = fc
    .record({ rows: fc.integer({ min: 1, max: 3 }), vocab: fc.integer({ min: 1, max: 4 }) })
    .chain(({ rows, vocab }) =>
      fc.record({
        prompt: fc.string({ unit: "binary" }),
        tokens: fc.array(fc.nat(), { minLength: rows, maxLength: rows }),
        logits: fc
          .array(logit, { minLength: rows * vocab, maxLength: rows * vocab })
          .map((values) => ({ logits: Float32Array.from(values), vocab })),
        kl_golden_model: fc.constant(Float64Array.of(0.5, Number.NaN, Number.POSITIVE_INFINITY)),
      }),
    );
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 3 }), (records) => {
      const writer = openGoldenWriter(path, format, { overwrite: true });
      for (const each of records) writer.write(each);
      writer.finish();
      expect([...readGolden(path)]).toEqual(
        records.map(({ prompt, tokens, logits }, index) =>
          expect.objectContaining({ index, prompt, tokens, ...logits }),
        ),
      );
    }),
    { numRuns: 15 },
  );
});

test.each(formats)("a %s file that is abandoned, or has no record, leaves nothing behind", (format, name) => {
  const path = join(scratch(), name);
  const abandoned = openGoldenWriter(path, format);
  abandoned.write({ prompt: "a", tokens: [1] });
  abandoned.abandon();
  const empty = openGoldenWriter(path, format);
  expect(() => empty.finish()).toThrow(/w\.\w+: golden-empty: /);
  empty.abandon();
  expect(fs.readdirSync(join(path, ".."))).toEqual([]);
});
