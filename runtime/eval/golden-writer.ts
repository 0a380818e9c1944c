// Writes golden logits in MaxText's forms, record by record: JSON Lines, or a pickle of a list of dicts with NumPy arrays.

import { fail } from "../../compiler/diag.ts";
import { type AsideOptions, openAside } from "../files.ts";
import { pickleEnd, pickleRecord, pickleStart } from "./golden-pickle-writer.ts";
import type { WrittenRecord, WrittenValue } from "./golden-record.ts";

export type GoldenWriter = {
  write(record: WrittenRecord): void;
  /** Puts the file in its place; without it there is none. */
  finish(): void;
  abandon(): void;
};

type Form = {
  readonly start: () => Iterable<Uint8Array>;
  readonly record: (record: WrittenRecord) => Iterable<Uint8Array>;
  readonly end: () => Iterable<Uint8Array>;
};

const utf8 = new TextEncoder();

// Numbers that are not finite are spelled as Python's json module spells them.
function* jsonValue(value: WrittenValue): Iterable<string> {
  if (typeof value === "string") yield JSON.stringify(value);
  else if ("logits" in value) {
    const { logits, vocab } = value;
    for (let at = 0; at < logits.length; at += vocab)
      yield `${at > 0 ? ", " : "["}[${logits.subarray(at, at + vocab).join(", ")}]`;
    yield "]";
  } else yield `[${value.join(", ")}]`;
}

function* jsonRecord(record: WrittenRecord): Iterable<Uint8Array> {
  for (const [i, [name, value]] of Object.entries(record).entries()) {
    yield utf8.encode(`${i > 0 ? ", " : "{"}${JSON.stringify(name)}: `);
    for (const part of jsonValue(value)) yield utf8.encode(part);
  }
  yield utf8.encode("}\n");
}

const forms = {
  json: { start: () => [], record: jsonRecord, end: () => [] },
  pickle: { start: pickleStart, record: pickleRecord, end: pickleEnd },
} as const satisfies Readonly<Record<string, Form>>;

/** The forms of golden files, by MaxText's names. */
export const goldenFormats = Object.keys(forms) as readonly GoldenFormat[];
export type GoldenFormat = keyof typeof forms;

/** Starts a golden file, which appears whole or not at all. */
export function openGoldenWriter(
  path: string,
  format: GoldenFormat,
  options: AsideOptions = {},
): GoldenWriter {
  const form: Form = forms[format];
  const file = openAside(path, options);
  const put = (parts: Iterable<Uint8Array>): void => {
    for (const part of parts) file.append(part);
  };
  put(form.start());
  let count = 0;
  return {
    write(record) {
      put(form.record(record));
      count++;
    },
    finish() {
      if (count === 0)
        fail({ code: "golden-empty", message: "there is no record to write", at: { file: path } });
      put(form.end());
      file.finish();
    },
    abandon: file.abandon,
  };
}
