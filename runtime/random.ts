// Repeatable random numbers: xoshiro128** 1.1 by Blackman and Vigna (https://prng.di.unimi.it, public domain), whose
// state is filled by a 32-bit SplitMix with the finaliser of MurmurHash3.

import { invariant } from "../compiler/diag.ts";

/** A stream of random numbers, the same on every machine for the same seed. */
export type Random = {
  /** A whole number in [0, 2^32). */
  uint32(): number;
  /** A double in [0, 1), with 53 random bits. */
  uniform(): number;
  /** A whole number in [0, limit). */
  below(limit: number): number;
  /** A sample of the standard normal distribution. */
  normal(): number;
};

function splitMix(seeds: readonly number[]): () => number {
  let state = 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  for (const seed of seeds) state = next() ^ seed;
  return next;
}

const rotateLeft = (x: number, bits: number): number => (x << bits) | (x >>> (32 - bits));

/** The random stream of a seed; `stream` gives independent ones, such as one per epoch. */
export function random(seed: number, stream = 0): Random {
  invariant(
    Number.isSafeInteger(seed) && Number.isSafeInteger(stream),
    `seed ${seed}, ${stream} is not an integer`,
  );
  const high = (n: number): number => Math.floor(n / 2 ** 32) | 0;
  const mix = splitMix([seed | 0, high(seed), stream | 0, high(stream)]);
  let [s0, s1, s2, s3] = [mix(), mix(), mix(), mix()];

  const uint32 = (): number => {
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const t = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= t;
    s3 = rotateLeft(s3, 11);
    return result;
  };
  const uniform = (): number => ((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) / 2 ** 53;

  let spare: number | undefined;
  // Marsaglia's polar method: two samples from one point inside the unit disc.
  const normal = (): number => {
    if (spare !== undefined) {
      const kept = spare;
      spare = undefined;
      return kept;
    }
    for (;;) {
      const [u, v] = [2 * uniform() - 1, 2 * uniform() - 1];
      const square = u * u + v * v;
      if (square === 0 || square >= 1) continue;
      const scale = Math.sqrt((-2 * Math.log(square)) / square);
      spare = v * scale;
      return u * scale;
    }
  };
  return { uint32, uniform, below: (limit) => Math.floor(uniform() * limit), normal };
}

/** The numbers 0 to `count` - 1 in random order (Fisher and Yates). */
export function permutation(count: number, source: Random): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = source.below(i + 1);
    const kept = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = kept;
  }
  return order;
}
