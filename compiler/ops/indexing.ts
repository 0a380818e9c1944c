// Ops that read or write by index, sort, and count; and the grouped products that sparse MoE is made of.
import { expertCapacity } from "../expert-capacity.ts";
import { dim, dimAt, elements, formatDims, range, rankOf, tensor } from "../ir/shape.ts";
import type { TensorType } from "../ir/types.ts";
import type { NumberArray } from "./loops.ts";
import type { OpDef, Tensor } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats, expectLabel } from "./op.ts";

function expectIndices(op: string, type: TensorType): void {
  if (type.dtype !== "i32") broken(op, `indices are i32, got ${type.dtype}`);
}

/** out[i] = rows[indices[i]] over rows of `width` elements. */
function takeRows(rows: NumberArray, indices: NumberArray, out: NumberArray, width: number): void {
  for (let i = 0; i < indices.length; i++) {
    const from = (indices[i] as number) * width;
    if (from < 0 || from >= rows.length) broken("take", `index ${indices[i]} of ${rows.length / width} rows`);
    out.set(rows.subarray(from, from + width), i * width);
  }
}

const take: OpDef = {
  name: "take",
  doc: "Rows of the first operand (along axis 0) at the given indices; an embedding lookup.",
  attrs: {},
  infer(ins) {
    expectArity("take", ins, 2);
    const [x, indices] = [at(ins, 0), at(ins, 1)];
    expectIndices("take", indices);
    if (rankOf(x) < 1) broken("take", "the first operand has no axis 0");
    return [tensor(x.dtype, [...indices.dims, ...x.dims.slice(1)])];
  },
  vjp: (k, { dy, ins }) => [k.one("scatter_add", [at(ins, 1), dy(0)], { type: k.typeOf(at(ins, 0)) }), null],
  run: (_tf, ins, _attrs, { onHost, outs }) =>
    onHost(ins, outs, (xs, ys) =>
      takeRows(at(xs, 0), at(xs, 1), at(ys, 0), at(ins, 0).size / at(at(ins, 0).shape, 0)),
    ),
  flops: () => 0,
};

/** out[indices[i]] += updates[i] over rows of `width` elements; later sums build on rounded ones. */
function scatterRows(indices: NumberArray, updates: NumberArray, out: NumberArray, width: number): void {
  out.fill(0);
  for (let i = 0; i < indices.length; i++) {
    const to = (indices[i] as number) * width;
    const from = i * width;
    for (let j = 0; j < width; j++) out[to + j] = (out[to + j] as number) + (updates[from + j] as number);
  }
}

const scatterAdd: OpDef<{ type: TensorType }> = {
  name: "scatter_add",
  doc: "Zeros with each update row added at its index along axis 0; the transpose of take.",
  attrs: { type: "type" },
  infer(ins, { type }) {
    expectArity("scatter_add", ins, 2);
    const [indices, updates] = [at(ins, 0), at(ins, 1)];
    expectIndices("scatter_add", indices);
    expectFloats("scatter_add", updates);
    expectDims(
      "scatter_add",
      "updates begin with the indices' dims",
      updates.dims.slice(0, rankOf(indices)),
      indices.dims,
    );
    const rowDims = updates.dims.slice(rankOf(indices));
    if (rowDims.length !== rankOf(type) - 1 || rowDims.some((d, i) => d.size !== dimAt(type, i + 1).size))
      broken("scatter_add", `update rows [${formatDims(rowDims)}] do not fit [${formatDims(type.dims)}]`);
    return [tensor(updates.dtype, type.dims)];
  },
  vjp: (k, { dy, ins }) => [null, k.take(dy(0), at(ins, 0))],
  run: (_tf, ins, { type }, { onHost, outs }) =>
    onHost(ins, outs, (xs, ys) =>
      scatterRows(at(xs, 0), at(xs, 1), at(ys, 0), elements(type) / dimAt(type, 0).size),
    ),
};

/** The k largest of each row, larger first, the lower index first among equals. */
function topRows(
  x: ArrayLike<number>,
  width: number,
  k: number,
): { values: Float32Array; indices: Int32Array } {
  const rows = x.length / width;
  const values = new Float32Array(rows * k);
  const indices = new Int32Array(rows * k);
  const order = new Int32Array(width);
  for (let row = 0; row < rows; row++) {
    const base = row * width;
    for (let i = 0; i < width; i++) order[i] = i;
    order.sort((i, j) => (x[base + j] ?? 0) - (x[base + i] ?? 0) || i - j);
    for (let i = 0; i < k; i++) {
      const index = order[i] ?? 0;
      indices[row * k + i] = index;
      values[row * k + i] = x[base + index] ?? 0;
    }
  }
  return { values, indices };
}

