// Where a program may be cut into layers, found by its structure alone.
//
// Follow the longest chain of values that depend on each other up to an end of the program; a value of this chain is a
// boundary when whatever depends on the chain's start reaches the end through it only. What lies between two
// boundaries is a segment, and layers are segments, or a few segments in a row, that compute the same from their
// boundary, from parameters and from values the chain has no part in.

import { isFloat } from "../compiler/dtype.ts";
import { formatType, range } from "../compiler/ir/shape.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
import { runsOf } from "./runs.ts";
import { nodeKey } from "./structure.ts";

/** Consecutive nodes of a block, from one boundary to the next. */
export type Segment = {
  readonly from: number;
  readonly to: number;
  /** Equal for segments that compute the same. */
  readonly key: string;
  /** Equal for segments of the same ops, whatever their attributes and types. */
  readonly outline: string;
  readonly readsParameters: boolean;
};

/** How many values near the end are tried as the chain's end: a loss is a sum of the model's and of by-products. */
const ENDS = 4;
/** How many values of the chain are tried as its start: what all layers read cannot be, as an embedding that is tied. */
const STARTS = 4;

/** A chain and the latest of its values that each value depends on, both by place in the chain. */
type Chain = { readonly values: readonly Value[]; readonly latest: ReadonlyMap<Value, number> };
/** The values of a chain that no way from a start to its end goes around. */
type Boundaries = { readonly chain: Chain; readonly start: number; readonly places: readonly number[] };

/** A result and what it is made of, nearest first. */
function endsOf(end: Value, { nodes }: Block): Value[] {
  const makers = new Map(nodes.flatMap((each) => each.outs.map((out) => [out, each] as const)));
  const ends = new Set([end]);
  for (const x of ends) for (const y of makers.get(x)?.ins ?? []) if (ends.size < ENDS) ends.add(y);
  return [...ends];
}

/** The longest chain that ends with a value. Integers given and what is made of them alone have no part: ids, masks. */
function chainTo(end: Value, { params, nodes }: Block): Chain {
  const depth = new Map<Value, number>();
  const before = new Map<Value, Value>();
  for (const param of params) if (isFloat(param.type.dtype)) depth.set(param, 0);
  for (const { ins, outs } of nodes) {
    let deepest: Value | undefined;
    for (const x of ins) if ((depth.get(x) ?? -1) > (deepest ? (depth.get(deepest) ?? -1) : -1)) deepest = x;
    if (!deepest) continue;
    for (const out of outs) {
      depth.set(out, (depth.get(deepest) ?? 0) + 1);
      before.set(out, deepest);
    }
  }
  const values: Value[] = [];
  for (let x: Value | undefined = end; x; x = before.get(x)) values.push(x);
  values.reverse();
  const latest = new Map(values.map((x, place) => [x, place]));
  for (const { ins, outs } of nodes) {
    const place = Math.max(-1, ...ins.map((x) => latest.get(x) ?? -1));
    if (place >= 0) for (const out of outs) if (!latest.has(out)) latest.set(out, place);
  }
  return { values, latest };
}

/** The boundaries from each start. */
function boundariesOf({ nodes }: Block, chain: Chain): Boundaries[] {
  const { values, latest } = chain;
  const onChain = new Set(values);
  /** The earliest value of the chain that each value is needed for. */
  const earliest = new Map(values.map((x, place) => [x, place]));
  /** From each start, for each value of the chain: the earliest one that a way around those between them leaves. */
  const around = range(STARTS).map(() => values.map((_, place) => place - 1));
  for (const { ins, outs } of nodes.toReversed()) {
    const needed = Math.min(...outs.map((out) => earliest.get(out) ?? Number.POSITIVE_INFINITY));
    if (needed >= values.length) continue;
    for (const x of ins) {
      const from = latest.get(x) ?? -1;
      for (const [start, row] of around.entries())
        if (start <= from) row[needed] = Math.min(from, row[needed] ?? from);
      if (!onChain.has(x)) earliest.set(x, Math.min(needed, earliest.get(x) ?? needed));
    }
  }
  return around.map((row, start) => {
    const places: number[] = [];
    row.forEach((from, place) => {
      while (from < (places.at(-1) ?? from)) places.pop();
      if (place >= start) places.push(place);
    });
    return { chain, start, places };
  });
}

