// What attention keeps of earlier tokens: rows written where they belong, and queries over the rows up to their own.
import { dim, dimAt, elements, range, rankOf, sizeOf, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import { attend, expectHeads, MASKED } from "./attention.ts";
import type { OpDef, Product } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats } from "./op.ts";
import { roundTo } from "./round.ts";

function expectInts(op: string, what: string, x: TensorType, dims: readonly Dim[]): void {
  if (x.dtype !== "i32") broken(op, `${what} are i32, got ${x.dtype}`);
  expectDims(op, `${what} are`, x.dims, dims);
}

const updateRows: OpDef = {
  name: "update_rows",
  doc:
    "x [b, t, ..] with row positions[b, i] replaced by row i of fresh [b, s, ..], for i below lengths[b]; the positions " +
    "are distinct, and one outside of x is nowhere.",
  attrs: {},
  isWhole: true,
  infer(ins) {
    expectArity("update_rows", ins, 4);
    const [x, fresh, positions, lengths] = [at(ins, 0), at(ins, 1), at(ins, 2), at(ins, 3)];
    expectFloats("update_rows", x, fresh);
    if (rankOf(x) < 2 || rankOf(fresh) !== rankOf(x))
      broken("update_rows", "x is [b, t, ..] and fresh is [b, s, ..]");
    expectDims("update_rows", "fresh is", fresh.dims, [dimAt(x, 0), dimAt(fresh, 1), ...x.dims.slice(2)]);
    expectInts("update_rows", "positions", positions, fresh.dims.slice(0, 2));
    expectInts("update_rows", "lengths", lengths, fresh.dims.slice(0, 1));
    return [x];
  },
  decompose(k, ins) {
    const [x, fresh, positions, lengths] = [at(ins, 0), at(ins, 1), at(ins, 2), at(ins, 3)];
    const [b, t, ...rest] = k.dimsOf(x) as [Dim, Dim, ...Dim[]];
    const s = at(k.dimsOf(fresh), 1);
    const [one, width] = [dim("_", 1), dim("_", sizeOf(rest))];
    const counts = k.compare(k.iota(tensor("i32", [b, s]), 1), k.reshape(lengths, [b, one]), "LT");
    const place = k.select(counts, positions, k.scalar(-1, positions));
    const grid = k.iota(tensor("i32", [b, t, s]), 1);
    const isHere = k.compare(grid, k.reshape(place, [b, one, s]), "EQ");
    const rows = k.reshape(fresh, [b, one, s, width]);
    const spread = k.select(k.reshape(isHere, [b, t, s, one]), rows, k.scalar(0, rows));
    const count = k.sum(k.convert(isHere, "f32"), [2]);
    const isWritten = k.reshape(k.compare(count, k.scalar(0, count), "GT"), [b, t, one]);
    const next = k.select(isWritten, k.sum(spread, [2]), k.reshape(x, [b, t, width]));
    return [k.reshape(next, k.dimsOf(x))];
  },
  update(into, others, types) {
    const [fresh, positions, lengths] = [at(others, 0), at(others, 1), at(others, 2)];
    const [x, given] = [at(types, 0), at(types, 1)];
    const [steps, rows] = [dimAt(given, 1).size, dimAt(x, 1).size];
    const width = sizeOf(x.dims.slice(2));
    for (let b = 0; b < dimAt(x, 0).size; b++)
      for (let i = 0; i < Math.min(steps, lengths[b] as number); i++) {
        const from = b * steps + i;
        const row = positions[from] as number;
        if (row < 0 || row >= rows) continue;
        into.set(fresh.subarray(from * width, (from + 1) * width), (b * rows + row) * width);
      }
  },
  flops: () => 0,
};

/** Scores [t, columns] become weights: per column the softmax of its first `seen` rows, and zero after them. */
function weigh(scores: Float32Array, seen: Int32Array): void {
  const columns = seen.length;
  const top = new Float64Array(columns).fill(Number.NEGATIVE_INFINITY);
  const total = new Float64Array(columns);
  for (let i = 0, row = 0; i < scores.length; i += columns, row++)
    for (let c = 0; c < columns; c++)
      if (row < (seen[c] as number) && (scores[i + c] as number) > (top[c] as number))
        top[c] = scores[i + c] as number;
  for (let i = 0, row = 0; i < scores.length; i += columns, row++)
    for (let c = 0; c < columns; c++) {
      const weight = row < (seen[c] as number) ? Math.exp((scores[i + c] as number) - (top[c] as number)) : 0;
      scores[i + c] = weight;
      total[c] = (total[c] as number) + weight;
    }
  for (let i = 0; i < scores.length; i += columns)
    for (let c = 0; c < columns; c++) scores[i + c] = (scores[i + c] as number) / (total[c] as number);
}

