// JSON Lines: one JSON value a line.

import type { Source } from "../../compiler/diag.ts";
import { parseJson } from "../../compiler/json.ts";

/** One value and the offset where its line starts. */
export type JsonLine = { readonly value: unknown; readonly start: number };

/** The values of a text in order; blank lines are passed over. */
export function* parseJsonLines({ file, text }: Source): Generator<JsonLine> {
  for (let start = 0, line = 1; start < text.length; line++) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    const content = text.slice(start, end);
    if (content.trim() !== "") yield { value: parseJsonLine(file, content, line), start };
    start = end + 1;
  }
}

/** The value of a line, counted from 1. */
export function parseJsonLine(file: string, content: string, line: number): unknown {
  try {
    return JSON.parse(content);
  } catch {
    // With as many line ends before it as in the file, the fault is reported at its own place.
    return parseJson({ file, text: "\n".repeat(line - 1) + content });
  }
}
