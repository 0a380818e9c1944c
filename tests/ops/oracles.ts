// What the ops mean, written out once more in double precision and plain loops. Arrays are row-major.
import { range } from "../../compiler/ir/shape.ts";

type Numbers = ArrayLike<number>;

const sum = (count: number, term: (i: number) => number): number =>
  range(count).reduce((total, i) => total + term(i), 0);

/** Position of an index in a row-major array. */
const place = (shape: readonly number[], ...index: number[]): number =>
  index.reduce((at, i, axis) => at * shape[axis]! + i, 0);

function filled(shape: readonly number[], value: (index: number[]) => number): Float64Array {
  const out = new Float64Array(shape.reduce((n, d) => n * d, 1));
  for (let flat = 0; flat < out.length; flat++) {
    const index: number[] = [];
    let rest = flat;
    for (const size of shape.toReversed()) {
      index.unshift(rest % size);
      rest = Math.floor(rest / size);
    }
    out[flat] = value(index);
  }
  return out;
}

export type AttentionSizes = {
  b: number;
  s: number;
  t: number;
  h: number;
  kv: number;
  d: number;
  dv: number;
};

/** Query head h reads key head floor(h / (heads / kv)); causal queries are the last s of t positions. */
export function attention(
  q: Numbers,
  k: Numbers,
  v: Numbers,
  { b, s, t, h, kv, d, dv }: AttentionSizes,
  scale: number,
  causal: boolean,
): Float64Array {
  return filled([b, s, h, dv], ([bi, i, hi, c]) => {
    const head = Math.floor(hi! / (h / kv));
    const seen = range(t).filter((j) => !causal || j <= i! + t - s);
    const scores = seen.map(
      (j) =>
        scale *
        sum(d, (e) => q[place([b, s, h, d], bi!, i!, hi!, e)]! * k[place([b, t, kv, d], bi!, j, head, e)]!),
    );
    const top = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - top));
    const total = sum(weights.length, (j) => weights[j]!);
    return sum(
      seen.length,
      (j) => (weights[j]! / total) * v[place([b, t, kv, dv], bi!, seen[j]!, head, c!)]!,
    );
  });
}

/** Pairs (i, i + r/2) of the first r elements turn by position · theta^(-2i/r). */
export function rotary(
  x: Numbers,
  positions: Numbers,
  [b, s, h, d]: readonly [number, number, number, number],
  theta: number,
  r: number,
): Float64Array {
  return filled([b, s, h, d], ([bi, i, hi, c]) => {
    const at = (e: number) => x[place([b, s, h, d], bi!, i!, hi!, e)]!;
    if (c! >= r) return at(c!);
    const pair = c! % (r / 2);
    const angle = positions[bi! * s + i!]! * theta ** ((-2 * pair) / r);
    return c! < r / 2
      ? at(c!) * Math.cos(angle) - at(c! + r / 2) * Math.sin(angle)
      : at(c!) * Math.cos(angle) + at(c! - r / 2) * Math.sin(angle);
  });
}

export function rmsNorm(
  x: Numbers,
  scale: Numbers,
  width: number,
  eps: number,
  offset: number,
): Float64Array {
  return filled([x.length / width, width], ([row, c]) => {
    const at = (e: number) => x[row! * width + e]!;
    return (at(c!) / Math.sqrt(sum(width, (e) => at(e) ** 2) / width + eps)) * (offset + scale[c!]!);
  });
}

export function causalConv(
  x: Numbers,
  w: Numbers,
  [b, t, c]: readonly [number, number, number],
  width: number,
): Float64Array {
  return filled([b, t, c], ([bi, ti, ci]) =>
    sum(width, (j) => {
      const from = ti! - (width - 1) + j;
      return from < 0 ? 0 : x[place([b, t, c], bi!, from, ci!)]! * w[j * c + ci!]!;
    }),
  );
}

export type DeltaSizes = { b: number; t: number; hk: number; hv: number; dk: number; dv: number };
export type DeltaInputs = { q: Numbers; k: Numbers; v: Numbers; g: Numbers; beta: Numbers; state: Numbers };

/**
 * Per value head, with S of [dk, dv]: S ← e^g S; d = beta (v − Sᵀk); S ← S + k dᵀ; o = Sᵀ q / sqrt(dk); value head h
 * uses key head floor(h / (hv / hk)).
 */
