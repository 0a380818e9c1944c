// Reads golden logits as MaxText keeps them: JSON Lines, a record a line. One record is held at a time, and never
// its text: a line may have more characters than a string can.

import * as fs from "node:fs";
import { extname } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { failRead } from "../files.ts";
import {
  END,
  failAtScalar,
  failExpected,
  failHere,
  type JsonCursor,
  NEWLINE,
  nextLine,
  openCursor,
  peek,
  readArray,
  readNumber,
  readObject,
  readString,
  skipValue,
} from "./json-cursor.ts";

/** Whose logits a table holds, by the record's key: the model's, or those of its head that drafts. */
const kinds = ["logits", "mtp_logits"] as const;
export type LogitKind = (typeof kinds)[number];

/** The rows that a table has: one for each token; the head needs the token that follows, so it has none for the last. */
export const rowsOf = (kind: LogitKind, tokens: number): number => (kind === "logits" ? tokens : tokens - 1);

/** A prompt and logits that the reference model gave for it, row-major [rows, vocab]. */
export type GoldenRecord = {
  readonly kind: LogitKind;
  /** Of the record in its file, which may hold a table of each kind. */
  readonly index: number;
  readonly prompt: string;
  readonly tokens: readonly number[];
  readonly logits: Float32Array;
  readonly vocab: number;
  readonly attentionMask?: readonly number[];
  /** `file:line` of the record. */
  readonly place: string;
};

const CHUNK = 1 << 20;

/** The records of a golden file, one after the other. */
export function* readGolden(path: string): Generator<GoldenRecord, void> {
  requireJsonLines(path);
  const file = reading(path, () => fs.openSync(path, "r"));
  try {
    yield* parseGolden(path, () => {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const count = reading(path, () => fs.readSync(file, chunk));
      return count > 0 ? chunk.subarray(0, count) : undefined;
    });
  } finally {
    fs.closeSync(file);
  }
}

/** The records that bytes spell; `next` gives them in any portions, and nothing at the end. */
export function* parseGolden(
  file: string,
  next: () => Uint8Array | undefined,
): Generator<GoldenRecord, void> {
  const cursor = openCursor(file, next);
  let count = 0;
  for (let byte = peek(cursor); byte !== END; byte = peek(cursor)) {
    if (byte === NEWLINE) {
      nextLine(cursor);
      continue;
    }
    const records = readRecord(cursor, count++);
    const after = peek(cursor);
    if (after !== NEWLINE && after !== END) failExpected(cursor, "the end of the line");
    yield* records;
  }
  if (count === 0) fail({ code: "golden-empty", message: `${file}: the file has no records` });
}

function reading<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    return failRead(path, error);
  }
}

function requireJsonLines(path: string): void {
  const suffix = extname(path);
  if (suffix === ".jsonl") return;
  if (suffix === ".pickle" || suffix === ".pkl") {
    fail({
      code: "golden-format",
      message: `${path}: pickled golden logits are not supported yet`,
      help: "convert to .jsonl: load the pickle in Python and write each record as one line of JSON, its arrays as lists",
    });
  }
  fail({
    code: "golden-format",
    message: `${path}: golden logits are JSON Lines, in a file that ends with .jsonl`,
    help: "write one record per line, each with `prompt`, `tokens` and `logits`",
  });
}

type Fields = {
  prompt?: string;
  tokens?: readonly number[];
  attentionMask?: readonly number[];
  logits?: readonly Float32Array[];
  mtp_logits?: readonly Float32Array[];
};

function readRecord(cursor: JsonCursor, index: number): readonly GoldenRecord[] {
  const place = `${cursor.file}:${cursor.line}`;
  const fields: Fields = {};
  const seen = new Set<string>();
  readObject(cursor, "a record, `{`", (key) => {
    if (seen.has(key)) failAtScalar(cursor, "golden-record", `\`${key}\` is there twice`);
    seen.add(key);
    readField(cursor, key, fields);
  });
  return assemble(place, index, fields);
}

