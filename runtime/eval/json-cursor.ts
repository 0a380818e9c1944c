// JSON read from chunks of bytes as it comes, for lines longer than a string can be: what is held is one chunk and
// the scalar being read. A value lies on one line, as in JSON Lines; columns count bytes.

import { isUtf8 } from "node:buffer";
import { fail } from "../../compiler/diag.ts";

/** Where the reading of one file stands. */
export type JsonCursor = {
  readonly file: string;
  /** The next bytes of the file, or nothing at its end. */
  readonly next: () => Uint8Array | undefined;
  chunk: Buffer;
  /** The unread bytes begin here in `chunk`. */
  at: number;
  /** Offset of `chunk` in the file. */
  base: number;
  line: number;
  /** Offset in the file of the line being read. */
  lineStart: number;
  /** Offset in the file of the scalar read last. */
  scalar: number;
};

/** What `peek` gives at the end of the file. */
export const END = -1;
/** The byte that ends a line. */
export const NEWLINE = 0x0a;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const BACKSLASH = 0x5c;

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const MAX_DEPTH = 500;
const MAX_NUMBER = 1 << 10;
const MAX_STRING = 1 << 24;

const NUMBER_BYTES = new Uint8Array(256);
for (const byte of Buffer.from("+-.0123456789eE")) NUMBER_BYTES[byte] = 1;

/** A cursor at the start of a file whose bytes `next` gives. */
export const openCursor = (file: string, next: JsonCursor["next"]): JsonCursor => ({
  file,
  next,
  chunk: Buffer.alloc(0),
  at: 0,
  base: 0,
  line: 1,
  lineStart: 0,
  scalar: 0,
});

// Puts the next bytes after the unread ones, which then begin at 0.
function more(cursor: JsonCursor): boolean {
  const bytes = cursor.next();
  if (!bytes) return false;
  const rest = cursor.chunk.subarray(cursor.at);
  cursor.chunk = rest.length > 0 ? Buffer.concat([rest, bytes]) : view(bytes);
  cursor.base += cursor.at;
  cursor.at = 0;
  return true;
}

const view = ({ buffer, byteOffset, length }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, length);

/** The byte that comes next on this line, past white space; `NEWLINE` or `END` if there is none. */
export function peek(cursor: JsonCursor): number {
  for (;;) {
    const byte = cursor.chunk[cursor.at];
    if (byte === undefined) {
      if (!more(cursor)) return END;
    } else if (byte === 0x20 || byte === 0x09 || byte === 0x0d) cursor.at++;
    else return byte;
  }
}

/** Steps over the end of a line, which must be what comes next. */
export function nextLine(cursor: JsonCursor): void {
  cursor.at++;
  cursor.line++;
  cursor.lineStart = cursor.base + cursor.at;
}

function failAtOffset(cursor: JsonCursor, offset: number, code: string, message: string): never {
  const { file, line, lineStart } = cursor;
  return fail({ code, message, at: { file, line, column: offset - lineStart + 1 } });
}

/** Fails where the scalar read last begins. */
export const failAtScalar = (cursor: JsonCursor, code: string, message: string): never =>
  failAtOffset(cursor, cursor.scalar, code, message);

/** Fails where the cursor stands. */
export const failHere = (cursor: JsonCursor, code: string, message: string): never =>
  failAtOffset(cursor, cursor.base + cursor.at, code, message);

/** Fails at what comes next, which is not what was expected. */
export function failExpected(cursor: JsonCursor, expected: string): never {
  return failHere(cursor, "golden-syntax", `expected ${expected}, found ${found(cursor)}`);
}

// The same text however the bytes were cut into chunks.
function found(cursor: JsonCursor): string {
  while (cursor.chunk.length - cursor.at < 12 && more(cursor));
  const ahead = cursor.chunk.subarray(cursor.at, cursor.at + 12);
  if (ahead.length === 0) return "the end of the file";
  const [line = ""] = ahead.toString("utf8").split(/\r?\n/);
  return line === "" ? "the end of the line" : `\`${line}\``;
}

function take(cursor: JsonCursor, byte: number, expected: string): void {
  if (peek(cursor) !== byte) failExpected(cursor, expected);
  cursor.at++;
}

// Goes on after a value: past a comma, or past the bracket that closes.
function goesOn(cursor: JsonCursor, close: number): boolean {
  const byte = peek(cursor);
  if (byte !== COMMA && byte !== close) failExpected(cursor, `a comma or \`${String.fromCharCode(close)}\``);
  cursor.at++;
  return byte === COMMA;
}