const topK: OpDef<{ k: number; label: string }> = {
  name: "top_k",
  doc: "The k largest elements of the last axis and their indices; the lower index first among equals.",
  attrs: { k: "int", label: "string" },
  infer(ins, { k, label }) {
    expectArity("top_k", ins, 1);
    const x = at(ins, 0);
    expectFloats("top_k", x);
    expectLabel("top_k", label);
    if (rankOf(x) < 1) broken("top_k", "the operand has no last axis");
    const last = dimAt(x, rankOf(x) - 1);
    if (k < 1 || k > last.size) broken("top_k", `k=${k} of \`${last.label}=${last.size}\``);
    const dims = [...x.dims.slice(0, -1), dim(label, k)];
    return [tensor(x.dtype, dims), tensor("i32", dims)];
  },
  vjp(kk, { dy, ins, outs }) {
    const xDims = kk.dimsOf(at(ins, 0));
    const [values, indices] = [dy(0), at(outs, 1)];
    const chosen = kk.dimsOf(indices);
    const rank = xDims.length;
    const grid = tensor("i32", [...chosen, at(xDims, rank - 1)]);
    const isHere = kk.compare(kk.reshape(indices, [...chosen, dim("_", 1)]), kk.iota(grid, rank), "EQ");
    const spread = kk.reshape(values, [...chosen, dim("_", 1)]);
    return [kk.sum(kk.select(isHere, spread, kk.scalar(0, spread)), [rank - 1])];
  },
  run(tf, ins, { k }) {
    const x = at(ins, 0);
    const width = at(x.shape, x.rank - 1);
    const { values, indices } = topRows(x.dataSync(), width, k);
    const shape = [...x.shape.slice(0, -1), k];
    return [tf.tensor(values, shape, "float32"), tf.tensor(indices, shape, "int32")];
  },
};

const argsort: OpDef = {
  name: "argsort",
  doc: "The stable permutation that sorts a vector of integers ascending.",
  attrs: {},
  discrete: true,
  infer(ins) {
    expectArity("argsort", ins, 1);
    const x = at(ins, 0);
    if (x.dtype !== "i32" || rankOf(x) !== 1) broken("argsort", "sorts a vector of i32");
    return [x];
  },
  run(tf, ins) {
    const x = at(ins, 0).dataSync();
    const order = Int32Array.from(range(x.length));
    order.sort((i, j) => (x[i] ?? 0) - (x[j] ?? 0) || i - j);
    return tf.tensor(order, at(ins, 0).shape, "int32");
  },
};

const bincount: OpDef<{ type: TensorType }> = {
  name: "bincount",
  doc: "How often each index occurs; what is no index of the result is not counted.",
  attrs: { type: "type" },
  discrete: true,
  infer(ins, { type }) {
    expectArity("bincount", ins, 1);
    expectIndices("bincount", at(ins, 0));
    if (rankOf(type) !== 1 || type.dtype !== "i32") broken("bincount", "gives a vector of i32");
    return [type];
  },
  run(tf, ins, { type }) {
    const counts = new Int32Array(elements(type));
    for (const index of at(ins, 0).dataSync()) {
      const count = counts[index];
      if (count !== undefined) counts[index] = count + 1;
    }
    return tf.tensor(counts, [counts.length], "int32");
  },
};

/** Each row's ids, in order, as long as an expert has room; then `experts`, which is no expert's id. */
function admitRows(
  ids: NumberArray,
  out: NumberArray,
  {
    width,
    experts,
    capacity,
  }: { readonly width: number; readonly experts: number; readonly capacity: number },
): void {
  const taken = new Int32Array(experts);
  for (let i = 0; i < ids.length; i++) {
    if (i % width === 0) taken.fill(0);
    const id = ids[i] as number;
    const before = taken[id];
    if (before === undefined || before >= capacity) out[i] = experts;
    else {
      out[i] = id;
      taken[id] = before + 1;
    }
  }
}

const limitToCapacity: OpDef<{ experts: number; capacity_factor: number }> = {
  name: "limit_to_capacity",
  doc: "Each row's expert ids in order of priority, with the number of experts in place of those that come after their expert is full: int(max(ceil(row / experts) * capacity_factor, capacity_factor)) ids (MaxText moe.py).",
  attrs: { experts: "int", capacity_factor: "float" },
  discrete: true,
  infer(ins, { experts, capacity_factor }) {
    expectArity("limit_to_capacity", ins, 1);
    const x = at(ins, 0);
    expectIndices("limit_to_capacity", x);
    if (rankOf(x) < 1) broken("limit_to_capacity", "the operand has no last axis");
    if (experts < 1) broken("limit_to_capacity", `experts=${experts}, expected at least 1`);
    if (!(capacity_factor > 0))
      broken("limit_to_capacity", `capacity_factor=${capacity_factor}, expected above 0`);
    return [x];
  },
  run(_tf, ins, { experts, capacity_factor }, { onHost, outs }) {
    const type = at(outs, 0);
    const width = dimAt(type, rankOf(type) - 1).size;
    const capacity = expertCapacity(width, experts, capacity_factor);
    return onHost(ins, outs, (xs, ys) => admitRows(at(xs, 0), at(ys, 0), { width, experts, capacity }));
  },
  flops: () => 0,
};

type Rows = { readonly group: number; readonly start: number; readonly count: number };

