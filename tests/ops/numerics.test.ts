// Norms, losses, products, sums and the optimizer, against oracles in double precision: right, and finite at the extremes.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { elements, range } from "../../compiler/ir/shape.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { randomData, randomFrom, within } from "../support/random.ts";
import { areFinite, distance, runModule } from "../support/run.ts";
import { dataOf, engine, gradientsOf, moduleOf, seeds, size } from "./meaning.ts";
import * as oracle from "./oracles.ts";

test("rms_norm divides by the root mean square and scales by offset + weight", () => {
  fc.assert(
    fc.property(
      size(4),
      size(9),
      fc.constantFrom(0, 1),
      fc.constantFrom(1e-6, 1e-2),
      seeds,
      (rows, width, offset, eps, seed) => {
        const module = moduleOf(
          `param %x: f32[r=${rows}, n=${width}], param %w: f32[n=${width}]`,
          `%y = rms_norm(%x, %w) {eps=${eps}, offset=${offset}} : f32[r=${rows}, n=${width}]`,
          "%y",
        );
        const [x, w] = dataOf(module, seed, { x: within(-30, 30) }) as [HostArray, HostArray];
        expect(
          distance(runModule(engine, module, [x, w])[0]!, oracle.rmsNorm(x, w, width, eps, offset)),
        ).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 40 },
  );
});

test("l2_norm at zero is zero with the gradient dy / sqrt(eps)", () => {
  const module = moduleOf("param %x: f32[r=2, n=3]", "%y = l2_norm(%x) {eps=1e-6} : f32[r=2, n=3]", "%y");
  const x = new Float32Array(6);
  expect([...runModule(engine, module, [x])[0]!]).toEqual([0, 0, 0, 0, 0, 0]);
  const [gradient] = gradientsOf(module, [x], 1);
  const random = randomFrom(1);
  const weights = randomData(module.body.results[0]!.type, random);
  expect(
    distance(
      gradient!,
      [...weights].map((w) => w * 1e3),
    ),
  ).toBeLessThan(1e-5);
});

describe("softmax", () => {
  test("of extreme rows is finite, sums to one, and picks the largest", () => {
    const module = moduleOf("param %x: f32[r=5, n=3]", "%y = softmax(%x) : f32[r=5, n=3]", "%y");
    const x = Float32Array.from([
      1e4, -1e4, 0, -1e30, -1e30, -1e30, 3e38, 3e38, -3e38, 88, 89, 90, -1e30, 5, 5,
    ]);
    const [y] = runModule(engine, module, [x]);
    const e = [Math.exp(-2), Math.exp(-1), 1].map((w, _, all) => w / all.reduce((sum, v) => sum + v, 0));
    expect(distance(y!, [1, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 0, ...e, 0, 0.5, 0.5])).toBeLessThan(1e-6);
    for (const gradient of gradientsOf(module, [x])) expect(areFinite(gradient)).toBe(true);
  });
});

describe("cross_entropy", () => {
  const build = (rows: number, classes: number, z: number) =>
    moduleOf(
      `param %x: f32[r=${rows}, v=${classes}], input %t: i32[r=${rows}]`,
      `%y = cross_entropy(%x, %t) {z_loss=${z}} : f32[r=${rows}]`,
      "%y",
    );

  test("is logsumexp minus the target's logit, plus z_loss times logsumexp squared", () => {
    fc.assert(
      fc.property(
        size(5),
        size(9),
        fc.constantFrom(0, 1e-4, 0.3),
        fc.constantFrom(1, 30),
        seeds,
        (rows, classes, z, spread, seed) => {
          const module = build(rows, classes, z);
          const [x, t] = dataOf(module, seed, { x: within(-spread, spread), t: within(0, classes - 1) }) as [
            HostArray,
            HostArray,
          ];
          expect(
            distance(runModule(engine, module, [x, t])[0]!, oracle.crossEntropy(x, t, classes, z), 1),
          ).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each([0, 1e-4])("at logits of ±1e4 stays finite, and right (z_loss %d)", (z) => {
    const module = build(4, 3, z);
    const logits = Float32Array.from([1e4, -1e4, 0, -1e4, -1e4, -1e4, 1e4, 1e4, 1e4, 1e4, 9999, -1e4]);
    const targets = Int32Array.from([1, 2, 0, 1]);
    const [loss] = runModule(engine, module, [logits, targets]);
    expect(distance(loss!, oracle.crossEntropy(logits, targets, 3, z))).toBeLessThan(1e-5);
    for (const x of gradientsOf(module, [logits, targets])) expect(areFinite(x)).toBe(true);
  });
});

test("log_plus_one and softplus keep their small values", () => {
  const module = moduleOf(
    "param %x: f32[n=3]",
    "%y = log_plus_one(%x) : f32[n=3]\n  %s = softplus(%x) : f32[n=3]",
    "%y, %s",
  );
  const x = Float32Array.of(1e-10, -1e-8, 1e-4);
  const [y] = runModule(engine, module, [x]);
  for (const [i, n] of [...x].entries()) expect(Math.abs(y![i]! / Math.log1p(n) - 1)).toBeLessThan(1e-6);
  const [, low] = runModule(engine, module, [Float32Array.of(-40, -80, 90)]);
  for (const [i, n] of [-40, -80, 90].entries())
    expect(Math.abs(low![i]! / Math.log1p(Math.exp(n)) - 1)).toBeLessThan(1e-6);
});

test("sums are formed in double precision", () => {
  const count = 100_000;
  const module = moduleOf(`param %x: f32[n=${count}]`, "%y = reduce_sum(%x) {axes=[0]} : f32[]", "%y");
  const x = new Float32Array(elements(module.body.params[0]!.type)).fill(0.1);
  expect(Math.abs(runModule(engine, module, [x])[0]![0]! / (count * Math.fround(0.1)) - 1)).toBeLessThan(
    1e-7,
  );
});

test("a row of a product is the same to the bit, however many rows are beside it", () => {
  fc.assert(
    fc.property(size(20), size(12), size(40), fc.boolean(), seeds, (m, k, n, isTied, seed) => {
      const b = isTied ? `n=${n}, k=${k}` : `k=${k}, n=${n}`;
      const build = (rows: number) =>
        moduleOf(
          `param %a: f32[m=${rows}, k=${k}], param %b: f32[${b}]`,
          `%y = dot_general(%a, %b) {lhs_contracting=[1], rhs_contracting=[${isTied ? 1 : 0}], lhs_batch=[], rhs_batch=[]} : f32[m=${rows}, n=${n}]`,
          "%y",
        );
      const [a, weights] = dataOf(build(m), seed) as [HostArray, HostArray];
      const [whole] = runModule(engine, build(m), [a, weights]);
      for (const row of range(m)) {
        const own = [a.slice(row * k, (row + 1) * k), weights];
        expect(runModule(engine, build(1), own)[0]).toEqual(whole!.slice(row * n, (row + 1) * n));
      }
    }),
    { numRuns: 40 },
  );
});

test("dot_general may read one operand as two different matrices", () => {
  const module = moduleOf(
    "param %a: f32[m=5], param %b: f32[n=7], param %c: f32[m=5, n=7]",
    `%outer = dot_general(%a, %b) {lhs_contracting=[], rhs_contracting=[], lhs_batch=[], rhs_batch=[]} : f32[m=5, n=7]
  %inner = dot_general(%c, %b) {lhs_contracting=[1], rhs_contracting=[0], lhs_batch=[], rhs_batch=[]} : f32[m=5]`,
    "%outer, %inner",
  );
  for (const seed of range(20)) {
    const [a, b, c] = dataOf(module, seed) as [HostArray, HostArray, HostArray];
    const [outer, inner] = runModule(engine, module, [a, b, c]);
    expect(
      distance(
        outer!,
        range(35).map((i) => a[Math.floor(i / 7)]! * b[i % 7]!),
      ),
    ).toBeLessThan(1e-6);
    expect(
      distance(
        inner!,
        range(5).map((i) => range(7).reduce((sum, j) => sum + c[i * 7 + j]! * b[j]!, 0)),
      ),
    ).toBeLessThan(1e-5);
  }
});

test("adamw is optax's formula over several steps", () => {
  const scalars = "f32[]";
  const module = moduleOf(
    `param %p: f32[n=6], param %g: f32[n=6], param %mu: f32[n=6], param %nu: f32[n=6], param %rate: ${scalars}, param %b1t: ${scalars}, param %b2t: ${scalars}`,
    "%p2, %mu2, %nu2 = adamw(%p, %g, %mu, %nu, %rate, %b1t, %b2t) {b1=0.9, b2=0.95, eps=1e-8, eps_root=1e-6, weight_decay=0.1} : f32[n=6], f32[n=6], f32[n=6]",
    "%p2, %mu2, %nu2",
  );
  const random = randomFrom(9);
  let state = [
    Float32Array.from(range(6), () => random() - 0.5),
    new Float32Array(6),
    new Float32Array(6),
  ] as HostArray[];
  let wanted = range(6).map((i): readonly [number, number, number] => [state[0]![i]!, 0, 0]);
  for (const step of [1, 2, 3, 4, 5]) {
    const [rate, grad] = [
      0.01 * step,
      Float32Array.from(range(6), (i) => (i === 0 ? 0 : (random() - 0.5) * 10 ** (i - 3))),
    ];
    const [p, mu, nu] = state as [HostArray, HostArray, HostArray];
    state = runModule(engine, module, [
      p,
      grad,
      mu,
      nu,
      ...[rate, 0.9 ** step, 0.95 ** step].map((x) => Float32Array.of(x)),
    ]);
    wanted = wanted.map(([p0, mu0, nu0], i) =>
      oracle.adamw(p0, grad[i]!, mu0, nu0, {
        b1: 0.9,
        b2: 0.95,
        eps: 1e-8,
        epsRoot: 1e-6,
        decay: 0.1,
        rate,
        step,
      }),
    );
    for (const [i, x] of state.entries())
      expect(
        distance(
          x,
          wanted.map((each) => each[i]!),
        ),
      ).toBeLessThan(2e-6);
  }
});