/** Reads an array, each element by `readElement`, and gives their number. */
export function readArray(cursor: JsonCursor, what: string, readElement: (index: number) => void): number {
  take(cursor, OPEN_ARRAY, what);
  if (peek(cursor) === CLOSE_ARRAY) {
    cursor.at++;
    return 0;
  }
  let count = 0;
  do readElement(count++);
  while (goesOn(cursor, CLOSE_ARRAY));
  return count;
}

/** Reads an object, the value of each key by `readValue`. */
export function readObject(cursor: JsonCursor, what: string, readValue: (key: string) => void): void {
  take(cursor, OPEN_OBJECT, what);
  if (peek(cursor) === CLOSE_OBJECT) {
    cursor.at++;
    return;
  }
  do {
    const key = readString(cursor, "a key in double quotes");
    take(cursor, COLON, "a colon");
    readValue(key);
  } while (goesOn(cursor, CLOSE_OBJECT));
}

/** Reads a number as JSON spells it: `NaN` and `Infinity`, which Python also writes, are not. */
export function readNumber(cursor: JsonCursor, what: string): number {
  peek(cursor);
  let length = 0;
  do {
    while (NUMBER_BYTES[cursor.chunk[cursor.at + length] ?? 0] === 1) length++;
  } while (cursor.at + length === cursor.chunk.length && length <= MAX_NUMBER && more(cursor));
  const text = cursor.chunk.toString("latin1", cursor.at, cursor.at + length);
  if (length > MAX_NUMBER || !NUMBER.test(text)) failExpected(cursor, what);
  cursor.scalar = cursor.base + cursor.at;
  cursor.at += length;
  return Number(text);
}

/** Reads a string, escapes and all. */
export function readString(cursor: JsonCursor, what: string): string {
  if (peek(cursor) !== QUOTE) failExpected(cursor, what);
  cursor.scalar = cursor.base + cursor.at;
  const length = stringLength(cursor);
  const bytes = cursor.chunk.subarray(cursor.at, cursor.at + length);
  if (!isUtf8(bytes)) failAtScalar(cursor, "golden-syntax", "this string is not UTF-8");
  cursor.at += length;
  try {
    return String(JSON.parse(bytes.toString("utf8")));
  } catch {
    return failAtScalar(cursor, "golden-syntax", "this string has an escape that JSON does not know");
  }
}

// Bytes from quote to quote; all of them are in the chunk then.
function stringLength(cursor: JsonCursor): number {
  for (let length = 1; ; ) {
    const byte = cursor.chunk[cursor.at + length];
    if (byte === QUOTE) return length + 1;
    if (length > MAX_STRING)
      failAtScalar(cursor, "golden-syntax", `this string is longer than ${MAX_STRING} bytes`);
    if (byte === undefined) {
      if (more(cursor)) continue;
    } else if (byte >= 0x20) {
      length += byte === BACKSLASH ? 2 : 1;
      continue;
    }
    cursor.at = Math.min(cursor.at + length, cursor.chunk.length);
    failExpected(cursor, "a closing double quote");
  }
}

/** Reads any value and keeps nothing of it. */
export function skipValue(cursor: JsonCursor, depth = 0): void {
  if (depth === MAX_DEPTH) failExpected(cursor, `at most ${MAX_DEPTH} nested brackets`);
  const skipInner = (): void => skipValue(cursor, depth + 1);
  const byte = peek(cursor);
  if (byte === QUOTE) readString(cursor, "a string");
  else if (byte === OPEN_ARRAY) readArray(cursor, "an array", skipInner);
  else if (byte === OPEN_OBJECT) readObject(cursor, "an object", skipInner);
  else if (!skipWord(cursor)) readNumber(cursor, "a value");
}

// The last three are Python's.
const WORDS = ["true", "false", "null", "NaN", "Infinity", "-Infinity"];
const LONGEST_WORD = 9;

function skipWord(cursor: JsonCursor): boolean {
  while (cursor.chunk.length - cursor.at < LONGEST_WORD && more(cursor));
  const ahead = cursor.chunk.toString("latin1", cursor.at, cursor.at + LONGEST_WORD);
  const word = WORDS.find((each) => ahead.startsWith(each));
  cursor.at += word?.length ?? 0;
  return word !== undefined;
}
