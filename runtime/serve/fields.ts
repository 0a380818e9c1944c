// Reading the fields of a request: each is what it should be, or the client is told what was expected and found.

import { didYouMean } from "../../compiler/diag.ts";
import { isRecord, showJson } from "../../compiler/json.ts";
import { ApiError, refuse } from "./errors.ts";

/** A request's fields by name; null means the same as absent. */
export type Fields = Readonly<Record<string, unknown>>;

/** The fields of a body, none of which is a stranger. */
export function fieldsOf(body: unknown, known: readonly string[]): Fields {
  if (!isRecord(body)) throw new ApiError(400, `expected a JSON object, found ${showJson(body)}`);
  const stranger = Object.keys(body).find((name) => !known.includes(name));
  if (stranger === undefined) return body;
  const hint = didYouMean(stranger, known);
  return refuse(
    stranger,
    `there is no parameter \`${stranger}\` here${hint ? `; ${hint}` : ""}`,
    "unknown_parameter",
  );
}

const wrong = (name: string, expected: string, value: unknown): never =>
  refuse(name, `\`${name}\` must be ${expected}, found ${showJson(value)}`);

type Range = { readonly least?: number; readonly most?: number };

const within = (
  value: number,
  { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY }: Range,
): boolean => value >= least && value <= most;

const bounds = ({ least, most }: Range): string =>
  [least === undefined ? "" : ` from ${least}`, most === undefined ? "" : ` up to ${most}`].join("");

/** A number, or `usual` when there is none. */
export function numberOf<T>(fields: Fields, name: string, usual: T, range: Range): number | T {
  const value = fields[name] ?? undefined;
  if (value === undefined) return usual;
  if (typeof value === "number" && within(value, range)) return value;
  return wrong(name, `a number${bounds(range)}`, value);
}

/** A whole number, or `usual` when there is none. */
export function countOf<T>(fields: Fields, name: string, usual: T, range: Range): number | T {
  const value = numberOf(fields, name, usual, {});
  if (value === usual || (Number.isSafeInteger(value) && within(Number(value), range))) return value;
  return wrong(name, `a whole number${bounds(range)}`, value);
}

/** True or false; false when there is none. */
export function flagOf(fields: Fields, name: string): boolean {
  const value = fields[name] ?? false;
  return typeof value === "boolean" ? value : wrong(name, "true or false", value);
}

/** A text, or `undefined`. */
export function textOf(fields: Fields, name: string): string | undefined {
  const value = fields[name] ?? undefined;
  return value === undefined || typeof value === "string" ? value : wrong(name, "text", value);
}

/** One text or a list of them. */
export function textsOf(fields: Fields, name: string, most: number): readonly string[] {
  const value = fields[name] ?? [];
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isText = (one: unknown): one is string => typeof one === "string" && one !== "";
  if (list.every(isText) && list.length <= most) return list;
  return wrong(name, `text, or a list of at most ${most} texts, none of them empty`, value);
}

/** Refuses what would change the answer and is not done here; its neutral values are let through. */
export function refuseUnless(fields: Fields, name: string, neutral: readonly unknown[]): void {
  const value = fields[name] ?? null;
  const isEmpty = isRecord(value) && Object.keys(value).length === 0;
  if (value === null || isEmpty || neutral.includes(value)) return;
  refuse(name, `\`${name}\` is not supported, found ${showJson(value)}`, "unsupported_parameter");
}