function readField(cursor: JsonCursor, key: string, fields: Fields): void {
  if (key === "prompt") fields.prompt = readString(cursor, "`prompt` to be a string");
  else if (key === "tokens") fields.tokens = readTokens(cursor);
  else if (key === "attention_mask") fields.attentionMask = readMask(cursor);
  else if (key === "logits" || key === "mtp_logits") fields[key] = readRows(cursor, key);
  else skipValue(cursor);
}

function assemble(place: string, index: number, fields: Fields): readonly GoldenRecord[] {
  const { prompt = "", tokens, attentionMask } = fields;
  const refuse = (problem: string): never => fail({ code: "golden-record", message: `${place}: ${problem}` });
  if (!tokens) return refuse("the record has no `tokens`");
  if (attentionMask && attentionMask.length !== tokens.length)
    return refuse(`\`attention_mask\` has ${attentionMask.length} entries for ${tokens.length} tokens`);
  const found = kinds.flatMap((kind): readonly GoldenRecord[] => {
    const rows = fields[kind];
    if (!rows) return [];
    const table = joinRows(rows);
    const wanted = kind === "logits" ? "a row for each token" : "a row for each token but the last";
    if (!table) return refuse(`\`${kind}\` is empty; expected ${wanted}`);
    if (rows.length !== rowsOf(kind, tokens.length))
      return refuse(`\`${kind}\` has ${rows.length} rows for ${tokens.length} tokens; expected ${wanted}`);
    return [{ kind, index, prompt, tokens, ...table, ...(attentionMask && { attentionMask }), place }];
  });
  return found.length > 0 ? found : refuse("the record has no `logits`");
}

/** Rows of one length as one table, if there are any. */
function joinRows(rows: readonly Float32Array[]): Pick<GoldenRecord, "logits" | "vocab"> | undefined {
  const vocab = rows[0]?.length;
  if (vocab === undefined) return undefined;
  const logits = new Float32Array(rows.length * vocab);
  for (const [i, row] of rows.entries()) logits.set(row, i * vocab);
  return { logits, vocab };
}

function readTokens(cursor: JsonCursor): readonly number[] {
  const tokens: number[] = [];
  readArray(cursor, "`tokens` to be an array", () => {
    const id = readNumber(cursor, "a token id");
    if (!Number.isSafeInteger(id) || id < 0)
      failAtScalar(cursor, "golden-record", `a token id is a whole number from 0 up, found ${id}`);
    tokens.push(id);
  });
  return tokens;
}

function readMask(cursor: JsonCursor): readonly number[] {
  const mask: number[] = [];
  readArray(cursor, "`attention_mask` to be an array", () => mask.push(readNumber(cursor, "0 or 1")));
  return mask;
}

function readRows(cursor: JsonCursor, kind: LogitKind): readonly Float32Array[] {
  const rows: Float32Array[] = [];
  readArray(cursor, `\`${kind}\` to be an array of rows`, (row) => {
    const [first] = rows;
    rows.push(first ? readRow(cursor, kind, row, first.length) : readFirstRow(cursor, kind));
  });
  return rows;
}

function readFirstRow(cursor: JsonCursor, kind: LogitKind): Float32Array {
  const values: number[] = [];
  readArray(cursor, "a row of logits", () => values.push(readLogit(cursor)));
  if (values.length === 0) failHere(cursor, "golden-record", `row 0 of \`${kind}\` has no numbers`);
  return Float32Array.from(values);
}

function readRow(cursor: JsonCursor, kind: LogitKind, row: number, vocab: number): Float32Array {
  const values = new Float32Array(vocab);
  const ragged = (length: string): never =>
    failHere(
      cursor,
      "golden-record",
      `row ${row} of \`${kind}\` has ${length} numbers, but row 0 has ${vocab}`,
    );
  const length = readArray(cursor, "a row of logits", (id) => {
    if (id === vocab) ragged(`${vocab + 1} or more`);
    values[id] = readLogit(cursor);
  });
  if (length !== vocab) ragged(`${length}`);
  return values;
}

function readLogit(cursor: JsonCursor): number {
  const value = readNumber(cursor, "a finite number");
  if (!Number.isFinite(Math.fround(value)))
    failAtScalar(cursor, "golden-record", `the logit ${value} is too large for float32`);
  return value;
}
