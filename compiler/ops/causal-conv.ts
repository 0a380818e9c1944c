// The short causal convolution in front of Gated DeltaNet.
import { dim, dimAt, elements, formatDims, range, rankOf, replaceAt } from "../ir/shape.ts";
import type { K } from "./k.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats } from "./op.ts";

/** x shifted by 0, 1, … steps up to the width of w, with zeros before its start or after its end. */
function windows<T>(k: K<T>, x: T, w: T, zeros: "before" | "after"): T[] {
  const width = dimAt(k.typeOf(w), 0).size;
  const steps = at(k.dimsOf(x), 1).size;
  const padded = zeros === "before" ? k.pad(x, 1, width - 1, 0) : k.pad(x, 1, 0, width - 1);
  return range(width).map((j) => k.reshape(k.slice(padded, 1, j, j + steps), k.dimsOf(x)));
}

/** The weights of tap j, one for each channel. */
const tap = <T>(k: K<T>, w: T, j: number): T => k.reshape(k.slice(w, 0, j, j + 1), [at(k.dimsOf(w), 1)]);

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
    const taps = windows(k, x, w, "before").map((window, j) => k.mul(window, tap(k, w, j)));
    return [taps.reduce((sum, each) => k.add(sum, each))];
  },
  /** The convolution with time turned round, and per tap the sum over what it met. */
  vjp(k, { dy, ins }) {
    const [g, x, w] = [dy(0), at(ins, 0), at(ins, 1)];
    const width = dimAt(k.typeOf(w), 0).size;
    const after = windows(k, g, w, "after");
    const parts = range(width).map((j) => k.mul(at(after, width - 1 - j), tap(k, w, j)));
    const row = replaceAt(k.dimsOf(w), 0, dim(at(k.dimsOf(w), 0).label, 1));
    const met = windows(k, x, w, "before").map((window) => k.reshape(k.sum(k.mul(g, window), [0, 1]), row));
    return [parts.reduce((sum, each) => k.add(sum, each)), k.reshape(k.concat(met, 0), k.dimsOf(w))];
  },
  flops: (ins) => 2 * elements(at(ins, 0)) * dimAt(at(ins, 1), 0).size,
};
