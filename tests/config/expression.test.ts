// biome-ignore-all lint/suspicious/noTemplateCurlyInString: expressions are the subject.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { evaluate } from "../../compiler/config/evaluate.ts";
import { parseExpression } from "../../compiler/config/expression-syntax.ts";
import type { ConfigValue } from "../../compiler/config/value.ts";
import { fail, type Span } from "../../compiler/diag.ts";

const keys: Record<string, ConfigValue> = {
  emb: 64,
  heads: 4,
  dtype: "float32",
  packing: true,
  layers: ["linear", "full"],
  rules: { embed: ["fsdp"] },
};
const lookup = (name: string, at: Span): ConfigValue =>
  keys[name] ?? fail({ code: "unknown-key", message: `there is no key \`${name}\``, at }, 2);
const run = (text: string): ConfigValue => evaluate(parseExpression({ file: "x", text }), lookup);

function problem(text: string): string {
  try {
    run(text);
  } catch (error) {
    return (error as Error).message;
  }
  return "no error";
}

test.each<[string, ConfigValue]>([
  ["1 + 2 * 3", 7],
  ["(1 + 2) * 3", 9],
  ["-2 ** 2", -4],
  ["2 ** -1", 0.5],
  ["2 ** 3 ** 2", 512],
  ["7 / 2", 3.5],
  ["-7 // 2", -4],
  ["-7 % 3", 2],
  ["7 % -3", -2],
  ["10_000 + 1e3 + .5", 11000.5],
  ["emb // heads", 16],
  ["4 * emb", 256],
  ["emb if heads > 2 else 1 / 0", 64],
  ["1 if false else 2 if false else 3", 3],
  ["0 < heads <= 4 < emb", true],
  ["not packing or heads == 4 and dtype != 'bfloat16'", true],
  ['"full" in layers and 3 not in [1, 2]', true],
  ["'oat' in dtype", true],
  ["layers[-1]", "full"],
  ["rules['embed'][0]", "fsdp"],
  ["[1, 2] + [emb]", [1, 2, 64]],
  ['\'a\' + "b\\""', 'ab"'],
  ["min(emb, 3) + max([heads, 9])", 12],
  ["ceil(7 / 2) + floor(7 / 2) + round(2.5)", 9],
  ["null == none", true],
  ["True and not False", true],
  ["infinite == 1 if false else ifs == 2 if false else 0", 0],
])("%s is %j", (text, value) => {
  expect(run(text)).toEqual(value);
});

test("spans cover the source they came from, at an offset too", () => {
  const source = { file: "a.yml", text: "key: ${ 4 * emb } # end" };
  const expression = parseExpression(source, 7, 16);
  expect(source.text.slice(expression.at.start, expression.at.end)).toBe("4 * emb");
  expect(expression.kind === "binary" && source.text.slice(expression.opAt.start, expression.opAt.end)).toBe(
    "*",
  );
});

describe("errors underline the place", () => {
  test.each([
    ["", "x:1:1: expression-syntax: expected an expression, found nothing\n  \n  ^"],
    ["4 * ", "x:1:4: expression-syntax: expected a value, found the end\n  4 * \n     ^"],
    ["4 * )", "x:1:5: expression-syntax: expected a value, found `)`\n  4 * )\n      ^"],
    ["(4", "x:1:3: expression-syntax: expected `)`, found the end\n  (4\n    ^"],
    ["4 emb", "x:1:3: expression-syntax: expected an operator or the end, found `emb`\n  4 emb\n    ^^^"],
    ["1 if true", "x:1:10: expression-syntax: expected `else`, found the end\n  1 if true\n           ^"],
    ["emb & 2", "x:1:5: expression-syntax: unexpected character `&`\n  emb & 2\n      ^"],
    ["'abc", "x:1:1: expression-syntax: this text is not closed\n  'abc\n  ^"],
    ["1 + size", "x:1:5: unknown-key: there is no key `size`\n  1 + size\n      ^^^^"],
    [
      "1 + dtype",
      'x:1:5: expression-type: `+` takes numbers, found the text "float32"\n  1 + dtype\n      ^^^^^',
    ],
    [
      "not emb",
      "x:1:5: expression-type: `not` takes true or false, found the number 64\n  not emb\n      ^^^",
    ],
    ["emb / (heads - 4)", "x:1:5: expression-value: division by zero\n  emb / (heads - 4)\n      ^"],
    ["10 ** 999", "x:1:4: expression-value: 10 ** 999 is not a finite number\n  10 ** 999\n     ^^"],
    ["layers[2]", "x:1:8: expression-value: index 2 is outside a list of 2\n  layers[2]\n         ^"],
    ["emb[0]", "x:1:1: expression-type: only a list can be indexed, found the number 64\n  emb[0]\n  ^^^"],
    [
      "emb < dtype",
      'x:1:5: expression-type: `<` compares two numbers or two texts, found the number 64 and the text "float32"\n  emb < dtype\n      ^',
    ],
    [
      "mix(1, 2)",
      "x:1:1: unknown-function: there is no function `mix`; there are min, max, ceil, floor, round\n  mix(1, 2)\n  ^^^\nhelp: did you mean `min`?",
    ],
    ["ceil(1, 2)", "x:1:1: expression-type: `ceil` takes one number, found 2\n  ceil(1, 2)\n  ^^^^^^^^^^"],
  ])("%s", (text, message) => {
    expect(problem(text)).toBe(message);
  });
});

test.each(["1 +", "1 / 0", "not 1", "mix(1)"])(
  "whether a mistake in %s is one of configuration is up to the caller",
  (text) => {
    expect(() => run(text)).toThrow(expect.objectContaining({ exitCode: 1 }));
  },
);

type Sum = { text: string; value: number };

/** Random arithmetic with the value that JavaScript gives it. */
const arithmetic = fc.letrec<{ any: Sum }>((tie) => {
  const binary = (op: string, of: (a: number, b: number) => number) =>
    fc
      .tuple(tie("any"), tie("any"))
      .map(([a, b]) => ({ text: `(${a.text}) ${op} (${b.text})`, value: of(a.value, b.value) }));
  return {
    any: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.integer({ min: -50, max: 50 }).map((value) => ({ text: String(value), value })),
      fc.constant({ text: "emb", value: 64 }),
      binary("+", (a, b) => a + b),
      binary("-", (a, b) => a - b),
      binary("*", (a, b) => a * b),
      fc
        .tuple(tie("any"), tie("any"))
        .map(([a, b]) => ({ text: `max(${a.text}, ${b.text})`, value: Math.max(a.value, b.value) })),
      fc.tuple(tie("any"), tie("any"), tie("any")).map(([a, b, c]) => ({
        text: `(${a.text} if ${b.text} > ${c.text} else -(${c.text}))`,
        value: b.value > c.value ? a.value : -c.value,
      })),
      fc.tuple(tie("any"), fc.integer({ min: 1, max: 9 })).map(([a, b]) => ({
        text: `((${a.text}) // ${b} * ${b} + (${a.text}) % ${b})`,
        value: a.value,
      })),
    ),
  };
}).any;

test("arithmetic agrees with JavaScript", () => {
  fc.assert(
    fc.property(arithmetic, ({ text, value }) => {
      expect((run(text) as number) + 0).toBe(value + 0);
    }),
    { numRuns: 300 },
  );
});
