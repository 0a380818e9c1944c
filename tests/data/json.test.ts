import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { scanJson } from "../../compiler/json.ts";

const parses = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

test("the scan accepts exactly what JSON.parse accepts", () => {
  const whole = fc.json({ maxDepth: 4 });
  const damaged = fc
    .tuple(
      whole,
      fc.nat(),
      fc.constantFrom("", "{", "}", "[", "]", ",", ":", '"', "\\", "0", "-", "e", " ", "\n", "\u0001"),
    )
    .map(([text, pick, insert]) => {
      const at = pick % (text.length + 1);
      return text.slice(0, at) + insert + text.slice(insert === "" ? at + 1 : at);
    });
  fc.assert(
    fc.property(fc.oneof(whole, damaged, fc.string()), (text) => {
      expect(scanJson(text).fault === undefined).toBe(parses(text));
    }),
    { numRuns: 2000 },
  );
});

test("repeated keys are found at any depth and however they are escaped", () => {
  const { repeated } = scanJson('{"a": {"b": 1, "\\u0062": 2}, "c": [{"a": 1}], "a": 3}');
  expect(repeated).toEqual([
    { key: "b", offset: 15, depth: 2 },
    { key: "a", offset: 46, depth: 1 },
  ]);
});
