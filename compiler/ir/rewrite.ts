// Walking and rebuilding blocks.
import { type NodeOptions, node, value } from "./build.ts";
import type { Block, Node, Value } from "./types.ts";

export type Substitution = Map<Value, Value>;

/** What a value stands for now. */
export const resolve = (map: ReadonlyMap<Value, Value>, x: Value): Value => map.get(x) ?? x;

/** What values stand for now. */
export const resolveAll = (map: ReadonlyMap<Value, Value>, xs: readonly Value[]): Value[] =>
  xs.map((x) => map.get(x) ?? x);

/** Lets each value stand for the one at its place from here on. */
export function substitute(map: Substitution, xs: readonly Value[], by: readonly Value[]): void {
  xs.forEach((x, i) => {
    const to = by[i];
    if (to && to !== x) map.set(x, to);
  });
}

/**
 * A block node by node. `rule` returns what replaces a node (its operands and regions already rewritten), or
 * nothing to keep it; the values it returns stand for the node's results from there on.
 */
export function rewriteBlock(
  block: Block,
  rule: (node: Node) => { nodes: readonly Node[]; outs: readonly Value[] } | undefined,
): Block {
  const map: Substitution = new Map();
  const nodes: Node[] = [];
  for (const old of block.nodes) {
    const fresh = withOperands(
      old,
      resolveAll(map, old.ins),
      old.regions.map((region) => rewriteBlock(region, rule)),
    );
    const replaced = rule(fresh) ?? { nodes: [fresh], outs: fresh.outs };
    nodes.push(...replaced.nodes);
    substitute(map, old.outs, replaced.outs);
  }
  return { params: block.params, nodes, results: resolveAll(map, block.results) };
}

/** The same node over other operands and regions; itself when nothing changes. */
export function withOperands(
  old: Node,
  ins: readonly Value[],
  regions: readonly Block[] = old.regions,
): Node {
  const isSame = ins.every((x, i) => x === old.ins[i]) && regions.every((r, i) => r === old.regions[i]);
  if (isSame) return old;
  const options: NodeOptions = {
    attrs: old.attrs,
    regions,
    hints: old.outs.map((x) => x.hint),
    loc: old.loc,
  };
  return node(old.op, ins, options);
}

/** The block without the ops that only name their operand. */
export const withoutTags = (block: Block): Block =>
  rewriteBlock(block, ({ op, ins }) => (op.tag ? { nodes: [], outs: ins } : undefined));

/** Every node of a block and of its regions, outermost first. */
export function* allNodes(block: Block): Generator<Node> {
  for (const each of block.nodes) {
    yield each;
    for (const region of each.regions) yield* allNodes(region);
  }
}

/** Drops nodes whose results nobody reads, in regions too, and what regions take and yield for nobody. All ops are pure. */
export function dropDead(block: Block): Block {
  const live = new Set<Value>(block.results);
  const kept: Node[] = [];
  for (const each of block.nodes.toReversed()) {
    if (!each.outs.some((out) => live.has(out))) continue;
    const left = each.regions.length > 0 ? pruned(each, live) : each;
    for (const x of left.ins) live.add(x);
    kept.push(left);
  }
  return { ...block, nodes: kept.reverse() };
}

function pruned(whole: Node, live: ReadonlySet<Value>): Node {
  const { op, ins, outs, attrs, regions } = whole;
  if (!op.prune) return { ...whole, regions: regions.map(dropDead) };
  const isLive = (i: number): boolean => outs.some((out, j) => i === j && live.has(out));
  const left = op.prune({ ins: [...ins.keys()], outs: [...outs.keys()], attrs, regions }, isLive, dropDead);
  return {
    ...whole,
    attrs: left.attrs,
    regions: left.regions,
    ins: ins.filter((_, i) => left.ins.includes(i)),
    outs: outs.filter((_, i) => left.outs.includes(i)),
  };
}

/** The same block in values of its own, so that every value is defined in one block only. */
export function renewed(block: Block, hintOf: (x: Value) => string = ({ hint }) => hint): Block {
  const map: Substitution = new Map(block.params.map((x) => [x, value(hintOf(x), x.type)]));
  const nodes = block.nodes.map((old): Node => {
    const outs = old.outs.map((x) => value(hintOf(x), x.type));
    const fresh = {
      ...old,
      ins: resolveAll(map, old.ins),
      regions: old.regions.map((region) => renewed(region, hintOf)),
      outs,
    };
    substitute(map, old.outs, outs);
    return fresh;
  });
  return { params: resolveAll(map, block.params), nodes, results: resolveAll(map, block.results) };
}