/** Consecutive rows by group, of as many as there are, and how many rows the groups have together. */
function groupsOf(sizes: Tensor, rows: number): { groups: Rows[]; used: number } {
  let used = 0;
  const groups = Array.from(sizes.dataSync(), (size, group) => {
    const start = used;
    const count = Math.min(Math.max(size, 0), rows - start);
    used += count;
    return { group, start, count };
  });
  return { groups, used };
}

function expectGroups(op: string, sizes: TensorType, groups: number): void {
  expectIndices(op, sizes);
  if (elements(sizes) !== groups) broken(op, `${elements(sizes)} group sizes for ${groups} groups`);
}

const raggedDot: OpDef = {
  name: "ragged_dot",
  doc: "Rows in consecutive groups, each group times its own matrix: [m, k] × [g, k, n] → [m, n]; as lax.ragged_dot.",
  attrs: {},
  infer(ins) {
    expectArity("ragged_dot", ins, 3);
    const [lhs, rhs, sizes] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    expectFloats("ragged_dot", lhs, rhs);
    if (rankOf(lhs) !== 2 || rankOf(rhs) !== 3) broken("ragged_dot", "takes [m, k] and [g, k, n]");
    if (dimAt(lhs, 1).size !== dimAt(rhs, 1).size)
      broken("ragged_dot", `contracted dims differ: [${formatDims(lhs.dims)}] and [${formatDims(rhs.dims)}]`);
    expectGroups("ragged_dot", sizes, dimAt(rhs, 0).size);
    return [tensor(lhs.dtype, [dimAt(lhs, 0), dimAt(rhs, 2)])];
  },
  vjp: (k, { dy, ins }) => [
    k.one("ragged_dot", [dy(0), k.swapLast(at(ins, 1)), at(ins, 2)]),
    k.one("ragged_outer", [at(ins, 0), dy(0), at(ins, 2)], { label: at(k.dimsOf(at(ins, 1)), 0).label }),
    null,
  ],
  run(_tf, ins, _attrs, { outs, products }) {
    const [lhs, rhs, sizes] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    const [m, k, n] = [at(lhs.shape, 0), at(lhs.shape, 1), at(rhs.shape, 2)];
    const { groups, used } = groupsOf(sizes, m);
    const rest = { group: 0, start: used, count: m - used };
    const all = [...groups, rest].map((rows) => ({
      m: rows.count,
      k: rows === rest ? 0 : k,
      n,
      a: { offset: rows.start * k, row: k, column: 1 },
      b: { offset: rows.group * k * n, row: n, column: 1 },
      c: { offset: rows.start * n, row: n },
    }));
    return products(lhs, rhs, at(outs, 0), all);
  },
  flops: (ins) => 2 * elements(at(ins, 0)) * dimAt(at(ins, 1), 2).size,
};

const raggedOuter: OpDef<{ label: string }> = {
  name: "ragged_outer",
  doc: "Per group of rows the product lhsᵀ·rhs: [m, k] and [m, n] → [g, k, n]; the weight gradient of ragged_dot.",
  attrs: { label: "string" },
  infer(ins, { label }) {
    expectArity("ragged_outer", ins, 3);
    const [lhs, rhs, sizes] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    if (rankOf(lhs) !== 2 || rankOf(rhs) !== 2 || dimAt(lhs, 0).size !== dimAt(rhs, 0).size)
      broken(
        "ragged_outer",
        `takes [m, k] and [m, n], got [${formatDims(lhs.dims)}] and [${formatDims(rhs.dims)}]`,
      );
    expectFloats("ragged_outer", lhs, rhs);
    expectLabel("ragged_outer", label);
    expectIndices("ragged_outer", sizes);
    return [tensor(lhs.dtype, [dim(label, elements(sizes)), dimAt(lhs, 1), dimAt(rhs, 1)])];
  },
  vjp: (k, { dy, ins }) => [
    k.one("ragged_dot", [at(ins, 1), k.swapLast(dy(0)), at(ins, 2)]),
    k.one("ragged_dot", [at(ins, 0), dy(0), at(ins, 2)]),
    null,
  ],
  run(_tf, ins, _attrs, { outs, products }) {
    const [lhs, rhs, sizes] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    const [m, n] = [at(lhs.shape, 1), at(rhs.shape, 1)];
    const all = groupsOf(sizes, at(lhs.shape, 0)).groups.map(({ group, start, count }) => ({
      m,
      k: count,
      n,
      a: { offset: start * m, row: 1, column: m },
      b: { offset: start * n, row: n, column: 1 },
      c: { offset: group * m * n, row: n },
    }));
    return products(lhs, rhs, at(outs, 0), all);
  },
  flops: (ins) => 2 * elements(at(ins, 0)) * dimAt(at(ins, 1), 1).size,
};

export const indexingOps: readonly OpDef[] = [
  take,
  scatterAdd,
  topK,
  argsort,
  bincount,
  limitToCapacity,
  raggedDot,
  raggedOuter,
];
