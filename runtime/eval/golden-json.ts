// Golden logits as JSON Lines, a record a line. One record is held at a time, and never its text: a line may have more
// characters than a string can.

import { fail } from "../../compiler/diag.ts";
import { assemble, type Fields, type GoldenRecord, type LogitKind, type Table } from "./golden-record.ts";
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
  if (count === 0) fail({ code: "golden-empty", message: "the file has no records", at: { file } });
}

function readRecord(cursor: JsonCursor, index: number): readonly GoldenRecord[] {
  const place = { file: cursor.file, line: cursor.line };
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
  else if (key === "logits" || key === "mtp_logits") fields[key] = readTable(cursor, key);
  else skipValue(cursor);
}

/** Rows of one length as one table. */
function joinRows(rows: readonly Float32Array[]): Table {
  const vocab = rows[0]?.length ?? 0;
  const logits = new Float32Array(rows.length * vocab);
  for (const [i, row] of rows.entries()) logits.set(row, i * vocab);
  return { logits, vocab, rows: rows.length };
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

function readTable(cursor: JsonCursor, kind: LogitKind): Table {
  const rows: Float32Array[] = [];
  readArray(cursor, `\`${kind}\` to be an array of rows`, (row) => {
    const [first] = rows;
    rows.push(first ? readRow(cursor, kind, row, first.length) : readFirstRow(cursor, kind));
  });
  return joinRows(rows);
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
