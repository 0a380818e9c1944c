// Norms, activations and softmax: what a reader wants to see as one word.
import { dim, dimAt, elements, rankOf, tensor } from "../ir/shape.ts";
import type { TensorType } from "../ir/types.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats } from "./op.ts";

const lastAxis = (type: TensorType): number => rankOf(type) - 1;

/** A tensor of floats with a last axis. */
function expectRows(op: string, x: TensorType): void {
  expectFloats(op, x);
  if (rankOf(x) < 1) broken(op, "the operand has no last axis");
}

const softmax: OpDef = {
  name: "softmax",
  doc: "exp(x - max x) over its sum, along the last axis.",
  attrs: {},
  infer(ins) {
    expectArity("softmax", ins, 1);
    expectRows("softmax", at(ins, 0));
    return [at(ins, 0)];
  },
  decompose(k, ins) {
    const x = at(ins, 0);
    const axis = lastAxis(k.typeOf(x));
    const weights = k.exp(k.sub(x, k.maxKeep(x, axis)));
    return [k.div(weights, k.sumKeep(weights, axis))];
  },
  vjp(k, { dy, outs }) {
    const y = at(outs, 0);
    const scaled = k.mul(dy(0), y);
    return [k.sub(scaled, k.mul(y, k.sumKeep(scaled, lastAxis(k.typeOf(y)))))];
  },
  run: (tf, ins) => tf.softmax(at(ins, 0)),
  flops: (ins) => 5 * elements(at(ins, 0)),
};

const silu: OpDef = {
  name: "silu",
  doc: "x * sigmoid(x), also called swish.",
  attrs: {},
  infer(ins) {
    expectArity("silu", ins, 1);
    expectFloats("silu", at(ins, 0));
    return [at(ins, 0)];
  },
  decompose: (k, ins) => [k.mul(at(ins, 0), k.sigmoid(at(ins, 0)))],
  vjp(k, { dy, ins }) {
    const x = at(ins, 0);
    const s = k.sigmoid(x);
    const one = k.scalar(1, x);
    return [k.mul(dy(0), k.mul(s, k.add(one, k.mul(x, k.sub(one, s)))))];
  },
  flops: (ins) => 4 * elements(at(ins, 0)),
};

const softplus: OpDef = {
  name: "softplus",
  doc: "log(1 + e^x), without overflow.",
  attrs: {},
  infer(ins) {
    expectArity("softplus", ins, 1);
    expectFloats("softplus", at(ins, 0));
    return [at(ins, 0)];
  },
  decompose(k, ins) {
    const x = at(ins, 0);
    const magnitude = k.max(x, k.neg(x));
    return [k.add(k.max(x, k.scalar(0, x)), k.one("log_plus_one", [k.exp(k.neg(magnitude))]))];
  },
  vjp: (k, { dy, ins }) => [k.mul(dy(0), k.sigmoid(at(ins, 0)))],
  flops: (ins) => 4 * elements(at(ins, 0)),
};

const rmsNorm: OpDef<{ eps: number; offset: number }> = {
  name: "rms_norm",
  doc: "x / rms(x) * (offset + scale) over the last axis, in f32, cast once at the end (HF Qwen3NextRMSNorm: offset 1).",
  attrs: { eps: "float", offset: "float" },
  infer(ins) {
    expectArity("rms_norm", ins, 2);
    const [x, scale] = [at(ins, 0), at(ins, 1)];
    expectRows("rms_norm", x);
    expectFloats("rms_norm", scale);
    const last = dimAt(x, lastAxis(x));
    if (rankOf(scale) !== 1 || dimAt(scale, 0).size !== last.size)
      broken("rms_norm", `the scale has ${elements(scale)} elements, \`${last.label}\` has ${last.size}`);
    expectDims("rms_norm", "the scale is", scale.dims, [last]);
    return [x];
  },
  decompose(k, ins, { eps, offset }) {
    const [x, scale] = [k.convert(at(ins, 0), "f32"), k.convert(at(ins, 1), "f32")];
    const axis = lastAxis(k.typeOf(x));
    const count = dimAt(k.typeOf(x), axis).size;
    const meanSquare = k.mul(k.sumKeep(k.mul(x, x), axis), k.scalar(1 / count, x));
    const normal = k.mul(x, k.rsqrt(k.add(meanSquare, k.scalar(eps, x))));
    const weight = offset === 0 ? scale : k.add(scale, k.scalar(offset, scale));
    return [k.convert(k.mul(normal, weight), k.typeOf(at(ins, 0)).dtype)];
  },
  flops: (ins) => 5 * elements(at(ins, 0)),
};

