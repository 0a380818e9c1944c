// Gated DeltaNet's core: the unit triangular solve and the gated delta rule.
// Source: Yang et al. 2024 (Gated Delta Networks); HF torch_chunk_gated_delta_rule and torch_recurrent_gated_delta_rule.
import { dim, dimAt, elements, formatDims, range, rankOf, replaceAt, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { NumberArray } from "./loops.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats, expectLabel } from "./op.ts";

/** Row by row: x_i = b_i - sum_{j<i} l_ij x_j, or from the last row up for the transpose. */
function solveUnit(l: NumberArray, b: NumberArray, c: number, n: number, isTranspose: boolean): Float64Array {
  // In double precision: errors of early rows run through all later ones.
  const x = Float64Array.from(b);
  const batches = b.length / (c * n);
  for (let batch = 0; batch < batches; batch++) {
    const [lAt, xAt] = [batch * c * c, batch * c * n];
    for (let step = 0; step < c; step++) {
      const i = isTranspose ? c - 1 - step : step;
      for (let done = 0; done < step; done++) {
        const j = isTranspose ? c - 1 - done : done;
        const factor = (isTranspose ? l[lAt + j * c + i] : l[lAt + i * c + j]) ?? 0;
        if (factor === 0) continue;
        const [to, from] = [xAt + i * n, xAt + j * n];
        for (let col = 0; col < n; col++)
          x[to + col] = (x[to + col] as number) - factor * (x[from + col] as number);
      }
    }
  }
  return x;
}

const triangularSolve: OpDef<{ transpose: boolean }> = {
  name: "triangular_solve",
  doc: "x with (I + strictly lower part of l)·x = b, or its transpose; l [.., c, c], b [.., c, n].",
  attrs: { transpose: "bool" },
  infer(ins) {
    expectArity("triangular_solve", ins, 2);
    const [l, b] = [at(ins, 0), at(ins, 1)];
    const rank = rankOf(b);
    expectFloats("triangular_solve", l, b);
    if (
      rank < 2 ||
      rankOf(l) !== rank ||
      dimAt(l, rank - 1).size !== dimAt(l, rank - 2).size ||
      dimAt(l, rank - 1).size !== dimAt(b, rank - 2).size
    )
      broken(
        "triangular_solve",
        `takes [.., c, c] and [.., c, n], got [${formatDims(l.dims)}] and [${formatDims(b.dims)}]`,
      );
    expectDims("triangular_solve", "l begins as", l.dims.slice(0, -2), b.dims.slice(0, -2));
    return [b];
  },
  vjp(k, { dy, ins, outs, attrs: { transpose } }) {
    const [l, x] = [at(ins, 0), at(outs, 0)];
    const db = k.one("triangular_solve", [l, dy(0)], { transpose: !transpose });
    const outer = transpose ? k.matmul(x, k.swapLast(db)) : k.matmul(db, k.swapLast(x));
    const dl = strictlyLower(k, k.neg(k.reshape(outer, k.dimsOf(l))));
    return [dl, db];
  },
  run(_tf, ins, { transpose }, { onHost, outs }) {
    const { shape } = at(ins, 1);
    const [c, n] = [at(shape, shape.length - 2), at(shape, shape.length - 1)];
    return onHost(ins, outs, (xs, ys) => at(ys, 0).set(solveUnit(at(xs, 0), at(xs, 1), c, n, transpose)));
  },
  flops: (ins) => elements(at(ins, 1)) * dimAt(at(ins, 0), rankOf(at(ins, 0)) - 1).size,
};

/** sums[i][j] = x[j+1] + … + x[i] for j ≤ i, from running sums in double precision. */
function segmentSums(x: NumberArray, out: NumberArray, c: number): void {
  const running = new Float64Array(c);
  for (let row = 0; row < x.length / c; row++) {
    let sum = 0;
    for (let i = 0; i < c; i++) {
      sum += x[row * c + i] as number;
      running[i] = sum;
    }
    for (let i = 0; i < c; i++) {
      const to = (row * c + i) * c;
      for (let j = 0; j < c; j++)
        out[to + j] = j <= i ? (running[i] as number) - (running[j] as number) : Number.NEGATIVE_INFINITY;
    }
  }
}

const segmentSum: OpDef<{ label: string }> = {
  name: "segment_sum",
  doc: "x [.., c] → [.., c, c]: the sum after j up to i, -inf where j > i. Differences of f32 running sums would lose digits.",
  attrs: { label: "string" },
  infer(ins, { label }) {
    expectArity("segment_sum", ins, 1);
    const x = at(ins, 0);
    if (rankOf(x) < 1) broken("segment_sum", "takes at least one dim");
    expectFloats("segment_sum", x);
    expectLabel("segment_sum", label);
    return [tensor(x.dtype, [...x.dims, dim(label, dimAt(x, rankOf(x) - 1).size)])];
  },
  // x[t] is in the sums over (j, i] with j < t ≤ i. Only these are added: the others, e^0 among them, can be millions of
  // times larger, and taken away again would leave their rounding.
  vjp(k, { dy }) {
    const rank = k.dimsOf(dy(0)).length;
    const ending = k.cumsum(dy(0), rank - 2, true);
    return [k.sum(strictlyLower(k, ending), [rank - 1])];
  },
  run(_tf, ins, _attrs, { onHost, outs }) {
    const { shape } = at(ins, 0);
    return onHost(ins, outs, (xs, ys) => segmentSums(at(xs, 0), at(ys, 0), at(shape, shape.length - 1)));
  },
};

/** What is under the diagonal of the last two axes of x (square), and zeros. */
function strictlyLower<T>(k: K<T>, x: T): T {
  const grid = tensor("i32", k.dimsOf(x).slice(-2));
  return k.select(k.compare(k.iota(grid, 0), k.iota(grid, 1), "GT"), x, k.scalar(0, x));
}

/** Key heads repeated so that each value head has its own: head h reads key head floor(h / ratio). */
function repeatHeads<T>(k: K<T>, x: T, heads: Dim): T {
  const dims = k.dimsOf(x);
  const own = at(dims, 2);
  if (own.size === heads.size) return k.reshape(x, replaceAt(dims, 2, heads));
  const grouped = (size: number) => [...dims.slice(0, 3), dim("_", size), at(dims, 3)];
  const wide = k.broadcast(k.reshape(x, grouped(1)), grouped(heads.size / own.size));
  return k.reshape(wide, replaceAt(dims, 2, heads));
}

type Rule<T> = { q: T; k: T; v: T; g: T; beta: T; state: T; steps: Dim };

/** One token at a time: decay, read, write, query (HF torch_recurrent_gated_delta_rule). */
function recurrentRule<T>(k: K<T>, { q, k: key, v, g, beta, state, steps }: Rule<T>): readonly [T, T] {
  const timeFirst = (x: T) => k.transpose(x, [1, 0, ...range(k.dimsOf(x).length).slice(2)]);
  const inputs = [q, key, v, k.exp(g), beta];
  const heads = {
    batch: [
      [0, 1],
      [0, 1],
    ],
  } as const;
  const advance = (carry: readonly T[], step: readonly T[]) => {
    const [qt, kt, vt, decay, rate] = step as [T, T, T, T, T];
    const column = (x: T, count: number) =>
      k.reshape(x, [...k.dimsOf(x), ...range(count).map(() => dim("_", 1))]);
    const decayed = k.mul(at(carry, 0), column(decay, 2));
    const read = k.dot(kt, decayed, { contract: [[2], [2]], ...heads });
    const delta = k.mul(k.sub(vt, read), column(rate, 1));
    const written = k.dot(kt, delta, { contract: [[], []], ...heads });
    const next = k.add(decayed, written);
    return { carries: [next], ys: [k.dot(qt, next, { contract: [[2], [2]], ...heads })] };
  };
  if (steps.size === 1) {
    const only = advance(
      [state],
      inputs.map((x) => k.reshape(x, k.dimsOf(x).toSpliced(1, 1))),
    );
    return [k.reshape(at(only.ys, 0), k.dimsOf(v)), at(only.carries, 0)];
  }
  const { carries, ys } = k.scan(
    { carries: [state], xs: inputs.map(timeFirst), consts: [], length: steps.size, label: steps.label },
    advance,
  );
  return [timeFirst(at(ys, 0)), at(carries, 0)];
}

/** Chunks of `size` tokens: products within a chunk, a scan over chunks (HF torch_chunk_gated_delta_rule). */
function chunkedRule<T>(
  k: K<T>,
  { q, k: key, v, g, beta, state, steps }: Rule<T>,
  size: number,
): readonly [T, T] {
  const count = Math.ceil(steps.size / size);
  const extra = count * size - steps.size;
  const [chunks, inner, other] = [dim("chunk", count), dim("pos", size), dim("pos_k", size)];
  // Zero k, v, beta and g after the end leave the state as it is. [b, t, h, ..] → [chunk, b, h, pos, ..]
  const split = (x: T): T => {
    const padded = extra > 0 ? k.pad(x, 1, 0, extra) : x;
    const [b, , h, ...rest] = k.dimsOf(x) as [Dim, Dim, Dim, ...Dim[]];
    const tail = rest.map((_, i) => 4 + i);
    return k.transpose(k.reshape(padded, [b, chunks, inner, h, ...rest]), [1, 0, 3, 2, ...tail]);
  };
  const [Q, Kc, V, B] = [q, key, v, beta].map(split) as [T, T, T, T];
  const splitG = split(g);
  const G = k.cumsum(splitG, 3);
  const column = (x: T): T => k.reshape(x, [...k.dimsOf(x), dim("_", 1)]);
  const keyed = (x: T): T => k.reshape(x, replaceAt(k.dimsOf(x), 3, other));

  // Only differences of log decays are ever raised: factors e^{G_i}·e^{-G_j} would overflow.
  const decay = k.exp(k.one("segment_sum", [splitG], { label: other.label }));
  const rated = k.mul(Kc, column(B));
  const interaction = strictlyLower(k, k.mul(k.matmul(rated, k.swapLast(keyed(Kc))), decay));
  const width = at(k.dimsOf(V), 4).size;
  const right = k.concat([k.mul(V, column(B)), k.mul(rated, column(k.exp(G)))], 4);
  const solved = k.one("triangular_solve", [interaction, right], { transpose: false });
  const U = k.reshape(k.slice(solved, 4, 0, width), k.dimsOf(V));
  const W = k.reshape(k.slice(solved, 4, width, at(k.dimsOf(solved), 4).size), k.dimsOf(Kc));
  const scores = k.mul(k.matmul(Q, k.swapLast(keyed(Kc))), decay);
  const last = k.reshape(k.slice(G, 3, size - 1, size), replaceAt(k.dimsOf(G), 3, dim("_", 1)));
  const toEnd = k.reshape(k.slice(decay, 3, size - 1, size), k.dimsOf(G));
  const kDecayed = k.mul(Kc, column(toEnd));

  const xs = [U, W, k.mul(Q, column(k.exp(G))), scores, k.swapLast(kDecayed), column(k.exp(last))];
  const { carries, ys } = k.scan(
    { carries: [state], xs, consts: [], length: count, label: "chunk" },
    (carry, step) => {
      const [u, w, qDecayed, score, kTransposed, decayed] = step as [T, T, T, T, T, T];
      const S = at(carry, 0);
      const fresh = k.sub(u, k.matmul(w, S));
      const freshKeyed = k.reshape(fresh, replaceAt(k.dimsOf(fresh), 2, other));
      const output = k.add(k.matmul(qDecayed, S), k.matmul(score, freshKeyed));
      return { carries: [k.add(k.mul(S, decayed), k.matmul(kTransposed, fresh))], ys: [output] };
    },
  );
  const O = k.transpose(at(ys, 0), [1, 0, 3, 2, 4]);
  const [b, , , h, dv] = k.dimsOf(O) as [Dim, Dim, Dim, Dim, Dim];
  const flat = k.reshape(O, [b, dim(steps.label, count * size), h, dv]);
  return [extra > 0 ? k.slice(flat, 1, 0, steps.size) : flat, at(carries, 0)];
}

const gatedDeltaRule: OpDef<{ chunk_size: number }> = {
  name: "gated_delta_rule",
  doc:
    "S ← e^g S; S ← S + k·(beta (v - Sᵀk))ᵀ; o = Sᵀ q / sqrt(d_k), all in f32; chunk_size 0 steps token by token. " +
    "q, k [b, t, hk, dk], v [b, t, hv, dv], g and beta [b, t, hv], state [b, hv, dk, dv] → o, last state.",
  attrs: { chunk_size: "int" },
  infer(ins, { chunk_size }) {
    expectArity("gated_delta_rule", ins, 6);
    const [q, k, v, g, beta, state] = ins as readonly [
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
      TensorType,
    ];
    for (const x of ins) expectFloats("gated_delta_rule", x);
    for (const x of [q, k, v])
      if (rankOf(x) !== 4)
        broken("gated_delta_rule", `q, k and v have four dims, got [${formatDims(x.dims)}]`);
    const [heads, valueHeads] = [dimAt(k, 2).size, dimAt(v, 2).size];
    if (valueHeads % heads !== 0)
      broken("gated_delta_rule", `${valueHeads} value heads are not a multiple of ${heads} key heads`);
    if (chunk_size < 0) broken("gated_delta_rule", `chunk_size is zero or more, got ${chunk_size}`);
    expectDims("gated_delta_rule", "q has k's dims", q.dims, k.dims);
    expectDims("gated_delta_rule", "k begins as", k.dims.slice(0, 2), v.dims.slice(0, 2));
    for (const gate of [g, beta]) expectDims("gated_delta_rule", "gates are", gate.dims, v.dims.slice(0, 3));
    if (state.dtype !== "f32") broken("gated_delta_rule", `the state is f32, got ${state.dtype}`);
    expectDims("gated_delta_rule", "the state is", state.dims, [
      dimAt(v, 0),
      dimAt(v, 2),
      dimAt(k, 3),
      dimAt(v, 3),
    ]);
    return [v, state];
  },
  decompose(k, ins, { chunk_size }) {
    type X = (typeof ins)[number];
    const [q, key, v, g, beta] = ins.slice(0, 5).map((x) => k.convert(x, "f32")) as [X, X, X, X, X];
    const valueDims = k.dimsOf(v);
    const heads = at(valueDims, 2);
    const scaled = k.mul(q, k.scalar(at(k.dimsOf(q), 3).size ** -0.5, q));
    const rule = {
      q: repeatHeads(k, scaled, heads),
      k: repeatHeads(k, key, heads),
      v,
      g,
      beta,
      state: at(ins, 5),
      steps: at(valueDims, 1),
    };
    const [o, state] =
      chunk_size === 0 ? recurrentRule(k, rule) : chunkedRule(k, rule, Math.min(chunk_size, rule.steps.size));
    return [
      k.reshape(k.convert(o, k.typeOf(at(ins, 2)).dtype), valueDims),
      k.reshape(state, k.dimsOf(at(ins, 5))),
    ];
  },
  resume: {
    states: ["the state"],
    isRewindable: false,
    run(k, ins, { chunk_size }, states, { lengths }) {
      const [b, t] = k.dimsOf(at(ins, 3)) as [Dim, Dim];
      const one = dim("_", 1);
      const counts = k.compare(k.iota(tensor("i32", [b, t]), 1), k.reshape(lengths, [b, one]), "LT");
      const mask = k.reshape(counts, [b, t, one]);
      // A token without decay and rate leaves the state as it is.
      const gate = (x: (typeof ins)[number]) => k.select(mask, x, k.scalar(0, x));
      const outs = k.apply(
        "gated_delta_rule",
        [...ins.slice(0, 3), gate(at(ins, 3)), gate(at(ins, 4)), at(states, 0)],
        { chunk_size: t.size === 1 ? 0 : chunk_size },
      );
      return { outs, states: outs.slice(1) };
    },
  },
  /** Counted as the recurrent rule, as MaxText does: 8 * heads * d_k * d_v a token. */
  flops: (ins) => 8 * elements(at(ins, 2)) * dimAt(at(ins, 1), 3).size,
};

export const deltaRuleOps: readonly OpDef[] = [segmentSum, triangularSolve, gatedDeltaRule];
