// Attention, its cache and its positions, against oracles in double precision.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { range } from "../../compiler/ir/shape.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { randomFrom, shuffled, within } from "../support/random.ts";
import { areFinite, distance, runModule } from "../support/run.ts";
import { dataOf, engine, gradientsOf, moduleOf, seeds, size } from "./meaning.ts";
import * as oracle from "./oracles.ts";

describe("attention", () => {
  const build = ({ b, s, t, h, kv, d, dv }: oracle.AttentionSizes, scale: number, causal: boolean) =>
    moduleOf(
      `param %q: f32[b=${b}, s=${s}, h=${h}, d=${d}], param %k: f32[b=${b}, t=${t}, kv=${kv}, d=${d}], param %v: f32[b=${b}, t=${t}, kv=${kv}, dv=${dv}]`,
      `%o = attention(%q, %k, %v) {scale=${scale}, causal=${causal}} : f32[b=${b}, s=${s}, h=${h}, dv=${dv}]`,
      "%o",
    );

  test("is softmax of scaled scores over the keys of the query's group", () => {
    fc.assert(
      fc.property(
        size(2),
        size(7),
        fc.integer({ min: 0, max: 4 }),
        size(3),
        size(3),
        size(5),
        size(5),
        fc.boolean(),
        seeds,
        (b, s, more, kv, ratio, d, dv, causal, seed) => {
          const sizes = { b, s, t: s + more, h: kv * ratio, kv, d, dv };
          const module = build(sizes, 0.6, causal);
          const [q, k, v] = dataOf(module, seed, { q: within(-3, 3), k: within(-3, 3) }) as [
            HostArray,
            HostArray,
            HostArray,
          ];
          const [found] = runModule(engine, module, [q, k, v]);
          expect(distance(found!, oracle.attention(q, k, v, sizes, 0.6, causal))).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a causal query's output does not depend on later keys", () => {
    const module = build({ b: 1, s: 5, t: 5, h: 2, kv: 1, d: 3, dv: 2 }, 1, true);
    const [q, k, v] = dataOf(module, 3) as [HostArray, HostArray, HostArray];
    const changed = [k, v].map((x) => x.map((n, i) => (i >= (3 * x.length) / 5 ? n + 5 : n)) as HostArray);
    const [before, after] = [
      runModule(engine, module, [q, k, v])[0]!,
      runModule(engine, module, [q, ...changed])[0]!,
    ];
    expect(after.slice(0, 3 * 4)).toEqual(before.slice(0, 3 * 4));
    expect(distance(after.slice(3 * 4), before.slice(3 * 4))).toBeGreaterThan(1e-3);
  });

  test("stays finite at scores of ±1e4, values and gradients", () => {
    const module = build({ b: 1, s: 4, t: 4, h: 1, kv: 1, d: 2, dv: 2 }, 1, true);
    const ins = dataOf(module, 4, { q: within(-100, 100), k: within(-100, 100) });
    for (const x of [...runModule(engine, module, ins), ...gradientsOf(module, ins)])
      expect(areFinite(x)).toBe(true);
  });
});

test("cached_attention is attention over the rows up to each query's own", () => {
  fc.assert(
    fc.property(
      fc.record({ b: size(2), s: size(5), t: size(9), kv: size(3), ratio: size(3), d: size(5), dv: size(5) }),
      seeds,
      ({ b, s, t, kv, ratio, d, dv }, seed) => {
        const h = kv * ratio;
        const module = moduleOf(
          `param %q: f32[b=${b}, s=${s}, h=${h}, d=${d}], param %k: f32[b=${b}, t=${t}, kv=${kv}, d=${d}], param %v: f32[b=${b}, t=${t}, kv=${kv}, dv=${dv}], input %at: i32[b=${b}, s=${s}]`,
          `%o = cached_attention(%q, %k, %v, %at) {scale=0.6} : f32[b=${b}, s=${s}, h=${h}, dv=${dv}]`,
          "%o",
        );
        const ins = dataOf(module, seed, { q: within(-3, 3), k: within(-3, 3), at: within(0, t - 1) });
        const [q, k, v, positions] = ins as [HostArray, HostArray, HostArray, HostArray];
        const wanted = range(b * s).flatMap((query) => {
          const seen = positions[query]! + 1;
          const start = Math.floor(query / s) * t * kv;
          const own = [
            q.slice(query * h * d, (query + 1) * h * d),
            k.slice(start * d, (start + seen * kv) * d),
            v.slice(start * dv, (start + seen * kv) * dv),
          ] as const;
          return [...oracle.attention(...own, { b: 1, s: 1, t: seen, h, kv, d, dv }, 0.6, false)];
        });
        expect(distance(runModule(engine, module, ins)[0]!, wanted)).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 60 },
  );
});

test("update_rows writes the rows that count where they belong, and nothing else", () => {
  fc.assert(
    fc.property(size(3), size(6), size(6), size(3), seeds, (b, t, s, c, seed) => {
      const module = moduleOf(
        `param %x: f32[b=${b}, t=${t}, c=${c}], param %fresh: f32[b=${b}, s=${s}, c=${c}], input %at: i32[b=${b}, s=${s}], input %lengths: i32[b=${b}]`,
        `%y = update_rows(%x, %fresh, %at, %lengths) : f32[b=${b}, t=${t}, c=${c}]`,
        "%y",
      );
      const [x, fresh, , lengths] = dataOf(module, seed, { lengths: within(0, s) }) as HostArray[];
      const random = randomFrom(seed);
      // Some before the first row, some after the last.
      const places = range(b).map(() =>
        shuffled(
          range(t + s).map((i) => i - 2),
          random,
        ).slice(0, s),
      );
      const wanted = Float32Array.from(x!);
      places.forEach((own, row) => {
        own.slice(0, lengths![row]).forEach((place, i) => {
          if (place < 0 || place >= t) return;
          for (let j = 0; j < c; j++) wanted[(row * t + place) * c + j] = fresh![(row * s + i) * c + j]!;
        });
      });
      const ins = [x!, fresh!, Int32Array.from(places.flat()), lengths!];
      expect(runModule(engine, module, ins)[0]).toEqual(wanted);
    }),
    { numRuns: 60 },
  );
});

test("rotary_embedding turns pairs of halves by position, and leaves the rest", () => {
  fc.assert(
    fc.property(
      size(2),
      size(5),
      size(3),
      size(4),
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom(100, 10000, 1e7),
      seeds,
      (b, s, h, half, rest, theta, seed) => {
        const d = 2 * half + rest;
        const dims = `b=${b}, s=${s}, h=${h}, d=${d}`;
        const module = moduleOf(
          `param %x: f32[${dims}], input %p: i32[b=${b}, s=${s}]`,
          `%y = rotary_embedding(%x, %p) {theta=${theta}, rotary_dim=${2 * half}} : f32[${dims}]`,
          "%y",
        );
        const [x, p] = dataOf(module, seed, { p: within(0, 300) }) as [HostArray, HostArray];
        const [found] = runModule(engine, module, [x, p]);
        // Angles are formed in f32: 300 radians carry an error of about 3e-5.
        expect(distance(found!, oracle.rotary(x, p, [b, s, h, d], theta, 2 * half))).toBeLessThan(1e-4);
      },
    ),
    { numRuns: 40 },
  );
});
