// Random numbers with a seed, so that a failure names the run that shows it.

import { elements } from "../../compiler/ir/shape.ts";
import type { TensorType } from "../../compiler/ir/types.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";

/** Uniform in [0, 1); the same seed gives the same numbers (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z ^= z + Math.imul(z ^ (z >>> 7), 61 | z);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Where an operand's numbers lie: between two bounds, apart from each other, or written out. */
export type Numbers =
  | { readonly kind: "within"; readonly low: number; readonly high: number }
  | { readonly kind: "apart" }
  | { readonly kind: "exactly"; readonly values: readonly number[] };

export const within = (low: number, high: number): Numbers => ({ kind: "within", low, high });
/** No two elements nearer than 1/8 to each other or to zero: no kink lies within a small step. */
export const apart: Numbers = { kind: "apart" };
export const exactly = (...values: number[]): Numbers => ({ kind: "exactly", values });

/** The items in random order. */
export const shuffled = (items: readonly number[], random: () => number): number[] =>
  items
    .map((item) => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);

/** Random numbers of a type. Integers are 0 or 1 unless told otherwise. */
export function randomData(type: TensorType, random: () => number, numbers?: Numbers): HostArray {
  const count = elements(type);
  const isInteger = type.dtype === "i32" || type.dtype === "bool";
  const { low, high } =
    numbers?.kind === "within" ? numbers : isInteger ? { low: 0, high: 1 } : { low: -1.5, high: 1.5 };
  const draw = () =>
    isInteger ? Math.floor(low + random() * (high - low + 1)) : low + random() * (high - low);
  const grid = Array.from({ length: count }, (_, i) => (i - Math.floor(count / 2) + 0.5) / 4);
  const values =
    numbers?.kind === "exactly"
      ? numbers.values
      : numbers?.kind === "apart"
        ? shuffled(grid, random)
        : Array.from({ length: count }, draw);
  if (type.dtype === "i32") return Int32Array.from(values);
  return type.dtype === "bool" ? Uint8Array.from(values) : Float32Array.from(values);
}
