// Texts a slip away from a valid one: tokens deleted, doubled, swapped, replaced, numbers changed, characters put in.
import fc from "fast-check";

const TOKEN = /\w+|"[^"\n]*"|\s+|[^\w\s]/g;
const odd = [
  "",
  "0",
  "1",
  "-1",
  "7",
  "2.5",
  "1e999",
  "%x",
  "x",
  "exp",
  "constructor",
  "__proto__",
  "toString",
  "[",
  "]",
  "(",
  ")",
  "{",
  "}",
  ",",
  ":",
  "=",
  '"',
  '"\\q"',
  '"a b"',
  "inf",
  "true",
  "f32",
  "i32",
  "bool",
  "[]",
  "[0, 0]",
  "[9]",
  "[-1]",
  "§",
  "\t",
  "\u0000",
  "/",
  "*",
];

type Slip = (tokens: readonly string[], at: number, other: number, text: string) => readonly string[];

const slips: readonly Slip[] = [
  (tokens, at) => tokens.toSpliced(at, 1),
  (tokens, at) => tokens.toSpliced(at, 0, tokens[at]!),
  (tokens, at, other) => tokens.with(at, tokens[other]!).with(other, tokens[at]!),
  (tokens, at, other) => tokens.with(at, tokens[other]!),
  (tokens, at, _other, text) => tokens.with(at, text),
  (tokens, at, _other, text) => tokens.toSpliced(at, 0, text),
  (tokens, at, other) => [...tokens.slice(0, Math.min(at, other)), ...tokens.slice(Math.max(at, other))],
];

/** One to three slips into a text. */
export function mutations(text: string): fc.Arbitrary<string> {
  const tokens = text.match(TOKEN) ?? [];
  const slip = fc.record({
    how: fc.constantFrom(...slips),
    at: fc.nat(),
    other: fc.nat(),
    put: fc.constantFrom(...odd),
  });
  return fc
    .array(slip, { minLength: 1, maxLength: 3 })
    .map((chosen) =>
      chosen
        .reduce<readonly string[]>(
          (now, { how, at, other, put }) =>
            now.length === 0 ? now : how(now, at % now.length, other % now.length, put),
          tokens,
        )
        .join(""),
    );
}
