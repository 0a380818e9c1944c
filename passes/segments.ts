// Where a program may be cut into layers, found by its structure alone.
//
// Follow the longest chain of values that depend on each other up to an end of the program; a value of this chain is a
// boundary when whatever depends on the chain's start reaches the end through it only. What lies between two
// boundaries is a segment, and layers are segments, or a few segments in a row, that compute the same from their
// boundary, from parameters and from values the chain has no part in.

import { formatType } from "../compiler/ir/shape.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
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
const ENDS = 8;

/** A result and what it is made of, nearest first. */
function endsOf(end: Value, makers: ReadonlyMap<Value, Node>): Value[] {
  const ends = new Set([end]);
  for (const x of ends) for (const y of makers.get(x)?.ins ?? []) if (ends.size < ENDS) ends.add(y);
  return [...ends];
}

/** The longest chain of values that ends with the given one. */
function chainTo(end: Value, block: Block): Value[] {
  const depth = new Map<Value, number>();
  const before = new Map<Value, Value>();
  const depthOf = (x: Value): number => depth.get(x) ?? 0;
  for (const { ins, outs } of block.nodes) {
    const deepest = ins.reduce<Value | undefined>(
      (best, x) => (best && depthOf(best) >= depthOf(x) ? best : x),
      undefined,
    );
    if (!deepest) continue;
    for (const out of outs) {
      depth.set(out, depthOf(deepest) + 1);
      before.set(out, deepest);
    }
  }
  const chain: Value[] = [];
  for (let x: Value | undefined = end; x; x = before.get(x)) chain.push(x);
  return chain.reverse();
}

/** The latest value of a chain that each value depends on, by its place in the chain. */
function latestOf(block: Block, chain: readonly Value[]): ReadonlyMap<Value, number> {
  const latest = new Map(chain.map((x, place) => [x, place]));
  for (const { ins, outs } of block.nodes) {
    const place = Math.max(-1, ...ins.map((x) => latest.get(x) ?? -1));
    if (place >= 0) for (const out of outs) if (!latest.has(out)) latest.set(out, place);
  }
  return latest;
}

/** The values of a chain that no way from its start to its end goes around. */
function boundariesOf(block: Block, chain: readonly Value[], latest: ReadonlyMap<Value, number>): Value[] {
  const places = new Map(chain.map((x, place) => [x, place]));
  /** The earliest value of the chain that each value is needed for. */
  const earliest = new Map<Value, number>(places);
  /** For each value of the chain, the earliest one that a way around the values between them starts from. */
  const around = chain.map((_, place) => place - 1);
  for (const { ins, outs } of block.nodes.toReversed()) {
    const needed = Math.min(...outs.map((out) => earliest.get(out) ?? Number.POSITIVE_INFINITY));
    if (needed >= chain.length) continue;
    for (const x of ins) {
      const from = latest.get(x);
      if (from !== undefined && from < (around[needed] ?? 0)) around[needed] = from;
      if (!places.has(x)) earliest.set(x, Math.min(needed, earliest.get(x) ?? needed));
    }
  }
  const found: number[] = [];
  around.forEach((from, place) => {
    while ((found.at(-1) ?? -1) > from) found.pop();
    found.push(place);
  });
  return found.flatMap((place) => chain.slice(place, place + 1));
}

/** Segments of a block: along the chain to its first result, or to what that is made of if that has far more. */
export function segmentsOf(block: Block): Segment[] {
  const [end] = block.results;
  if (!end) return [];
  const makers = new Map(block.nodes.flatMap((each) => each.outs.map((out) => [out, each] as const)));
  const tried = endsOf(end, makers).map((x) => {
    const chain = chainTo(x, block);
    const latest = latestOf(block, chain);
    return { latest, boundaries: boundariesOf(block, chain, latest) };
  });
  const most = Math.max(...tried.map(({ boundaries }) => boundaries.length));
  const best = tried.find(({ boundaries }) => 2 * boundaries.length >= most);
  return best ? cut(block, best.boundaries, best.latest) : [];
}

