// Softmax attention and rotary positions.
import { dim, dimAt, elements, rankOf, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats } from "./op.ts";

/** Large and finite, so that a masked score minus the row's maximum is never nan. */
export const MASKED = -1e30;

/** Scores of later keys are masked: [.., q, k] where key index ≤ query index + (keys - queries). */
function causalMask<T>(k: K<T>, scores: T): T {
  const dims = k.dimsOf(scores);
  const [q, kv] = [at(dims, dims.length - 2), at(dims, dims.length - 1)];
  const grid = tensor("i32", [q, kv]);
  const offset = k.constant(kv.size - q.size, tensor("i32", []));
  const isSeen = k.compare(k.iota(grid, 1), k.add(k.iota(grid, 0), offset), "LE");
  return k.select(isSeen, scores, k.scalar(MASKED, scores));
}

/** What attention takes, q [b, s, h, d] and k, v [b, t, kv, d] with h a multiple of kv; its result's type. */
export function expectHeads(op: string, ins: readonly TensorType[]): TensorType {
  const [q, k, v] = [at(ins, 0), at(ins, 1), at(ins, 2)];
  if ([q, k, v].some((x) => rankOf(x) !== 4)) broken(op, "q, k and v have four dims");
  const [heads, kvHeads] = [dimAt(q, 2).size, dimAt(k, 2).size];
  if (heads % kvHeads !== 0) broken(op, `${heads} query heads are not a multiple of ${kvHeads} key heads`);
  expectFloats(op, q, k, v);
  expectDims(op, "k is", k.dims, [dimAt(q, 0), dimAt(k, 1), dimAt(k, 2), dimAt(q, 3)]);
  expectDims(op, "v is", v.dims, [...k.dims.slice(0, 3), dimAt(v, 3)]);
  return tensor(q.dtype, [...q.dims.slice(0, 3), dimAt(v, 3)]);
}

/** softmax(scale * q·kᵀ, f32)·v per head; `mask` sees the scores [b, kv, group, s, t]. */
export function attend<T>(k: K<T>, q: T, key: T, value: T, scale: number, mask: (scores: T) => T): T {
  const [b, s, h, d] = k.dimsOf(q) as [Dim, Dim, Dim, Dim];
  const [, t, kv] = k.dimsOf(key) as [Dim, Dim, Dim, Dim];
  const group = dim("_", h.size / kv.size);
  // Keys may be fewer or more than queries; they need a name of their own beside the queries'.
  const keys = dim("kv_seq", t.size);
  const q5 = k.transpose(k.reshape(q, [b, s, kv, group, d]), [0, 2, 3, 1, 4]);
  const kt = k.reshape(k.transpose(key, [0, 2, 1, 3]), [b, kv, keys, d]);
  const vt = k.transpose(value, [0, 2, 1, 3]);
  const vDims = k.dimsOf(vt);
  const scores = k.dot(q5, kt, {
    contract: [[4], [3]],
    batch: [
      [0, 1],
      [0, 1],
    ],
  });
  const scaled = k.mul(k.convert(scores, "f32"), k.constant(scale, tensor("f32", [])));
  const weights = k.convert(k.one("softmax", [mask(scaled)]), k.typeOf(q).dtype);
  const mixed = k.dot(weights, k.reshape(vt, [b, kv, keys, at(vDims, 3)]), {
    contract: [[4], [2]],
    batch: [
      [0, 1],
      [0, 1],
    ],
  });
  return k.reshape(k.transpose(mixed, [0, 3, 1, 2, 4]), [b, s, h, at(vDims, 3)]);
}

const attention: OpDef<{ scale: number; causal: boolean }> = {
  name: "attention",
  doc: "softmax(scale * q·kᵀ, f32)·v per head; q [b, s, h, d], k and v [b, t, kv, d], h a multiple of kv (GQA).",
  attrs: { scale: "float", causal: "bool" },
  infer(ins) {
    expectArity("attention", ins, 3);
    return [expectHeads("attention", ins)];
  },
  decompose: (k, ins, { scale, causal }) => [
    attend(k, at(ins, 0), at(ins, 1), at(ins, 2), scale, (scores) =>
      causal ? causalMask(k, scores) : scores,
    ),
  ],
  resume: {
    states: ["keys", "values"],
    isRewindable: true,
    run(k, ins, { scale, causal }, states, { positions, lengths }) {
      if (!causal) broken("attention", "only causal attention goes on from a state");
      const [keys, values] = states.map((state, i) =>
        k.one("update_rows", [state, at(ins, i + 1), positions, lengths]),
      ) as [(typeof ins)[number], (typeof ins)[number]];
      const out = k.one("cached_attention", [at(ins, 0), keys, values, positions], { scale });
      return { outs: [out], states: [keys, values] };
    },
  },
  /** A causal mask halves the work that counts, as MaxText counts it. */
  flops: (ins, _outs, { causal }) => (causal ? 2 : 4) * elements(at(ins, 0)) * dimAt(at(ins, 1), 1).size,
};

const rotaryEmbedding: OpDef<{ theta: number; rotary_dim: number }> = {
  name: "rotary_embedding",
  doc: "Rotate the first rotary_dim of the last axis by position, halves paired (HF rotate_half); angles in f32.",
  attrs: { theta: "float", rotary_dim: "int" },
  infer(ins, { rotary_dim }) {
    expectArity("rotary_embedding", ins, 2);
    const [x, positions] = [at(ins, 0), at(ins, 1)];
    if (rankOf(x) !== 4 || rankOf(positions) !== 2)
      broken("rotary_embedding", "takes [b, s, h, d] and positions [b, s]");
    expectFloats("rotary_embedding", x);
    expectDims("rotary_embedding", "positions are", positions.dims, x.dims.slice(0, 2));
    const width = dimAt(x, 3).size;
    if (rotary_dim % 2 !== 0 || rotary_dim < 2 || rotary_dim > width)
      broken("rotary_embedding", `rotary_dim is even and at most ${width}, got ${rotary_dim}`);
    return [x];
  },
  decompose(k, ins, { theta, rotary_dim }) {
    const [x, positions] = [at(ins, 0), at(ins, 1)];
    const { dtype, dims } = k.typeOf(x);
    const [b, s, , d] = dims as [Dim, Dim, Dim, Dim];
    const half = rotary_dim / 2;
    const index = k.iota(tensor("f32", [dim("_", half)]), 0);
    const frequency = k.exp(k.mul(index, k.scalar(-Math.log(theta) / half, index)));
    const angle = k.mul(k.reshape(k.convert(positions, "f32"), [b, s, dim("_", 1), dim("_", 1)]), frequency);
    const [cos, sin] = [k.convert(k.cos(angle), dtype), k.convert(k.sin(angle), dtype)];
    const [left, right] = [k.slice(x, 3, 0, half), k.slice(x, 3, half, rotary_dim)];
    const rotated = [k.sub(k.mul(left, cos), k.mul(right, sin)), k.add(k.mul(right, cos), k.mul(left, sin))];
    const rest = rotary_dim < d.size ? [k.slice(x, 3, rotary_dim, d.size)] : [];
    return [k.concat([...rotated, ...rest], 3)];
  },
  flops: (ins) => 3 * elements(at(ins, 0)),
};

export const attentionOps: readonly OpDef[] = [attention, rotaryEmbedding];
