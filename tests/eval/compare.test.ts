import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { type CompareOptions, compareLogits, topCandidates } from "../../runtime/eval/compare.ts";
import { type Row, table } from "./support.ts";

// Fixed-point arithmetic of 160 bits, apart from the code under test in all but the definition of KL.
const BITS = 160n;
const ONE = 1n << BITS;
const fixed = (x: number): bigint => BigInt(x * 2 ** 60) << (BITS - 60n);
const times = (x: bigint, y: bigint): bigint => (x * y) >> BITS;
const over = (x: bigint, y: bigint): bigint => (x << BITS) / y;
const toNumber = (x: bigint): number => Number(x >> (BITS - 100n)) / 2 ** 100;
const sum = (xs: readonly bigint[]): bigint => xs.reduce((x, y) => x + y, 0n);

function exp(x: bigint): bigint {
  let term = ONE;
  let result = ONE;
  for (let i = 1n; i < 20n; i++) {
    term = times(term, x >> 12n) / i;
    result += term;
  }
  for (let i = 0; i < 12; i++) result = times(result, result);
  return result;
}

function log(x: bigint): bigint {
  let y = BigInt(Math.round(Math.log(toNumber(x)) * 2 ** 40)) << (BITS - 40n);
  for (let i = 0; i < 5; i++) {
    const e = exp(y);
    y += 2n * over(x - e, x + e);
  }
  return y;
}

function probabilities(row: Row, floor: number | undefined): readonly bigint[] {
  const powers = row.map((x) => exp(fixed(x)));
  const share = (xs: readonly bigint[]): readonly bigint[] => xs.map((x) => over(x, sum(xs)));
  const plain = share(powers);
  if (floor === undefined) return plain;
  const least = fixed(floor);
  return share(plain.map((p) => [p, least][Number(p < least)]!));
}

function exactKl(golden: Row, model: Row, floor?: number): number {
  const [p, q] = [probabilities(golden, floor), probabilities(model, floor)];
  return toNumber(sum(p.map((each, i) => times(each, log(each) - log(q[i]!)))));
}

// Exact in float32 and in fixed point.
const logit = fc.integer({ min: -12 * 2 ** 12, max: 12 * 2 ** 12 }).map((n) => n / 2 ** 12);
const rowPair = fc
  .integer({ min: 1, max: 9 })
  .chain((vocab) => fc.tuple(...[0, 1].map(() => fc.array(logit, { minLength: vocab, maxLength: vocab }))));

const compare = (model: readonly Row[], golden: readonly Row[], options: Partial<CompareOptions> = {}) =>
  compareLogits(table(model), table(golden), { rtol: 1e-5, ...options });

test("KL agrees with fixed-point arithmetic of 160 bits, clipped or not", () => {
  const floor = fc.constantFrom(undefined, 2 ** -10, 2 ** -5);
  fc.assert(
    fc.property(rowPair, floor, ([golden, model], clipLogitsEpsilon) => {
      const { kl } = compare([model!], [golden!], { clipLogitsEpsilon });
      // Logarithms up to 24 err by some 5e-15 in float64, and so do probabilities, relatively; 24 * 5e-15 and a margin.
      expect(Math.abs(kl[0]! - exactKl(golden!, model!, clipLogitsEpsilon))).toBeLessThan(2e-13);
    }),
    { numRuns: 60 },
  );
});

test("KL is taken from golden to model, never negative, and zero for equals and for shifted logits", () => {
  const [a, b] = [
    [0, 1, 2],
    [3, 0, 0],
  ];
  expect(compare([b!], [a!]).kl[0]).toBeCloseTo(exactKl(a!, b!), 14);
  expect(compare([a!], [b!]).kl[0]).toBeCloseTo(exactKl(b!, a!), 14);
  expect(exactKl(a!, b!)).not.toBeCloseTo(exactKl(b!, a!), 2);
  expect(compare([a!], [a!]).kl).toEqual([0]);
  expect(compare([a!.map((x) => x + 4)], [a!]).kl[0]).toBeCloseTo(0, 15);
  fc.assert(
    fc.property(rowPair, ([x, y]) => compare([x!], [y!]).kl[0]! >= 0),
    { numRuns: 100 },
  );
});

test("logits far apart overflow nothing", () => {
  const { kl } = compare([[3e38, -3e38, 0]], [[-3e38, 3e38, 0]]);
  expect(kl[0]! / 6e38).toBeCloseTo(1, 6);
  expect(compare([[1000, 0]], [[1000, 0]]).kl).toEqual([0]);
});

test("the tolerance is |model - golden| <= atol + rtol * |golden|, the golden side only", () => {
  const mismatches = (model: number, golden: number, atol: number, rtol: number) =>
    compare([[model]], [[golden]], { atol, rtol }).tolerance?.mismatches;
  expect(mismatches(1.5, 1, 0.5, 0)).toBe(0);
  expect(mismatches(1.5, 1, 0.49, 0)).toBe(1);
  expect(mismatches(1.5, 1, 0, 0.5)).toBe(0);
  // Held against the larger model logit, a third would do.
  expect(mismatches(1.5, 1, 0, 0.4)).toBe(1);
  expect(mismatches(1, 1.5, 0, 0.4)).toBe(0);
  expect(mismatches(-2, -4, 1, 0.25)).toBe(0);
  expect(mismatches(0, 0, 0, 0)).toBe(0);
  expect(compare([[1]], [[2]]).tolerance).toBeUndefined();
});

