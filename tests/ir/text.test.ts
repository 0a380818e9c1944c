// IR text is a language: what is printed reads back to the same module, and every mistake has its place.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { blockBuilder, value } from "../../compiler/ir/build.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { dim, tensor } from "../../compiler/ir/shape.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { cases } from "../support/cases.ts";
import { difference } from "../support/equal.ts";
import { isPlaced, problemOf } from "../support/failures.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, recipes } from "../support/modules.ts";
import { mutations } from "../support/mutate.ts";

/** Text that reads back to the same module and prints as itself. */
function expectRoundTrip(module: Module): void {
  const text = printModule(module);
  const again = parseModule(text);
  expect(difference(again, module)).toBeUndefined();
  expect(printModule(again)).toBe(text);
}

describe("print and parse", () => {
  test("random modules read back the same, forward and joint", () => {
    fc.assert(
      fc.property(recipes(12), (recipe) => {
        const module = moduleOf(recipe);
        verifyModule(module);
        expectRoundTrip(module);
        expectRoundTrip(differentiate(lossOf(module)));
      }),
      { numRuns: 100 },
    );
  });

  test("every number an attribute can hold", () => {
    const edges = [
      0,
      -0,
      1e-6,
      -1e-6,
      1e-9,
      1.5e-300,
      -2.5e21,
      1e21,
      5e-324,
      1.7976931348623157e308,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ];
    fc.assert(
      fc.property(fc.oneof(fc.constantFrom(...edges), fc.double()), (n) => {
        const { k, nodes } = blockBuilder();
        const made = k.constant(n, tensor("f32", []));
        expectRoundTrip({ name: "numbers", roles: [], body: { params: [], nodes, results: [made] } });
      }),
      { numRuns: 300 },
    );
  });

  test("names: repeated hints, trailing numbers, names that look like words", () => {
    const hints = [
      "x",
      "x",
      "x.2",
      "x.2.3",
      "module",
      "return",
      "inf",
      "nan",
      "true",
      "1",
      "a.b.c",
      "d.x",
      ".2",
      "2",
    ];
    const params = hints.map((hint) =>
      value(hint, tensor("f32", [dim("a*b", 2), dim("_", 1), dim("2*c", 4)])),
    );
    expectRoundTrip({
      name: "names",
      roles: params.map(() => "state"),
      body: { params, nodes: [], results: [...params].reverse() },
    });
  });

  test("no parameters, no results, a result named twice", () => {
    expectRoundTrip({ name: "empty", roles: [], body: { params: [], nodes: [], results: [] } });
    const x = value("x", tensor("bool", []));
    expectRoundTrip({ name: "twice", roles: ["input"], body: { params: [x], nodes: [], results: [x, x] } });
  });

  test("a long list has a line for each item", () => {
    const names = ["first", "second", "third"].map(
      (name) => `%the_${name}_of_several_matrices_with_a_long_name`,
    );
    const type = "f32[rows_of_the_matrix=2, columns_of_the_matrix=3]";
    const text = [
      "module m(",
      names.map((name) => `  param ${name}: ${type}`).join(",\n"),
      ") {",
      "  %a, %b, %c = remat(",
      names.map((name) => `    ${name}`).join(",\n"),
      '  ) {save="", offload=""} :',
      [type, type, type].map((each) => `      ${each}`).join(",\n"),
      "    (",
      names.map((name) => `      ${name}: ${type}`).join(",\n"),
      "    ) {",
      "      return",
      names.map((name) => `        ${name}`).join(",\n"),
      "    }",
      "  return %a, %b, %c",
      "}",
      "",
    ].join("\n");
    expect(printModule(parseModule(text))).toBe(text);
  });

  test("spaces, comments and other spellings of dtypes do not matter", () => {
    const plain = parseModule("module m(input %x: f32[n=2]) {\n  %y = exp(%x) : f32[n=2]\n  return %y\n}\n");
    const odd = parseModule("# a comment\nmodule m ( %x:float32[n=2] ){%y=exp(%x):F32[n=2] # so\nreturn %y}");
    expect(difference(plain, odd)).toBeUndefined();
  });

  test("region values may carry the names of outer ones", () => {
    const text = `module m(
  param %x: f32[t=2, n=3],
  param %c: f32[n=3]
) {
  %c.2, %y = scan(%c, %x) {length=2, carries=1, xs=1, reverse=false, label="t"} : f32[n=3], f32[t=2, n=3]
    (%c: f32[n=3], %x: f32[n=3]) {
      %y = add(%c, %x) : f32[n=3]
      return %y, %c
    }
  return %c.2, %y
}
`;
    expect(printModule(parseModule(text))).toBe(text);
  });
});

/** A module with something of everything: regions, each kind of attribute, several results, each role. */
const sample = `# a comment
module sample(
  param %x: f32[m=3, n=4],
  state %s: bf16[n=4],
  input %i: i32[m=3]
) {
  %f = convert(%s) : f32[n=4]
  %v, %top = top_k(%x) {k=2, label="top"} : f32[m=3, top=2], i32[m=3, top=2]
  %y = rms_norm(%x, %f) {eps=1e-6, offset=-0.5} : f32[m=3, n=4]
  %last, %ys = scan(%f, %y) {length=3, carries=1, xs=1, reverse=true, label="m"} : f32[n=4], f32[m=3, n=4]
    (%c: f32[n=4], %row: f32[n=4]) {
      %next = multiply(%c, %row) : f32[n=4]
      return %next, %c
    }
  %z = reduce_sum(%ys) {axes=[0, 1]} : f32[]
  %k = constant() {value=-inf} : f32[]
  %m = compare(%z, %k) {direction="LT"} : bool[]
  return %z, %m, %v, %top, %last
}
`;

describe("any text gives a module that reads back, or an error with its place", () => {
  const attempt = (text: string): void => {
    let module: Module | undefined;
    const problem = problemOf(() => {
      module = parseModule(text, "sample.q3");
    });
    if (problem)
      expect({ text, message: problem.message, isPlaced: isPlaced(problem, text) }).toMatchObject({
        isPlaced: true,
      });
    else expectRoundTrip(module!);
  };

  test("the sample itself is fine", () => {
    verifyModule(parseModule(sample));
    attempt(sample);
  });

  test("every prefix", () => {
    for (let end = 0; end < sample.length; end++) attempt(sample.slice(0, end));
    expect(problemOf(() => parseModule(sample.slice(0, -3)))?.diagnostics[0]?.code).toBe("ir-syntax");
  });

  test("the sample with pieces deleted, doubled, swapped and put elsewhere", () => {
    fc.assert(fc.property(mutations(sample), attempt), { numRuns: 1500 });
  });

  test("every case of the op table, the same way", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...cases.map(({ module }) => printModule(module))).chain(mutations),
        attempt,
      ),
      { numRuns: 3000 },
    );
  });
});
