// Which tokens a way of choosing gives, and how often.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { greedy, openSampler, type Sampling } from "../../runtime/decode/sampling.ts";
import { random } from "../../runtime/random.ts";

const weighted: Sampling = { ...greedy, strategy: "weighted" };
const logitsOf = (numbers: readonly number[]) => Float32Array.from(numbers);
/** Logits on a grid, so that equals are common. */
const logits = fc
  .array(fc.integer({ min: -12, max: 12 }), { minLength: 1, maxLength: 40 })
  .map((xs) => logitsOf(xs.map((x) => x / 4)));
const seeds = fc.integer({ min: 0, max: 2 ** 40 });

const draws = (sampling: Sampling, from: Float32Array, count: number, seed = 1, isAllowed?: Uint8Array) => {
  const sampler = openSampler(sampling, random(seed), isAllowed);
  return Array.from({ length: count }, () => sampler(from));
};

/** Indices from the likeliest, the lower first among equals. */
const ranked = (xs: Float32Array): number[] => [...xs.keys()].sort((i, j) => xs[j]! - xs[i]! || i - j);
const probabilities = (xs: Float32Array, temperature = 1): number[] => {
  const weights = [...xs].map((x) => Math.exp((x - Math.max(...xs)) / temperature));
  const total = weights.reduce((sum, x) => sum + x, 0);
  return weights.map((x) => x / total);
};

/** The ids that a set of draws has, and the share of each. */
const sharesOf = (ids: readonly number[], size: number): number[] =>
  Array.from({ length: size }, (_, id) => ids.filter((each) => each === id).length / ids.length);

test("greedy gives the largest, the first among equals, and never asks for a random number", () => {
  fc.assert(
    fc.property(logits, seeds, (xs, seed) => {
      expect(draws(greedy, xs, 1, seed)).toEqual([ranked(xs)[0]]);
    }),
  );
});

test("temperature zero is greedy, whatever the strategy", () => {
  fc.assert(
    fc.property(
      logits,
      seeds,
      fc.constantFrom("weighted", "topk", "nucleus", "composite"),
      (xs, seed, strategy) => {
        const sampling = { strategy, nucleusP: 0.7, topK: 3, temperature: 0 } as const;
        expect(draws(sampling, xs, 1, seed)).toEqual([ranked(xs)[0]]);
      },
    ),
  );
});

test("topk gives only the k best, the lower ids first among equals", () => {
  fc.assert(
    fc.property(logits, fc.integer({ min: 1, max: 45 }), seeds, (xs, topK, seed) => {
      const best = new Set(ranked(xs).slice(0, topK));
      const sampling = { ...weighted, strategy: "topk", topK, temperature: 100 } as const;
      for (const id of draws(sampling, xs, 20, seed)) expect(best.has(id)).toBe(true);
    }),
  );
});

/** MaxText: as many of the sorted as have a running sum below p, the next one, and its equals. */
function nucleusOf(xs: Float32Array, ids: readonly number[], p: number): Set<number> {
  const order = ids.toSorted((i, j) => xs[j]! - xs[i]! || i - j);
  const own = probabilities(Float32Array.from(order, (id) => xs[id]!));
  const sums = own.map((_, i) => own.slice(0, i + 1).reduce((sum, each) => sum + each, 0));
  const below = sums.filter((sum) => sum < p - 1e-9).length;
  const least = xs[order[Math.min(below, order.length - 1)]!]!;
  return new Set(order.filter((id) => xs[id]! >= least));
}

const share = fc.integer({ min: 0, max: 99 }).map((n) => (n + 0.5) / 100);

test("nucleus gives only the likeliest that reach p, sorted out without the temperature", () => {
  fc.assert(
    fc.property(logits, share, seeds, (xs, nucleusP, seed) => {
      const kept = nucleusOf(xs, [...xs.keys()], nucleusP);
      const sampling = { ...weighted, strategy: "nucleus", nucleusP, temperature: 50 } as const;
      for (const id of draws(sampling, xs, 20, seed)) expect(kept.has(id)).toBe(true);
    }),
  );
});

test("composite is nucleus within topk", () => {
  fc.assert(
    fc.property(logits, share, fc.integer({ min: 1, max: 12 }), seeds, (xs, nucleusP, topK, seed) => {
      const kept = nucleusOf(xs, ranked(xs).slice(0, topK), nucleusP);
      const sampling = { strategy: "composite", nucleusP, topK, temperature: 50 } as const;
      for (const id of draws(sampling, xs, 20, seed)) expect(kept.has(id)).toBe(true);
    }),
  );
});

describe("how often", () => {
  const xs = logitsOf([1, 0, -0.5, 2, 2]);
  const COUNT = 20_000;
  /** Far outside of chance: more than five standard deviations. */
  const expectShares = (sampling: Sampling, wanted: readonly number[]) => {
    const found = sharesOf(draws(sampling, xs, COUNT), xs.length);
    found.forEach((each, id) => {
      const deviation = Math.sqrt((wanted[id]! * (1 - wanted[id]!)) / COUNT);
      expect([id, Math.abs(each - wanted[id]!) <= 5 * deviation]).toEqual([id, true]);
    });
  };

  test.each([0.5, 1, 3])(
    "weighted gives each as often as its probability at temperature %d",
    (temperature) => {
      expectShares({ ...weighted, temperature }, probabilities(xs, temperature));
    },
  );

  test("topk and nucleus share the probability among what is left", () => {
    const [, , , a] = probabilities(logitsOf([1, -99, -99, 2, 2]));
    const left = [1 - 2 * a!, 0, 0, a!, a!];
    expectShares({ ...weighted, strategy: "topk", topK: 3 }, left);
    expectShares({ ...weighted, strategy: "nucleus", nucleusP: 0.8 }, left);
    expectShares({ ...weighted, strategy: "composite", topK: 4, nucleusP: 0.85 }, left);
  });
});

test("what is not allowed is never given, also beyond what is marked", () => {
  fc.assert(
    fc.property(logits, fc.infiniteStream(fc.boolean()), seeds, (xs, marks, seed) => {
      const isAllowed = Uint8Array.from([...marks.take(Math.ceil(xs.length * 0.8))], Number);
      const size = isAllowed.length;
      isAllowed[seed % size] = 1;
      for (const strategy of ["greedy", "weighted", "topk", "nucleus", "composite"] as const) {
        const sampling = { strategy, nucleusP: 0.9, topK: 4, temperature: 5 };
        for (const id of draws(sampling, xs, 5, seed, isAllowed)) expect(isAllowed[id]).toBe(1);
      }
    }),
  );
});

test("the same seed gives the same tokens, another one others", () => {
  const xs = logitsOf(Array.from({ length: 50 }, (_, i) => Math.sin(i)));
  const [first, again, other] = [7, 7, 8].map((seed) => draws(weighted, xs, 30, seed));
  expect(again).toEqual(first);
  expect(other).not.toEqual(first);
});

test.each([
  ["nan", [0, Number.NaN]],
  ["infinity", [0, Number.POSITIVE_INFINITY]],
  ["nothing", [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]],
])("logits with %s are refused", (_name, xs) => {
  expect(() => draws(weighted, logitsOf(xs), 1)).toThrow("not finite");
});
