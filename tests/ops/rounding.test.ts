// Numbers of bf16 and f16: every result is the rounded exact one.
import { describe, expect, test } from "@jest/globals";
import { range } from "../../compiler/ir/shape.ts";
import { randomFrom } from "../support/random.ts";
import { runModule } from "../support/run.ts";
import { engine, moduleOf } from "./meaning.ts";
import * as oracle from "./oracles.ts";

describe.each(["bf16", "f16"] as const)("%s", (dtype) => {
  const module = (count: number) =>
    moduleOf(`input %x: f32[n=${count}]`, `%y = convert(%x) : ${dtype}[n=${count}]`, "%y");
  const rounded = (values: ArrayLike<number>) => [
    ...runModule(engine, module(values.length), [Float32Array.from(values)])[0]!,
  ];

  test("rounds to the nearest, ties to even, over all magnitudes", () => {
    const random = randomFrom(13);
    const bits = new Uint32Array(4096).map(() => Math.floor(random() * 2 ** 32));
    const values = [...new Float32Array(bits.buffer)].filter((x) => !Number.isNaN(x));
    const near = range(2000).map(() => Math.fround((random() - 0.5) * 10 ** (6 - 14 * random())));
    const all = [...values, ...near];
    expect(rounded(all)).toEqual(all.map((x) => oracle.nearest(dtype, x)));
  });

  test("rounds ties, the largest, the smallest, zeros and infinities as IEEE does", () => {
    const steps = { bf16: 2 ** -7, f16: 2 ** -10 }[dtype];
    const edges = {
      bf16: [3.3895313892515355e38, 3.396177529230496e38, 3.39e38],
      f16: [65504, 65519, 65520, 65535],
    }[dtype];
    const tiny = {
      bf16: [2 ** -133, 2 ** -134, 3 * 2 ** -134, 2 ** -126],
      f16: [2 ** -24, 2 ** -25, 3 * 2 ** -25, 2 ** -14, 2 ** -14 - 2 ** -25],
    }[dtype];
    const ties = range(8).flatMap((i) => [1 + (i + 0.5) * steps, 1 + (i + 0.5) * steps + 2 ** -20]);
    const all = [...edges, ...tiny, ...ties, 0, Number.POSITIVE_INFINITY]
      .flatMap((x) => [x, -x])
      .map(Math.fround);
    expect(rounded(all)).toEqual(all.map((x) => oracle.nearest(dtype, x)));
    expect(rounded([Number.NaN])).toEqual([Number.NaN]);
  });

  test("sums, products and quotients are the rounded exact ones", () => {
    const random = randomFrom(17);
    const [a, b] = [0, 1].map(() =>
      rounded(range(500).map(() => (random() - 0.5) * 2 ** (8 - 16 * random()))),
    ) as [number[], number[]];
    const type = `${dtype}[n=500]`;
    const all = moduleOf(
      `input %a: ${type}, input %b: ${type}`,
      `%s = add(%a, %b) : ${type}\n  %p = multiply(%a, %b) : ${type}\n  %q = divide(%a, %b) : ${type}`,
      "%s, %p, %q",
    );
    const found = runModule(engine, all, [Float32Array.from(a), Float32Array.from(b)]);
    const wanted = [
      (x: number, y: number) => x + y,
      (x: number, y: number) => x * y,
      (x: number, y: number) => x / y,
    ];
    for (const [i, of] of wanted.entries())
      expect([...found[i]!]).toEqual(a.map((x, j) => oracle.nearest(dtype, of(x, b[j]!))));
  });
});