export function gatedDeltaRule(
  x: DeltaInputs,
  { b, t, hk, hv, dk, dv }: DeltaSizes,
): { o: Float64Array; state: Float64Array } {
  const o = new Float64Array(b * t * hv * dv);
  const state = Float64Array.from(x.state);
  for (let bi = 0; bi < b; bi++)
    for (let h = 0; h < hv; h++) {
      const own = state.subarray((bi * hv + h) * dk * dv, (bi * hv + h + 1) * dk * dv);
      for (let ti = 0; ti < t; ti++) {
        const key = (e: number) => x.k[place([b, t, hk, dk], bi, ti, Math.floor((h * hk) / hv), e)]!;
        const query = (e: number) =>
          x.q[place([b, t, hk, dk], bi, ti, Math.floor((h * hk) / hv), e)]! / Math.sqrt(dk);
        const gate = place([b, t, hv], bi, ti, h);
        for (let i = 0; i < own.length; i++) own[i]! *= Math.exp(x.g[gate]!);
        for (let j = 0; j < dv; j++) {
          const read = sum(dk, (e) => own[e * dv + j]! * key(e));
          const written = x.beta[gate]! * (x.v[place([b, t, hv, dv], bi, ti, h, j)]! - read);
          for (let e = 0; e < dk; e++) own[e * dv + j]! += key(e) * written;
          o[place([b, t, hv, dv], bi, ti, h, j)] = sum(dk, (e) => own[e * dv + j]! * query(e));
        }
      }
    }
  return { o, state };
}

/** Row i times the matrix of the group it falls in; rows after the last group give zero. */
export function raggedDot(
  a: Numbers,
  w: Numbers,
  sizes: readonly number[],
  [m, k, n]: readonly [number, number, number],
): Float64Array {
  const groups = sizes.flatMap((size, group) => range(size).map(() => group));
  return filled([m, n], ([row, col]) => {
    const group = groups[row!];
    return group === undefined ? 0 : sum(k, (e) => a[row! * k + e]! * w[(group * k + e) * n + col!]!);
  });
}

export function crossEntropy(
  logits: Numbers,
  targets: Numbers,
  classes: number,
  zLoss: number,
): Float64Array {
  return filled([targets.length], ([row]) => {
    const at = (c: number) => logits[row! * classes + c]!;
    const top = Math.max(...range(classes).map(at));
    const lse = top + Math.log(sum(classes, (c) => Math.exp(at(c) - top)));
    return lse - at(targets[row!]!) + zLoss * lse * lse;
  });
}

export type AdamW = {
  b1: number;
  b2: number;
  eps: number;
  epsRoot: number;
  decay: number;
  rate: number;
  step: number;
};

/** optax.adamw: scale_by_adam, add_decayed_weights, scale by -rate. `step` counts from one. */
export function adamw(
  p: number,
  g: number,
  mu: number,
  nu: number,
  { b1, b2, eps, epsRoot, decay, rate, step }: AdamW,
): readonly [number, number, number] {
  const [mu1, nu1] = [b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g * g];
  const direction = mu1 / (1 - b1 ** step) / (Math.sqrt(nu1 / (1 - b2 ** step) + epsRoot) + eps);
  return [p - rate * (direction + decay * p), mu1, nu1];
}

/** Every finite magnitude of a narrow float, ascending, from its bits: exponent and fraction widths. */
function magnitudes(exponentBits: number, fractionBits: number): Float64Array {
  const bias = 2 ** (exponentBits - 1) - 1;
  const fractions = 2 ** fractionBits;
  return Float64Array.from({ length: (2 ** exponentBits - 1) * fractions }, (_, bits) => {
    const [exponent, fraction] = [Math.floor(bits / fractions), bits % fractions];
    return exponent === 0
      ? (fraction / fractions) * 2 ** (1 - bias)
      : (1 + fraction / fractions) * 2 ** (exponent - bias);
  });
}

const grids = { bf16: magnitudes(8, 7), f16: magnitudes(5, 10) };

/** The nearest number of the dtype by search among all of them; a tie goes to even bits, half a step past the end to infinity. */
export function nearest(dtype: "bf16" | "f16", x: number): number {
  if (Number.isNaN(x) || !Number.isFinite(x)) return x;
  const grid = grids[dtype];
  const size = Math.abs(x);
  const sign = x < 0 || Object.is(x, -0) ? -1 : 1;
  let [low, high] = [0, grid.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (grid[middle]! <= size) low = middle;
    else high = middle;
  }
  const below = grid[low]!;
  const above = grid[low + 1] ?? 2 * below - grid[low - 1]!;
  const up = size - below > above - size || (size - below === above - size && low % 2 === 1);
  return sign * (up ? (grid[low + 1] ?? Number.POSITIVE_INFINITY) : below);
}
