// The gated delta rule and the convolution before it, against oracles in double precision.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { Module } from "../../compiler/ir/types.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { within } from "../support/random.ts";
import { areFinite, distance, runModule } from "../support/run.ts";
import { dataOf, engine, gradientsOf, moduleOf, seeds, size } from "./meaning.ts";
import * as oracle from "./oracles.ts";

test("causal_conv1d looks back, never ahead", () => {
  fc.assert(
    fc.property(size(2), size(9), size(4), size(5), seeds, (b, t, c, width, seed) => {
      const module = moduleOf(
        `param %x: f32[b=${b}, t=${t}, c=${c}], param %w: f32[width=${width}, c=${c}]`,
        `%y = causal_conv1d(%x, %w) : f32[b=${b}, t=${t}, c=${c}]`,
        "%y",
      );
      const [x, w] = dataOf(module, seed) as [HostArray, HostArray];
      expect(
        distance(runModule(engine, module, [x, w])[0]!, oracle.causalConv(x, w, [b, t, c], width)),
      ).toBeLessThan(1e-5);
    }),
    { numRuns: 40 },
  );
});

describe("gated_delta_rule", () => {
  const build = ({ b, t, hk, hv, dk, dv }: oracle.DeltaSizes, chunk: number) => {
    const [keys, values, gates, state] = [
      `b=${b}, t=${t}, hk=${hk}, dk=${dk}`,
      `b=${b}, t=${t}, hv=${hv}, dv=${dv}`,
      `b=${b}, t=${t}, hv=${hv}`,
      `b=${b}, hv=${hv}, dk=${dk}, dv=${dv}`,
    ];
    return moduleOf(
      `param %q: f32[${keys}], param %k: f32[${keys}], param %v: f32[${values}], param %g: f32[${gates}], param %beta: f32[${gates}], param %state: f32[${state}]`,
      `%o, %s = gated_delta_rule(%q, %k, %v, %g, %beta, %state) {chunk_size=${chunk}} : f32[${values}], f32[${state}]`,
      "%o, %s",
    );
  };
  /** Operands as the model makes them: keys of length one (the rule is stable), rates in (0, 1), decays below zero. */
  const operands = (module: Module, seed: number, lowest = -2): HostArray[] => {
    const ins = dataOf(module, seed, { g: within(lowest, -1e-3), beta: within(0.02, 0.98) });
    const dk = module.body.params[0]!.type.dims[3]!.size;
    return ins.map((x, i) => (i < 2 ? unitRows(x, dk) : x));
  };
  const unitRows = (x: HostArray, width: number): HostArray =>
    x.map((n, i) => {
      const row = [...x.slice(i - (i % width), i - (i % width) + width)];
      return n / Math.sqrt(row.reduce((sum, m) => sum + m * m, 0) + 1e-6);
    }) as HostArray;
  const inputsOf = ([q, k, v, g, beta, state]: readonly HostArray[]): oracle.DeltaInputs => ({
    q: q!,
    k: k!,
    v: v!,
    g: g!,
    beta: beta!,
    state: state!,
  });

  const arbitrarySizes = fc
    .record({
      b: size(2),
      t: fc.oneof(size(12), size(150), fc.constantFrom(63, 64, 65, 128)),
      hk: size(2),
      ratio: size(3),
      dk: size(6),
      dv: size(6),
    })
    .map(({ ratio, ...sizes }) => ({ ...sizes, hv: sizes.hk * ratio }));

  test("is the recurrence, token by token and in chunks of any size, from any state", () => {
    fc.assert(
      fc.property(arbitrarySizes, fc.constantFrom(0, 1, 2, 5, 16, 64, 200), seeds, (sizes, chunk, seed) => {
        const module = build(sizes, chunk);
        const ins = operands(module, seed);
        const [o, state] = runModule(engine, module, ins);
        const wanted = oracle.gatedDeltaRule(inputsOf(ins), sizes);
        expect(distance(o!, wanted.o, 1e-2)).toBeLessThan(2e-5);
        expect(distance(state!, wanted.state, 1e-2)).toBeLessThan(2e-5);
      }),
      { numRuns: 50 },
    );
  });

  test("in chunks has the gradients of the recurrence", () => {
    fc.assert(
      fc.property(arbitrarySizes, fc.constantFrom(1, 3, 16, 64), seeds, (sizes, chunk, seed) => {
        const short = { ...sizes, t: Math.min(sizes.t, 70) };
        const [chunked, recurrent] = [build(short, chunk), build(short, 0)];
        const ins = operands(recurrent, seed);
        const [found, wanted] = [gradientsOf(chunked, ins), gradientsOf(recurrent, ins)];
        for (const [i, x] of wanted.entries()) expect(distance(found[i]!, x, 1e-2)).toBeLessThan(5e-5);
      }),
      { numRuns: 15 },
    );
  });

  // What fresh weights make of most heads: a token is a millionth of what it was when the next one has passed.
  test("in chunks has the gradient of decays so strong that next to nothing is left", () => {
    const sizes = { b: 1, t: 70, hk: 1, hv: 2, dk: 5, dv: 4 };
    const [chunked, recurrent] = [build(sizes, 64), build(sizes, 0)];
    const ins = operands(recurrent, 3).map((x, i) => (i === 3 ? x.map((g) => g - 12) : x));
    const [found, wanted] = [gradientsOf(chunked, ins), gradientsOf(recurrent, ins)];
    expect(distance(found[3]!, wanted[3]!, 0)).toBeLessThan(1e-4);
  });

  test("split anywhere, the state carries on as if it were whole", () => {
    const [t, cut] = [23, 9];
    const sizes = { b: 1, t, hk: 1, hv: 2, dk: 3, dv: 2 };
    const whole = build(sizes, 4);
    const ins = operands(whole, 11);
    const part = (x: HostArray, from: number, to: number) =>
      x.slice((from * x.length) / t, (to * x.length) / t);
    const [state, streams] = [ins[5]!, ins.slice(0, 5)];
    const first = runModule(engine, build({ ...sizes, t: cut }, 4), [
      ...streams.map((x) => part(x, 0, cut)),
      state,
    ]);
    const second = runModule(engine, build({ ...sizes, t: t - cut }, 0), [
      ...streams.map((x) => part(x, cut, t)),
      first[1]!,
    ]);
    const [o, last] = runModule(engine, whole, ins);
    expect(distance([...first[0]!, ...second[0]!], o!)).toBeLessThan(1e-5);
    expect(distance(second[1]!, last!)).toBeLessThan(1e-5);
  });

  test.each([0, 16, 64])(
    "with g near -50 values and gradients are finite and right (chunks of %i)",
    (chunk) => {
      const sizes = { b: 1, t: 70, hk: 1, hv: 2, dk: 4, dv: 3 };
      const module = build(sizes, chunk);
      const ins = operands(module, 5).map((x, i) =>
        i === 3 ? x.map((_, j) => (j % 3 === 0 ? -50 : -0.01)) : x,
      ) as HostArray[];
      const [o, state] = runModule(engine, module, ins);
      const wanted = oracle.gatedDeltaRule(inputsOf(ins), sizes);
      expect(distance(o!, wanted.o)).toBeLessThan(1e-5);
      expect(distance(state!, wanted.state)).toBeLessThan(1e-5);
      const gradients = gradientsOf(module, ins);
      for (const x of gradients) expect(areFinite(x)).toBe(true);
      const recurrent = gradientsOf(build(sizes, 0), ins);
      for (const [i, x] of recurrent.entries()) expect(distance(gradients[i]!, x, 1e-2)).toBeLessThan(5e-5);
    },
  );
});