test("counts mismatches and finds the worst one, which need not be the largest difference", () => {
  const model = [
    [1, 100, 3],
    [4, 5, 6.5],
  ];
  const golden = [
    [1, 103, 3],
    [4, 6, 6],
  ];
  const { maxAbsolute, maxRelative, tolerance } = compare(model, golden, { atol: 0, rtol: 0.05 });
  expect(maxAbsolute).toEqual({ value: 3, position: 0, id: 1, model: 100, golden: 103 });
  expect(maxRelative).toEqual({ value: 1 / 6, position: 1, id: 1, model: 5, golden: 6 });
  expect(tolerance).toEqual({
    mismatches: 2,
    worst: { value: 1 - 0.05 * 6, position: 1, id: 1, model: 5, golden: 6 },
  });
});

test("a golden zero counts as 1e-8 in relative differences", () => {
  expect(compare([[0.5]], [[0]]).maxRelative.value).toBe(0.5 / 1e-8);
});

test("relative L2 is over all logits compared", () => {
  const golden = [
    [3, 0],
    [0, 4],
  ];
  const model = [
    [3, 1],
    [0, 4],
  ];
  expect(compare(model, golden).relativeL2).toBeCloseTo(1 / 5, 15);
  expect(compare(golden, golden).relativeL2).toBe(0);
  expect(compare([[1]], [[0]]).relativeL2).toBe(Number.POSITIVE_INFINITY);
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
  "%d among the model's logits is found, counted, and lies outside any tolerance",
  (bad) => {
    const golden = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    const model = [
      [1, 2, 3],
      [4, bad, bad],
    ];
    const found = compare(model, golden, { atol: 1e9 });
    expect(found.notFinite).toMatchObject({ count: 2, first: { position: 1, id: 1, model: bad, golden: 5 } });
    expect(found.maxAbsolute).toMatchObject({ position: 1, id: 1 });
    expect(found.tolerance).toMatchObject({ mismatches: 2, worst: { position: 1, id: 1 } });
    expect(found.kl[0]).toBe(0);
    expect(found.maxKl.position).toBe(1);
    expect(found.maxKl.value < 1e9).toBe(false);
  },
);

test("a later number, however large, does not hide a NaN", () => {
  const found = compare([[Number.NaN, 1e30]], [[0, 0]], { atol: 0 });
  expect(found.maxAbsolute).toMatchObject({ value: Number.NaN, id: 0 });
  expect(found.tolerance?.worst).toMatchObject({ value: Number.NaN, id: 0 });
});

test("the larger vocabulary is cut to the smaller, and softmax is over what is left", () => {
  const [narrow, wide] = [
    [
      [1, 2],
      [3, 4],
    ],
    [
      [1, 2, 50],
      [3, 4, 50],
    ],
  ];
  for (const [model, golden] of [
    [narrow!, wide!],
    [wide!, narrow!],
  ] as const) {
    const found = compare(model, golden);
    expect(found).toMatchObject({ vocab: 2, modelVocab: model[0]!.length, goldenVocab: golden[0]!.length });
    expect(found.kl).toEqual([0, 0]);
    expect(found.topTokens.model).toEqual([
      { id: 1, score: 4 },
      { id: 0, score: 3 },
    ]);
  }
});

test("token_size and skip_first_token choose the positions", () => {
  const golden = [
    [0, 0],
    [0, 1],
    [0, 2],
    [0, 3],
    [0, 4],
  ];
  const model = [
    [9, 0],
    [0, 1],
    [0, 2],
    [0, 3],
    [9, 0],
  ];
  const found = compare(model, golden, { tokenSize: 4, skipFirstToken: true });
  expect(found).toMatchObject({ start: 1, end: 4, kl: [0, 0, 0], maxAbsolute: { value: 0 } });
  expect(found.topTokens).toMatchObject({ position: 3, overlap: 2 });
  expect(found.logitSample?.position).toBe(3);
  expect(found.probabilitySample?.position).toBe(2);
  const all = compare(model, golden, { tokenSize: 99 });
  expect(all).toMatchObject({ start: 0, end: 5, maxAbsolute: { value: 9, position: 0 } });
  expect(all.maxKl.position).toBe(4);
});

test("the top is what sorting would give, the lower id first at a tie", () => {
  const scores = fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 30 });
  fc.assert(
    fc.property(scores, fc.integer({ min: 1, max: 12 }), (row, count) => {
      const sorted = row.map((score, id) => ({ id, score })).sort((a, b) => b.score - a.score || a.id - b.id);
      expect(topCandidates(Float32Array.from(row), count)).toEqual(sorted.slice(0, count));
    }),
  );
  expect(topCandidates(Float32Array.of(Number.NaN, 1, Number.POSITIVE_INFINITY, Number.NaN), 3)).toEqual([
    { id: 2, score: Number.POSITIVE_INFINITY },
    { id: 1, score: 1 },
  ]);
});

test("overlap, Jaccard and rank agreement of the top ten", () => {
  const golden = Array.from({ length: 20 }, (_, i) => 20 - i);
  // The first two change places; ids 8 and 9 leave, 15 and 16 come.
  const model = golden.map((x, i) =>
    i === 0 ? 19 : i === 1 ? 20 : i === 8 || i === 9 ? 0 : i === 15 ? 12 : i === 16 ? 11 : x,
  );
  const { topTokens } = compare([model], [golden]);
  expect(topTokens).toMatchObject({ overlap: 8, jaccard: 8 / 12, rankAgreement: 60 });
});