/** Where the first segment begins: after what is computed ahead of it for later segments too. */
function afterShared(
  { nodes }: Block,
  latest: ReadonlyMap<Value, number>,
  [from = 0, to = 0]: readonly number[],
): number {
  const own = nodes.slice(from, to);
  const ahead = own.slice(
    0,
    own.findIndex(({ outs }) => outs.some((out) => latest.has(out))),
  );
  const readLater = new Set(nodes.slice(to).flatMap(({ ins }) => ins));
  return from + ahead.findLastIndex(({ outs }) => outs.some((out) => readLater.has(out))) + 1;
}

function cut(block: Block, boundaries: readonly Value[], latest: ReadonlyMap<Value, number>): Segment[] {
  const homes = new Map<Value, number>();
  block.nodes.forEach(({ outs }, i) => {
    for (const out of outs) homes.set(out, i);
  });
  const cuts = boundaries.map((x) => (homes.get(x) ?? -1) + 1);
  cuts[0] = afterShared(block, latest, cuts);
  const parameters = new Set(block.params);
  const starts: number[] = [];
  return cuts.slice(1).map((to, i): Segment => {
    const from = cuts[i] ?? 0;
    starts.push(from);
    const boundary = boundaries[i];
    /** An operand by where it is from: this segment, the boundary, an earlier segment, or outside of the chain. */
    const place = (x: Value): string => {
      const home = homes.get(x) ?? -1;
      if (home >= from) return `${home - from}.${block.nodes[home]?.outs.indexOf(x)}`;
      if (x === boundary) return "boundary";
      if (!latest.has(x) || home < (starts[0] ?? 0)) return "outside";
      const back = starts.findLastIndex((start) => start <= home);
      return `${i - back} back ${home - (starts[back] ?? 0)}.${block.nodes[home]?.outs.indexOf(x)}`;
    };
    const nodes = block.nodes.slice(from, to);
    return {
      from,
      to,
      key: nodes.map((each) => nodeKey(each, (x) => `${place(x)}:${formatType(x.type)}`)).join(";"),
      outline: nodes.map(({ op, ins }) => `${op.name}(${ins.map(place).join()})`).join(";"),
      readsParameters: nodes.some(({ ins }) => ins.some((x) => x !== boundary && parameters.has(x))),
    };
  });
}

/** Segments in a row that repeat: `count` rounds of `cycle` segments, and how many more follow in the same rhythm. */
export type Run = {
  readonly start: number;
  readonly cycle: number;
  readonly count: number;
  readonly slack: number;
};

/** The longest cycle that is looked for, in segments: a layer of attention and experts has two. */
const LONGEST = 64;

/**
 * From left to right, of what begins here the repetition that covers most; the shorter cycle if two cover the same.
 * `settle` may move a run right within its slack.
 */
export function runsOf(
  segments: readonly Segment[],
  keyOf: (segment: Segment) => string,
  settle: (run: Run) => Run = (run) => run,
): Run[] {
  const ids = new Map<string, number>();
  const row = segments.map((segment) => {
    const key = keyOf(segment);
    if (!ids.has(key)) ids.set(key, ids.size);
    return ids.get(key);
  });
  const longest = Math.min(LONGEST, Math.floor(row.length / 2));
  /** How long the row equals itself moved by a cycle, from each segment on. */
  const lasting = Array.from({ length: longest }, (_, i) => {
    const same = new Array<number>(row.length).fill(0);
    for (let at = row.length - 2 - i; at >= 0; at--)
      if (row[at] === row[at + i + 1]) same[at] = (same[at + 1] ?? 0) + 1;
    return same;
  });
  const runs: Run[] = [];
  for (let start = 0; start < row.length; ) {
    const found = bestAt(start);
    const run = found && settle(found);
    if (run) runs.push(run);
    start = run ? run.start + run.cycle * run.count : start + 1;
  }
  return runs;

  function bestAt(start: number): Run | undefined {
    let best: Run | undefined;
    lasting.forEach((same, i) => {
      const cycle = i + 1;
      const span = (same[start] ?? 0) + cycle;
      const count = Math.floor(span / cycle);
      const isLonger = count > 1 && (!best || count * cycle > best.count * best.cycle);
      if (isLonger && segments.slice(start, start + cycle).some((each) => each.readsParameters))
        best = { start, cycle, count, slack: span - count * cycle };
    });
    return best;
  }
}