/** Segments of a block, from the start and to the end with which most nodes repeat. */
export function segmentsOf(block: Block): Segment[] {
  const [result] = block.results;
  const tried = (result ? endsOf(result, block) : []).flatMap((end) => {
    const starts = boundariesOf(block, chainTo(end, block));
    return starts.filter(
      ({ places }, i) => !starts.slice(0, i).some((earlier) => isPartOf(places, earlier.places)),
    );
  });
  const numbers = numbersOf(block);
  const cuts = tried.map((each) => {
    const segments = cut(block, each, numbers);
    const runs = runsOf(segments, ({ key }) => key);
    return { segments, repeated: runs.reduce((sum, { from, to }) => sum + to - from, 0) };
  });
  const most = Math.max(...cuts.map(({ repeated }) => repeated));
  return cuts.find(({ repeated }) => repeated === most)?.segments ?? [];
}

const isPartOf = (some: readonly number[], all: readonly number[]): boolean => {
  const whole = new Set(all);
  return some.every((x) => whole.has(x));
};

/** A number for each node, the same for the same op, attributes, types and regions. */
function numbersOf({ nodes }: Block): ReadonlyMap<Node, number> {
  const numbers = new Map<string, number>();
  return new Map(
    nodes.map((each) => {
      const key = nodeKey(each, () => "");
      const number = numbers.get(key) ?? numbers.size;
      numbers.set(key, number);
      return [each, number];
    }),
  );
}

/** Where the first segment begins: after what is computed ahead of it for later segments too. */
function afterShared(
  { nodes }: Block,
  isOutside: (x: Value) => boolean,
  [from = 0, to = 0]: readonly number[],
): number {
  const own = nodes.slice(from, to);
  const ahead = own.slice(
    0,
    own.findIndex(({ outs }) => !outs.every(isOutside)),
  );
  const readLater = new Set(nodes.slice(to).flatMap(({ ins }) => ins));
  return from + ahead.findLastIndex(({ outs }) => outs.some((out) => readLater.has(out))) + 1;
}

function cut(
  block: Block,
  { chain, start, places }: Boundaries,
  numbers: ReadonlyMap<Node, number>,
): Segment[] {
  const homes = new Map<Value, number>();
  block.nodes.forEach(({ outs }, i) => {
    for (const out of outs) homes.set(out, i);
  });
  const isOutside = (x: Value): boolean => (chain.latest.get(x) ?? -1) < start;
  const boundaries = places.flatMap((place) => chain.values.slice(place, place + 1));
  const cuts = boundaries.map((x) => (homes.get(x) ?? -1) + 1);
  cuts[0] = afterShared(block, isOutside, cuts);
  const parameters = new Set(block.params);
  return cuts.slice(1).map((to, i): Segment => {
    const from = cuts[i] ?? 0;
    const boundary = boundaries[i];
    /** An operand by where it is from: this segment, the boundary, an earlier segment, or outside of the chain. */
    const origin = (x: Value): string => {
      const home = homes.get(x) ?? -1;
      if (home >= from) return `${home - from}.${block.nodes[home]?.outs.indexOf(x)}`;
      if (x === boundary) return "boundary";
      if (isOutside(x) || home < (cuts[0] ?? 0)) return "outside";
      const back = segmentAt(cuts, home);
      return `${i - back} back ${home - (cuts[back] ?? 0)}.${block.nodes[home]?.outs.indexOf(x)}`;
    };
    const originAndType = (x: Value): string =>
      (homes.get(x) ?? -1) >= from ? origin(x) : `${origin(x)} ${formatType(x.type)}`;
    const nodes = block.nodes.slice(from, to);
    return {
      from,
      to,
      key: nodes
        .map((each) => `${numbers.get(each)}(${each.ins.map((x) => originAndType(x)).join()})`)
        .join(";"),
      outline: nodes.map(({ op, ins }) => `${op.name}(${ins.map(origin).join()})`).join(";"),
      readsParameters: nodes.some(({ ins }) => ins.some((x) => x !== boundary && parameters.has(x))),
    };
  });
}

/** The last of rising numbers that is not above one. */
function segmentAt(cuts: readonly number[], node: number): number {
  let [low, high] = [0, cuts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((cuts[middle] ?? node + 1) <= node) low = middle;
    else high = middle;
  }
  return low;
}
