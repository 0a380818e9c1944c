import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { permutation, random } from "../../runtime/random.ts";

const draw = (seed: number, stream: number, count: number): readonly number[] => {
  const source = random(seed, stream);
  return Array.from({ length: count }, () => source.uint32());
};

// The generator as its authors print it, in integers of any length.
function reference(state: readonly bigint[], count: number): readonly number[] {
  const mask = 0xffffffffn;
  const rotate = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask;
  let [a, b, c, d] = state as [bigint, bigint, bigint, bigint];
  return Array.from({ length: count }, () => {
    const result = (rotate((b * 5n) & mask, 7n) * 9n) & mask;
    const t = (b << 9n) & mask;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11n);
    return Number(result);
  });
}

// The state after seeding, by SplitMix in integers of any length.
function seeded(seeds: readonly bigint[]): readonly bigint[] {
  const mask = 0xffffffffn;
  let state = 0n;
  const next = (): bigint => {
    state = (state + 0x9e3779b9n) & mask;
    let z = ((state ^ (state >> 16n)) * 0x85ebca6bn) & mask;
    z = ((z ^ (z >> 13n)) * 0xc2b2ae35n) & mask;
    return z ^ (z >> 16n);
  };
  for (const seed of seeds) state = next() ^ (seed & mask);
  return [next(), next(), next(), next()];
}

test("the stream is xoshiro128** seeded by SplitMix, for any seed and stream", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.maxSafeNat(), (seed, stream) => {
      const [s, t] = [BigInt(seed), BigInt(stream)];
      expect(draw(seed, stream, 20)).toEqual(reference(seeded([s, s >> 32n, t, t >> 32n]), 20));
    }),
  );
});

test("seeds and streams differ, and the same pair repeats", () => {
  const all = [draw(0, 0, 4), draw(1, 0, 4), draw(0, 1, 4), draw(2 ** 32, 0, 4), draw(-1, 0, 4)];
  expect(new Set(all.map(String)).size).toBe(5);
  expect(draw(7, 3, 10)).toEqual(draw(7, 3, 10));
});

test("uniform and normal samples have the moments they should", () => {
  const source = random(1);
  const count = 100_000;
  const uniform = Array.from({ length: count }, () => source.uniform());
  const normal = Array.from({ length: count }, () => source.normal());
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / count;
  expect(Math.min(...uniform.slice(0, 1000))).toBeGreaterThanOrEqual(0);
  expect(mean(uniform)).toBeCloseTo(0.5, 2);
  expect(mean(uniform.map((x) => x * x))).toBeCloseTo(1 / 3, 2);
  expect(Math.abs(mean(normal))).toBeLessThan(0.015);
  expect(mean(normal.map((x) => x * x))).toBeCloseTo(1, 1);
  expect(mean(normal.map((x) => x ** 4))).toBeCloseTo(3, 0);
});

test("a permutation holds every number once, and each place is equally likely", () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = [...permutation(3, random(5, i))];
    expect(order.toSorted()).toEqual([0, 1, 2]);
    counts.set(String(order), (counts.get(String(order)) ?? 0) + 1);
  }
  expect(counts.size).toBe(6);
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  expect(permutation(0, random(1)).length).toBe(0);
});
