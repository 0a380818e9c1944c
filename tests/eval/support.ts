// Golden records as text, and what reading them gives.

import { Q3Error } from "../../compiler/diag.ts";
import { parseGolden } from "../../runtime/eval/golden-json.ts";
import type { GoldenRecord } from "../../runtime/eval/golden-record.ts";

export type Row = readonly number[];

/** A golden file of records given as values, as Python writes them. */
export const goldenText = (...records: readonly unknown[]): string =>
  records.map((record) => `${python(record)}\n`).join("");

const python = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (Object.is(value, -0)) return "-0.0";
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${python(each)}`);
  return `{${members.join(", ")}}`;
};

/** Gives bytes in portions of these sizes, used in turn. */
export function portions(bytes: Uint8Array, sizes: readonly number[]): () => Uint8Array | undefined {
  let at = 0;
  let turn = 0;
  return () => {
    if (at >= bytes.length) return undefined;
    const portion = bytes.slice(at, at + (sizes[turn++ % sizes.length] ?? 1));
    at += portion.length;
    return portion;
  };
}

/** The records of a text, or the message of the error that reading it ends with. */
export function outcome(
  text: string | Uint8Array,
  sizes: readonly number[] = [1 << 20],
): readonly GoldenRecord[] | string {
  try {
    return [...parseGolden("g.jsonl", portions(typeof text === "string" ? Buffer.from(text) : text, sizes))];
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    return error.message;
  }
}

/** The one table of logits with these rows. */
export const table = (rows: readonly Row[]): { logits: Float32Array; vocab: number } => ({
  logits: Float32Array.from(rows.flat()),
  vocab: rows[0]?.length ?? 0,
});
