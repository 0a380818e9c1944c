// Weights of single layers ⇄ the stacked parameters of a program that scans over layers, layer axis first.
import { invariant } from "../../compiler/diag.ts";
import type { Stack } from "../../compiler/stacks.ts";
import type { Weights } from "./hugging-face.ts";

/** The weights with each stack's members as one. */
export function stackWeights(weights: Weights, stacks: readonly Stack[]): Weights {
  const stacked = new Map(weights);
  for (const { param, members } of stacks) {
    const parts = members.map((name) => {
      const part = weights.get(name);
      invariant(part, `no weights for ${name}`);
      stacked.delete(name);
      return part;
    });
    const whole = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    stacked.set(param.hint, whole);
  }
  return stacked;
}

/** The weights with each stack taken apart: the inverse of stackWeights, without copying. */
export function unstackWeights(weights: Weights, stacks: readonly Stack[]): Weights {
  const single = new Map(weights);
  for (const { param, members } of stacks) {
    const whole = weights.get(param.hint);
    invariant(whole, `no weights for ${param.hint}`);
    single.delete(param.hint);
    const size = whole.length / members.length;
    for (const [i, name] of members.entries()) single.set(name, whole.subarray(i * size, (i + 1) * size));
  }
  return single;
}
