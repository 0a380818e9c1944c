// Choosing the next token from logits. Source: MaxText inference_utils.sampling.
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { logSumExp } from "../eval/log-softmax.ts";
import type { Random } from "../random.ts";

export type Strategy = "greedy" | "weighted" | "nucleus" | "topk" | "composite";

/** How a token is chosen; MaxText's decode_sampling_* keys. */
export type Sampling = {
  readonly strategy: Strategy;
  /** From 0 to 1, where the strategy reads it. */
  readonly nucleusP: number;
  /** At least 1, where the strategy reads it. */
  readonly topK: number;
  /** Divides the logits when one is drawn, not when they are sorted out; zero draws the best. */
  readonly temperature: number;
};

/** The token of some logits. */
export type Sampler = (logits: Float32Array) => number;

/** How a configuration says that tokens are chosen. */
export const samplingOf = ({ values }: Config): Sampling => ({
  strategy: values.decode_sampling_strategy,
  nucleusP: values.decode_sampling_nucleus_p,
  topK: values.decode_sampling_top_k,
  temperature: values.decode_sampling_temperature,
});

export const greedy: Sampling = { strategy: "greedy", nucleusP: -1, topK: 0, temperature: 1 };

/** A sampler that only gives tokens which `isAllowed` marks; all are allowed if it is not given. */
export function openSampler(sampling: Sampling, source: Random, isAllowed?: Uint8Array): Sampler {
  const keep = keepers[sampling.strategy];
  return (logits) => {
    const kept = keep(allowed(logits, isAllowed), sampling);
    return sampling.strategy === "greedy" ? best(kept) : draw(kept, sampling.temperature, source);
  };
}

const OUT = Number.NEGATIVE_INFINITY;

/** What of the logits a strategy draws from; the others are minus infinity. */
const keepers: Readonly<Record<Strategy, (logits: Float32Array, sampling: Sampling) => Float32Array>> = {
  greedy: (logits) => logits,
  weighted: (logits) => logits,
  nucleus: (logits, { nucleusP }) => likeliest(logits, nucleusP),
  topk: (logits, { topK }) => largest(logits, topK),
  composite: (logits, { topK, nucleusP }) => likeliest(largest(logits, topK), nucleusP),
};

function allowed(logits: Float32Array, isAllowed: Uint8Array | undefined): Float32Array {
  const kept = isAllowed ? logits.map((x, i) => (isAllowed[i] === 1 ? x : OUT)) : logits;
  const isNumber = kept.every((x) => x < Number.POSITIVE_INFINITY) && kept.some((x) => x > OUT);
  if (isNumber) return kept;
  return fail({
    code: "logits-not-finite",
    message: "the model's logits are not finite, so no token can be chosen",
    help: "look at the weights, or use dtype=float32",
  });
}

const descending = (logits: Float32Array): Float32Array => logits.slice().sort().reverse();

/** The k largest, earlier ones first among equals. */
function largest(logits: Float32Array, k: number): Float32Array {
  if (k >= logits.length) return logits;
  const sorted = descending(logits);
  const least = sorted[k - 1] as number;
  let equals = k - sorted.indexOf(least);
  return logits.map((x) => (x > least || (x === least && equals-- > 0) ? x : OUT));
}

/** The likeliest that together reach probability p, and what is as likely as the last of them. */
function likeliest(logits: Float32Array, p: number): Float32Array {
  const sorted = descending(logits);
  const total = logSumExp(sorted);
  let reached = 0;
  const last = sorted.findIndex((x) => {
    reached += Math.exp(x - total);
    return reached >= p;
  });
  // Rounding may leave less than p in all.
  const least = last < 0 ? OUT : (sorted[last] as number);
  return logits.map((x) => (x >= least ? x : OUT));
}

/** The largest, the first among equals. */
const best = (logits: Float32Array): number =>
  logits.reduce((at, x, i) => (x > (logits[at] as number) ? i : at), 0);

/** One of them, each with its probability at the temperature. */
function draw(logits: Float32Array, temperature: number, source: Random): number {
  const first = best(logits);
  if (temperature === 0) return first;
  const top = logits[first] as number;
  const weights = Float64Array.from(logits, (x) => Math.exp((x - top) / temperature));
  let left = source.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
  const drawn = weights.findIndex((weight) => {
    left -= weight;
    return left < 0;
  });
  // What rounding leaves over goes to the best.
  return drawn < 0 ? first : drawn;
}