const cachedAttention: OpDef<{ scale: number }> = {
  name: "cached_attention",
  doc:
    "attention over rows kept by position: query i of q [b, s, h, d] sees rows 0 to positions[b, i] of k and v " +
    "[b, t, kv, d]; a position below zero counts as zero.",
  attrs: { scale: "float" },
  isWhole: true,
  infer(ins) {
    expectArity("cached_attention", ins, 4);
    const [q, positions] = [at(ins, 0), at(ins, 3)];
    const out = expectHeads("cached_attention", ins.slice(0, 3));
    expectInts("cached_attention", "positions", positions, q.dims.slice(0, 2));
    return [out];
  },
  decompose(k, ins, { scale }) {
    const [q, key, value, positions] = [at(ins, 0), at(ins, 1), at(ins, 2), at(ins, 3)];
    const last = k.max(positions, k.scalar(0, positions));
    return [
      attend(k, q, key, value, scale, (scores) => {
        // [b, kv, group, s, t]
        const dims = k.dimsOf(scores);
        const rows = k.iota(tensor("i32", dims.slice(3)), 1);
        const own = k.reshape(
          last,
          dims.map((d, axis) => (axis === 0 || axis === 3 ? d : dim("_", 1))),
        );
        return k.select(k.compare(rows, own, "LE"), scores, k.scalar(MASKED, scores));
      }),
    ];
  },
  /** The same, on the rows that some query sees: what is kept for later costs nothing. */
  run(_tf, ins, { scale }, { outs, products, onHost }) {
    const [q, key, value] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    const out = at(outs, 0);
    const [b, s, h, d] = q.shape as [number, number, number, number];
    const [, t, kv, dv] = value.shape as [number, number, number, number];
    const seen = at(ins, 3)
      .dataSync()
      .map((position) => Math.min(Math.max(position, 0), t - 1) + 1) as Int32Array;
    // Nothing is done for rows that no query sees.
    const rows = seen.reduce((most, count) => Math.max(most, count), 1);
    const group = h / kv;
    const columns = group * s;
    // Columns of one key head's scores, (query head, query), as far as one step leads from each to the next.
    const spans =
      s === 1
        ? [{ first: 0, head: 0, count: group, step: 1 }]
        : range(group).map((head) => ({ first: head * s, head, count: s, step: h }));
    const places = range(b).flatMap((batch) =>
      range(kv).flatMap((kvHead) =>
        spans.map(({ head, first, ...span }) => ({
          ...span,
          query: batch * s * h + kvHead * group + head,
          row: batch * t * kv + kvHead,
          score: (batch * kv + kvHead) * rows * columns + first,
        })),
      ),
    );
    const type = tensor(
      "f32",
      [b, kv, rows, columns].map((size) => dim("_", size)),
    );
    const scores = products(
      key,
      q,
      type,
      places.map(
        ({ count, step, query, row, score }): Product => ({
          m: rows,
          k: d,
          n: count,
          a: { offset: row * d, row: kv * d, column: 1 },
          b: { offset: query * d, row: 1, column: step * d },
          c: { offset: score, row: columns },
        }),
      ),
    );
    const weights = onHost([scores], [type], (xs, ys) => {
      const own = at(ys, 0) as Float32Array;
      own.set(roundTo(out.dtype, at(xs, 0) as Float32Array));
      for (let i = 0; i < own.length; i++) own[i] = (own[i] as number) * scale;
      const size = rows * columns;
      for (let i = 0; i < b * kv; i++) {
        const batch = Math.floor(i / kv);
        const each = seen.subarray(batch * s, (batch + 1) * s);
        weigh(
          own.subarray(i * size, (i + 1) * size),
          Int32Array.from({ length: columns }, (_, c) => each[c % s] as number),
        );
      }
      own.set(roundTo(out.dtype, own));
    });
    return products(
      at(weights, 0),
      value,
      out,
      places.map(
        ({ count, step, query, row, score }): Product => ({
          m: count,
          k: rows,
          n: dv,
          a: { offset: score, row: 1, column: columns },
          b: { offset: row * dv, row: kv * dv, column: 1 },
          c: { offset: query * dv, row: step * dv },
        }),
      ),
    );
  },
  flops: (ins) => 4 * elements(at(ins, 0)) * dimAt(at(ins, 1), 1).size,
};

export const cacheOps: readonly OpDef[] = [updateRows, cachedAttention];
