// The short causal convolution in front of Gated DeltaNet.
import { dim, dimAt, elements, formatDims, range, rankOf, replaceAt, tensor } from "../ir/shape.ts";
import type { Dim } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats } from "./op.ts";

/** For each tap of w, what stands under it as it passes over x: [b, steps, c], the steps named as `like`'s. */
function windows<T>(k: K<T>, x: T, w: T, like: readonly Dim[]): T[] {
  const steps = at(like, 1).size;
  return range(dimAt(k.typeOf(w), 0).size).map((j) => k.reshape(k.slice(x, 1, j, j + steps), like));
}

/** x with zeros before its start or after its end, one for each tap of w but one. */
function padded<T>(k: K<T>, x: T, w: T, where: "before" | "after"): T {
  const zeros = dimAt(k.typeOf(w), 0).size - 1;
  return where === "before" ? k.pad(x, 1, zeros, 0) : k.pad(x, 1, 0, zeros);
}

function convolved<T>(k: K<T>, x: T, w: T, like: readonly Dim[]): T {
  const taps = windows(k, x, w, like).map((window, j) => k.mul(window, tap(k, w, j)));
  return taps.reduce((sum, each) => k.add(sum, each));
}

/** The weights of tap j, one for each channel. */
const tap = <T>(k: K<T>, w: T, j: number): T => k.reshape(k.slice(w, 0, j, j + 1), [at(k.dimsOf(w), 1)]);

/** Of each x[b] as many rows as `count` says, from row starts[b] on. */
function rowsFrom<T>(k: K<T>, x: T, starts: T, count: Dim): T {
  const [b, t, c] = k.dimsOf(x) as [Dim, Dim, Dim];
  const grid = tensor("i32", [b, count]);
  const own = k.add(k.iota(grid, 1), k.reshape(starts, [b, dim("_", 1)]));
  const index = k.add(own, k.mul(k.iota(grid, 0), k.constant(t.size, tensor("i32", []))));
  return k.take(k.reshape(x, [dim("_", b.size * t.size), c]), index);
}

export const causalConv1d: OpDef = {
  name: "causal_conv1d",
  doc: "Depthwise: out[t] = sum_j x[t - (width-1) + j] * w[j]; x [b, t, c], w [width, c], zeros before the start.",
  attrs: {},
  infer(ins) {
    expectArity("causal_conv1d", ins, 2);
    const [x, w] = [at(ins, 0), at(ins, 1)];
    if (rankOf(x) !== 3 || rankOf(w) !== 2 || dimAt(x, 2).size !== dimAt(w, 1).size)
      broken(
        "causal_conv1d",
        `takes [b, t, c] and [width, c], got [${formatDims(x.dims)}] and [${formatDims(w.dims)}]`,
      );
    expectFloats("causal_conv1d", x, w);
    expectDims("causal_conv1d", "the kernel is", w.dims, [dimAt(w, 0), dimAt(x, 2)]);
    return [x];
  },
  decompose(k, ins) {
    const [x, w] = [at(ins, 0), at(ins, 1)];
    return [convolved(k, padded(k, x, w, "before"), w, k.dimsOf(x))];
  },
  /** The convolution with time turned round, and per tap the sum over what it met. */
  vjp(k, { dy, ins }) {
    const [g, x, w] = [dy(0), at(ins, 0), at(ins, 1)];
    const width = dimAt(k.typeOf(w), 0).size;
    const after = windows(k, padded(k, g, w, "after"), w, k.dimsOf(x));
    const parts = range(width).map((j) => k.mul(at(after, width - 1 - j), tap(k, w, j)));
    const row = replaceAt(k.dimsOf(w), 0, dim(at(k.dimsOf(w), 0).label, 1));
    const met = windows(k, padded(k, x, w, "before"), w, k.dimsOf(x)).map((window) =>
      k.reshape(k.sum(k.mul(g, window), [0, 1]), row),
    );
    return [parts.reduce((sum, each) => k.add(sum, each)), k.reshape(k.concat(met, 0), k.dimsOf(w))];
  },
  resume: {
    states: ["the last inputs"],
    isRewindable: false,
    run(k, ins, _attrs, states, { lengths }) {
      const [x, w, past] = [at(ins, 0), at(ins, 1), at(states, 0)];
      const [dims, kept] = [k.dimsOf(x), k.dimsOf(past)];
      const width = dimAt(k.typeOf(w), 0).size;
      const [before, steps] = [at(kept, 1), at(dims, 1)];
      if (kept.length !== 3 || before.size < width - 1)
        broken(
          "causal_conv1d",
          `keeps at least ${width - 1} inputs, [b, past, c], got [${formatDims(kept)}]`,
        );
      expectFloats("causal_conv1d", k.typeOf(x), k.typeOf(past));
      expectDims("causal_conv1d", "the last inputs are", kept, replaceAt(dims, 1, before));
      const all = dim("_", before.size + steps.size);
      const seen = k.reshape(k.concat([past, x], 1), replaceAt(dims, 1, all));
      return {
        outs: [convolved(k, k.slice(seen, 1, before.size - width + 1, all.size), w, dims)],
        states: [k.reshape(rowsFrom(k, seen, lengths, before), kept)],
      };
    },
  },
  flops: (ins) => 2 * elements(at(ins, 0)) * dimAt(at(ins, 1), 0).size,
};
