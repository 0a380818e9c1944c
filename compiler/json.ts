// Strict JSON with what `JSON.parse` does not give: where it breaks, and which keys an object repeats.

import { fail, type Source, type Span, toPlace } from "./diag.ts";

/** What a scan of a JSON text found: the first fault if any, and every repeated key. */
export type JsonScan = {
  readonly fault?: { readonly offset: number; readonly expected: string };
  readonly repeated: readonly { readonly key: string; readonly offset: number; readonly depth: number }[];
};

type Frame = { readonly close: "}" | "]"; readonly keys: Set<string> };

type Walk = {
  readonly text: string;
  at: number;
  /** What was wanted at `at` when the walk got stuck. */
  expected: string;
  readonly frames: Frame[];
  readonly repeated: { readonly key: string; readonly offset: number; readonly depth: number }[];
};

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

// Deeper than any file we read, and shallow enough that a hostile file costs no memory.
const MAX_DEPTH = 500;

/** Walks a JSON text without building it; nesting costs no stack, and its depth is limited. */
export function scanJson(text: string): JsonScan {
  const walk: Walk = { text, at: 0, expected: "", frames: [], repeated: [] };
  let isGood = true;
  do isGood = beginValue(walk) && endValue(walk);
  while (isGood && walk.frames.length > 0);
  if (isGood && walk.at < text.length) isGood = stuck(walk, "the end of the file");
  const { at: offset, expected, repeated } = walk;
  return isGood ? { repeated } : { fault: { offset, expected }, repeated };
}

function stuck(walk: Walk, expected: string): false {
  walk.expected = expected;
  return false;
}

function skip(walk: Walk, pattern: RegExp): boolean {
  pattern.lastIndex = walk.at;
  const found = pattern.test(walk.text);
  if (found) walk.at = pattern.lastIndex;
  return found;
}

function skipCharacter(walk: Walk, character: string): boolean {
  if (walk.text[walk.at] !== character) return false;
  walk.at++;
  return true;
}

// Goes past every bracket that opens a value, up to and including the first scalar or empty object or array.
function beginValue(walk: Walk): boolean {
  for (;;) {
    skip(walk, SPACE);
    const open = walk.text[walk.at];
    if (open === '"') return skipString(walk);
    if (open !== "{" && open !== "[") return skip(walk, SCALAR) || stuck(walk, "a value");
    if (walk.frames.length === MAX_DEPTH) return stuck(walk, `at most ${MAX_DEPTH} nested brackets`);
    walk.at++;
    const frame: Frame = { close: open === "{" ? "}" : "]", keys: new Set() };
    walk.frames.push(frame);
    skip(walk, SPACE);
    if (walk.text[walk.at] === frame.close) return true;
    if (open === "{" && !skipKey(walk, frame.keys)) return false;
  }
}

// Closes all that the last value completes, then goes past the comma before the next one.
function endValue(walk: Walk): boolean {
  for (;;) {
    skip(walk, SPACE);
    const frame = walk.frames.at(-1);
    if (!frame) return true;
    if (skipCharacter(walk, frame.close)) {
      walk.frames.pop();
      continue;
    }
    if (!skipCharacter(walk, ",")) return stuck(walk, `a comma or \`${frame.close}\``);
    skip(walk, SPACE);
    return frame.close === "]" || skipKey(walk, frame.keys);
  }
}

function skipKey(walk: Walk, keys: Set<string>): boolean {
  const offset = walk.at;
  if (walk.text[walk.at] !== '"') return stuck(walk, "a key in double quotes");
  if (!skipString(walk)) return false;
  const key = String(JSON.parse(walk.text.slice(offset, walk.at)));
  if (keys.has(key)) walk.repeated.push({ key, offset, depth: walk.frames.length });
  keys.add(key);
  skip(walk, SPACE);
  return skipCharacter(walk, ":") || stuck(walk, "a colon");
}

// By code unit: a regular expression over a string of megabytes can exhaust the engine's stack.
function skipString(walk: Walk): boolean {
  const { text } = walk;
  for (walk.at++; walk.at < text.length; ) {
    const unit = text.charCodeAt(walk.at);
    if (unit === 0x22) {
      walk.at++;
      return true;
    }
    if (unit < 0x20) return stuck(walk, "a string without raw control characters");
    if (unit !== 0x5c) walk.at++;
    else if (!skip(walk, ESCAPE)) return stuck(walk, "an escape that JSON knows");
  }
  return stuck(walk, "a closing double quote");
}

// A minified file is one line of megabytes; a caret under it helps nobody.
const isShortLine = ({ source: { text }, start }: Span): boolean => {
  const newline = text.indexOf("\n", start);
  return (newline < 0 ? text.length : newline) - text.lastIndexOf("\n", start - 1) <= 200;
};

/** The value of a JSON text; a fault is reported as `file:line:column`. */
export function parseJson(source: Source): unknown {
  try {
    return JSON.parse(source.text);
  } catch {
    const { fault } = scanJson(source.text);
    const offset = fault?.offset ?? 0;
    // What ends too early is shown where it ends, not on the empty line after it.
    const start = offset < source.text.length ? offset : source.text.trimEnd().length;
    const at = { source, start, end: start + 1 };
    const found =
      offset < source.text.length ? `\`${source.text.slice(start, start + 12)}\`` : "the end of the file";
    const message = `malformed JSON: expected ${fault?.expected ?? "a value"}, found ${found}`;
    fail({ code: "json-syntax", message, at: isShortLine(at) ? at : toPlace(at) });
  }
}

/** The object that a JSON text is, with each key once; `refuse` hears what is wrong with it. */
export function parseRecord(
  text: string,
  refuse: (problem: string) => never,
): Readonly<Record<string, unknown>> {
  const { fault, repeated } = scanJson(text);
  if (fault) refuse(`not JSON: expected ${fault.expected} at its character ${fault.offset}`);
  const [again] = repeated;
  if (again) refuse(`repeats the key \`${again.key}\``);
  const value: unknown = JSON.parse(text);
  return isRecord(value) ? value : refuse("expected a JSON object");
}

/** A JSON value in a message, cut when it is long. */
export function showJson(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Whether a JSON value is an object, not an array or null. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
