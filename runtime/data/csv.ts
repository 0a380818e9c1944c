// CSV as RFC 4180 has it: fields in double quotes may hold commas, line ends and, doubled, quotes.

import { fail, type Source } from "../../compiler/diag.ts";

/** One record: its fields, and the offset where it starts. */
export type CsvRecord = { readonly fields: readonly string[]; readonly start: number };

const PLAIN = /[^,\r\n]*/y;
const LINE_END = /\r\n|\n|\r/y;

/** The records of a text in order; lines with nothing on them are passed over. */
export function* parseCsv(source: Source): Generator<CsvRecord> {
  const { text } = source;
  // A byte order mark, which spreadsheets like to write.
  let at = text.startsWith("\uFEFF") ? 1 : 0;
  while (at < text.length) {
    const start = at;
    const fields: string[] = [];
    for (;;) {
      const { field, end } = text[at] === '"' ? quoted(source, at) : plain(text, at);
      fields.push(field);
      at = end;
      if (text[at] !== ",") break;
      at++;
    }
    if (at > start) yield { fields, start };
    LINE_END.lastIndex = at;
    if (LINE_END.test(text)) at = LINE_END.lastIndex;
  }
}

type Field = { readonly field: string; readonly end: number };

function plain(text: string, start: number): Field {
  PLAIN.lastIndex = start;
  PLAIN.test(text);
  const end = PLAIN.lastIndex;
  return { field: text.slice(start, end), end };
}

function quoted(source: Source, start: number): Field {
  const { text } = source;
  let close = text.indexOf('"', start + 1);
  while (close >= 0 && text[close + 1] === '"') close = text.indexOf('"', close + 2);
  if (close < 0) {
    return fail({
      code: "csv-syntax",
      message: "this quote is never closed",
      at: { source, start, end: start + 1 },
      help: 'a field with a quote in it is written "in quotes, with every inner "" doubled"',
    });
  }
  const end = close + 1;
  if (end < text.length && !/[,\r\n]/.test(text[end] ?? "")) {
    fail({
      code: "csv-syntax",
      message: `expected a comma or the end of the line after a closing quote, found \`${text[end]}\``,
      at: { source, start: end, end: end + 1 },
      help: "a quote within quotes is doubled",
    });
  }
  return { field: text.slice(start + 1, close).replaceAll('""', '"'), end };
}
