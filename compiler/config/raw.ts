// A value as it was written: constants, `${…}` templates, lists and mappings, each with its place.

import { fail, type Source, type Span } from "../diag.ts";
import { evaluate, type Lookup } from "./evaluate.ts";
import type { Expression } from "./expression.ts";
import { parseExpression } from "./expression-syntax.ts";
import type { Given } from "./key.ts";
import { type ConfigValue, describeValue } from "./value.ts";

/** A written value. `text` of a constant is its spelling, which free text keeps. */
export type Raw =
  | {
      readonly kind: "constant";
      readonly value: number | string | boolean | null;
      readonly text: string;
      readonly at: Span;
    }
  | { readonly kind: "template"; readonly parts: readonly (string | Expression)[]; readonly at: Span }
  | { readonly kind: "list"; readonly items: readonly Raw[]; readonly at: Span }
  | { readonly kind: "mapping"; readonly entries: readonly RawEntry[]; readonly at: Span };

/** One `name: value` of a mapping. */
export type RawEntry = { readonly name: string; readonly nameAt: Span; readonly value: Raw };

// The brace that closes an expression, past any braces in its texts.
function closingBrace(text: string, from: number, end: number): number {
  let quote = "";
  for (let i = from; i < end; i++) {
    const character = text[i];
    if (quote && character === "\\") i++;
    else if (quote) quote = character === quote ? "" : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === "}") return i;
  }
  return -1;
}

/** Splits text with `${…}` into its literal parts and expressions; `$${` stands for `${` itself. */
function parseTemplate(source: Source, start: number, end: number): readonly (string | Expression)[] {
  const parts: (string | Expression)[] = [];
  let literal = "";
  let at = start;
  while (at < end) {
    const dollar = source.text.indexOf("${", at);
    if (dollar < 0 || dollar >= end) break;
    if (source.text[dollar - 1] === "$" && dollar > at) {
      literal += `${source.text.slice(at, dollar - 1)}\${`;
      at = dollar + 2;
      continue;
    }
    const close = closingBrace(source.text, dollar + 2, end);
    if (close < 0) {
      const opening = { source, start: dollar, end: dollar + 2 };
      fail({ code: "expression-syntax", message: "this expression is not closed by a `}`", at: opening }, 2);
    }
    literal += source.text.slice(at, dollar);
    if (literal !== "") parts.push(literal);
    literal = "";
    parts.push(parseExpression(source, dollar + 2, close));
    at = close + 1;
  }
  literal += source.text.slice(at, end);
  return literal === "" ? parts : [...parts, literal];
}

/** A scalar text as a written value: a template when it holds `${`. */
export function rawText(value: string, source: Source, start: number, end: number): Raw {
  const at = { source, start, end };
  if (!value.includes("${")) return { kind: "constant", value, text: value, at };
  const inside = source.text.indexOf(value, start);
  // Escapes and folded lines change the text; then places are told in the text as YAML reads it.
  const exact = inside >= 0 && inside + value.length <= end;
  const place = exact ? { source, start: inside } : { source: { file: source.file, text: value }, start: 0 };
  return {
    kind: "template",
    parts: parseTemplate(place.source, place.start, place.start + value.length),
    at,
  };
}

function fillTemplate(parts: readonly (string | Expression)[], lookup: Lookup): ConfigValue {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined && typeof only !== "string") return evaluate(only, lookup);
  return parts
    .map((part) => {
      if (typeof part === "string") return part;
      const value = evaluate(part, lookup);
      if (typeof value !== "object" || value === null) return String(value);
      const message = `only a text, number or boolean can stand within text, found ${describeValue(value)}`;
      return fail({ code: "expression-type", message, at: part.at }, 2);
    })
    .join("");
}

/** The value of what was written, its expressions evaluated. */
export function evaluateRaw(raw: Raw, lookup: Lookup): Given {
  switch (raw.kind) {
    case "constant":
      return { value: raw.value, text: raw.text };
    case "template":
      return { value: fillTemplate(raw.parts, lookup) };
    case "list":
      return { value: raw.items.map((item) => evaluateRaw(item, lookup).value) };
    case "mapping":
      return {
        value: Object.fromEntries(
          raw.entries.map(({ name, value }) => [name, evaluateRaw(value, lookup).value]),
        ),
      };
  }
}