const l2Norm: OpDef<{ eps: number }> = {
  name: "l2_norm",
  doc: "x * rsqrt(sum x² + eps) over the last axis; eps inside the root keeps the gradient at zero finite.",
  attrs: { eps: "float" },
  infer(ins) {
    expectArity("l2_norm", ins, 1);
    expectRows("l2_norm", at(ins, 0));
    return [at(ins, 0)];
  },
  decompose(k, ins, { eps }) {
    const x = k.convert(at(ins, 0), "f32");
    const square = k.sumKeep(k.mul(x, x), lastAxis(k.typeOf(x)));
    return [k.convert(k.mul(x, k.rsqrt(k.add(square, k.scalar(eps, x)))), k.typeOf(at(ins, 0)).dtype)];
  },
  flops: (ins) => 4 * elements(at(ins, 0)),
};

const swiglu: OpDef = {
  name: "swiglu",
  doc: "silu(gate) * up",
  attrs: {},
  infer(ins) {
    expectArity("swiglu", ins, 2);
    const [gate, up] = [at(ins, 0), at(ins, 1)];
    expectFloats("swiglu", gate, up);
    expectDims("swiglu", "up has gate's dims", up.dims, gate.dims);
    return [gate];
  },
  decompose: (k, ins) => [k.mul(k.one("silu", [at(ins, 0)]), at(ins, 1))],
  flops: (ins) => 5 * elements(at(ins, 0)),
};

const crossEntropy: OpDef<{ z_loss: number }> = {
  name: "cross_entropy",
  doc: "Per position logsumexp(logits) - logits[target] + z_loss * logsumexp², in f32 (MaxText z_loss_multiplier).",
  attrs: { z_loss: "float" },
  infer(ins) {
    expectArity("cross_entropy", ins, 2);
    const [logits, targets] = [at(ins, 0), at(ins, 1)];
    if (targets.dtype !== "i32" || rankOf(targets) !== rankOf(logits) - 1)
      broken("cross_entropy", "targets are i32, one per row of logits");
    expectFloats("cross_entropy", logits);
    expectDims("cross_entropy", "targets are", targets.dims, logits.dims.slice(0, -1));
    return [tensor("f32", targets.dims)];
  },
  decompose(k, ins, { z_loss }) {
    const [logits, targets] = [k.convert(at(ins, 0), "f32"), at(ins, 1)];
    const dims = k.dimsOf(targets);
    const axis = dims.length;
    const max = k.maxKeep(logits, axis);
    const shifted = k.sub(logits, max);
    const logSum = k.log(k.sum(k.exp(shifted), [axis]));
    const classes = k.iota(tensor("i32", k.dimsOf(logits)), axis);
    const isTarget = k.compare(k.reshape(targets, [...dims, dim("_", 1)]), classes, "EQ");
    const chosen = k.sum(k.select(isTarget, shifted, k.scalar(0, shifted)), [axis]);
    const loss = k.sub(logSum, chosen);
    if (z_loss === 0) return [loss];
    const lse = k.add(logSum, k.reshape(max, dims));
    return [k.add(loss, k.mul(k.scalar(z_loss, lse), k.mul(lse, lse)))];
  },
  vjp(k, { dy, ins, attrs: { z_loss } }) {
    const [logits, targets] = [k.convert(at(ins, 0), "f32"), at(ins, 1)];
    const dims = k.dimsOf(logits);
    const axis = dims.length - 1;
    const row = [...k.dimsOf(targets), dim("_", 1)];
    const probabilities = k.one("softmax", [logits]);
    const isTarget = k.compare(k.reshape(targets, row), k.iota(tensor("i32", dims), axis), "EQ");
    const g = k.reshape(dy(0), row);
    const pulled = k.mul(probabilities, logSumWeight());
    const dLogits = k.sub(pulled, k.select(isTarget, g, k.scalar(0, g)));
    return [k.convert(dLogits, k.typeOf(at(ins, 0)).dtype), null];

    /** d loss / d logsumexp = 1 + 2 * z_loss * logsumexp, times the cotangent. */
    function logSumWeight() {
      if (z_loss === 0) return g;
      const max = k.maxKeep(logits, axis);
      const lse = k.add(k.log(k.sumKeep(k.exp(k.sub(logits, max)), axis)), max);
      return k.mul(g, k.add(k.scalar(1, lse), k.mul(k.scalar(2 * z_loss, lse), lse)));
    }
  },
  flops: (ins) => 5 * elements(at(ins, 0)),
};

export const normalizationOps: readonly OpDef[] = [
  softmax,
  silu,
  softplus,
  rmsNorm,
  l2Norm,
  swiglu,
  crossEntropy,
];
