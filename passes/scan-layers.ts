// scan-layers: layers that repeat become one scan over stacked parameters. segments.ts says how they are found.

import { counted } from "../compiler/diag.ts";
import { blockBuilder, value } from "../compiler/ir/build.ts";
import { resolve, resolveAll, type Substitution, substitute, withOperands } from "../compiler/ir/rewrite.ts";
import { dim, formatType, range } from "../compiler/ir/shape.ts";
import type { Block, Module, Node, Value } from "../compiler/ir/types.ts";
import { at } from "../compiler/ops/op.ts";
import { LAYERS, stackedType, stackName, unstackedOrder } from "../compiler/stacks.ts";
import type { Pass, Remark } from "./pass.ts";
import { lastReads, type Own, type Rolled, roll } from "./roll.ts";
import { moved, type Run, runsOf } from "./runs.ts";
import { type Segment, segmentsOf } from "./segments.ts";
import { attrKey, blockKey } from "./structure.ts";

/** A scan to be, and the parameter that takes the place of each operand's parameters, where one can. */
type Plan = Rolled & {
  readonly stacks: ReadonlyMap<Own, Value>;
  /** Nodes after the last round that are the beginning of another. */
  readonly rest: number;
};

/** How often each value is read, by nodes and by the block itself. */
function readCounts({ nodes, results }: Block): ReadonlyMap<Value, number> {
  const counts = new Map<Value, number>();
  for (const x of [...nodes.flatMap(({ ins }) => ins), ...results]) counts.set(x, (counts.get(x) ?? 0) + 1);
  return counts;
}

/** Stacked parameters for a scan's operands: for parameters nobody else reads, declared round by round, in a series of names. */
function stacksFor(
  { body, roles }: Module,
  { xs, count }: Rolled,
  counts: ReadonlyMap<Value, number>,
): Map<Own, Value> {
  const roleOf = new Map(body.params.map((param, i) => [param, roles[i]]));
  const stacks = new Map<Own, Value>();
  for (const x of xs) {
    const [first] = x.members;
    const name = stackName(x.members.map((member) => member.hint));
    const isOwn = x.members.every(
      (member) =>
        counts.get(member) === x.sites &&
        roleOf.has(member) &&
        roleOf.get(member) === roleOf.get(first as Value),
    );
    if (first && name !== undefined && isOwn) stacks.set(x, value(name, stackedType(first.type, count)));
  }
  const heads = new Map([...stacks.keys()].map((x) => [x.members[0], x]));
  const stacked = new Set([...stacks.keys()].flatMap((x) => x.members));
  const order = unstackedOrder(
    body.params.filter((param) => !stacked.has(param) || heads.has(param)),
    (param) => {
      const x = heads.get(param);
      return x && { group: stacks, members: x.members };
    },
  );
  return order.length === body.params.length && order.every((param, i) => param === body.params[i])
    ? stacks
    : new Map();
}

/**
 * Runs of layers as plans. Within its slack a run begins where most of its parameters can be stacked, and of these
 * places at the kind of segment that the program has first: layers begin alike, even where they go on differently.
 */
function plansOf(module: Module, segments: readonly Segment[], remark: Remark): Plan[] {
  const { body } = module;
  const [reads, counts] = [lastReads(body), readCounts(body)];
  const plans: Plan[] = [];
  const planAt = ({ start, cycle, count, slack, from, to }: Run): Plan | string => {
    const rolled = roll(body, { from, to, count }, reads);
    if (typeof rolled === "string") return rolled;
    const rest = at(segments, start + cycle * count - 1 + slack).to - to;
    return { ...rolled, stacks: stacksFor(module, rolled, counts), rest };
  };
  const firstOf = new Map(segments.map(({ key }, i) => [key, i] as const).reverse());
  const cost = ({ xs, stacks }: Plan, { start }: Run): number =>
    (xs.length - stacks.size) * segments.length + (firstOf.get(at(segments, start).key) ?? 0);
  runsOf(
    segments,
    ({ key }) => key,
    (run) => {
      let best: { run: Run; plan: Plan; cost: number } | undefined;
      let problem = "";
      for (const shift of range(run.slack + 1)) {
        const there = moved(run, shift, segments);
        const plan = planAt(there);
        if (typeof plan === "string") problem = plan;
        else if (!best || cost(plan, there) < best.cost) best = { run: there, plan, cost: cost(plan, there) };
      }
      if (best) plans.push(best.plan);
      else remark(`not rolled: ${problem}`);
      return best?.run ?? run;
    },
  );
  return plans.sort((a, b) => a.from - b.from);
}

/** The scan of a plan, with its operands stacked before it and what is read of its rounds taken apart after it. */
function scanOf(
  plan: Plan,
  reads: ReadonlyMap<Value, number>,
  map: Substitution,
  nodes: readonly Node[],
): readonly Node[] {
  const { from, to, count, carries, xs, consts, ys, region, stacks } = plan;
  const builder = blockBuilder({ kind: "pass", pass: "scan-layers", from: at(nodes, from).loc });
  const { k } = builder;
  const stack = (x: Own): Value => {
    const known = stacks.get(x);
    if (known) return known;
    builder.hints = [at(region.params, carries.length + xs.indexOf(x)).hint];
    return k.concat(
      x.members.map((member) => k.reshape(resolve(map, member), [dim(LAYERS, 1), ...member.type.dims])),
      0,
    );
  };
  const operands = {
    carries: carries.map(({ init }) => resolve(map, init)),
    xs: xs.map(stack),
    consts: resolveAll(map, consts),
  };
  builder.hints = [...carries.map(({ last }) => last), ...ys.map((members) => at(members, 0))].map(
    (x) => x.hint,
  );
  const outs = k.scanRegion({ ...operands, length: count, label: LAYERS }, region);
  ys.forEach((members, i) => {
    const y = at(outs.ys, i);
    for (const [round, member] of members.entries()) {
      if ((reads.get(member) ?? -1) < to) continue;
      builder.hints = [member.hint];
      map.set(member, k.reshape(k.slice(y, 0, round, round + 1), member.type.dims));
    }
  });
  for (const [i, { last }] of carries.entries()) map.set(last, at(outs.carries, i));
  return builder.nodes;
}

function scanned({ name, roles, body }: Module, plans: readonly Plan[]): Module {
  const reads = lastReads(body);
  const map: Substitution = new Map();
  const nodes: Node[] = [];
  const copy = (from: number, to: number): void => {
    for (const old of body.nodes.slice(from, to)) {
      const fresh = withOperands(old, resolveAll(map, old.ins));
      nodes.push(fresh);
      substitute(map, old.outs, fresh.outs);
    }
  };
  let done = 0;
  for (const plan of plans) {
    copy(done, plan.from);
    nodes.push(...scanOf(plan, reads, map, body.nodes));
    done = plan.to;
  }
  copy(done, body.nodes.length);
  const stacks = plans.flatMap((plan) => [...plan.stacks]);
  const heads = new Map(stacks.map(([{ members }, stack]) => [at(members, 0), stack]));
  const stacked = new Set(stacks.flatMap(([{ members }]) => members));
  const kept = body.params.map((param, i) => ({
    param: heads.get(param) ?? param,
    role: at(roles, i),
    isKept: heads.has(param) || !stacked.has(param),
  }));
  const left = kept.filter(({ isKept }) => isKept);
  return {
    name,
    roles: left.map(({ role }) => role),
    body: {
      params: left.map(({ param }) => param),
      nodes,
      results: resolveAll(map, body.results),
    },
  };
}

/** How a node differs from its counterpart in another layer, if it does. */
function differenceOf(a: Node, b: Node): string | undefined {
  const what = `\`${a.op.name}\` of %${a.outs[0]?.hint}`;
  const attr = Object.keys(a.op.attrs).find(
    (name) => attrKey(a.attrs[name] ?? "") !== attrKey(b.attrs[name] ?? "") && a.op.attrs[name] !== "type",
  );
  if (attr !== undefined)
    return `${what} has ${attr}=${attrKey(a.attrs[attr] ?? "")} in one and ${attrKey(b.attrs[attr] ?? "")} in the next`;
  const types = [a, b].map(({ outs }) => outs.map((x) => formatType(x.type)).join(", "));
  if (types[0] !== types[1]) return `${what} is ${types[0]} in one and ${types[1]} in the next`;
  const operands = [a, b].map(({ ins }) => ins.map((x) => formatType(x.type)).join(", "));
  if (operands[0] !== operands[1])
    return `${what} reads ${operands[0]} in one and ${operands[1]} in the next`;
  return a.regions.map(blockKey).join() === b.regions.map(blockKey).join()
    ? undefined
    : `${what} has another region in one than in the next`;
}

/** Layers of the same ops that are not the same: where they first differ. */
function differences({ nodes }: Block, segments: readonly Segment[]): readonly string[] {
  const found = runsOf(segments, ({ outline }) => outline).flatMap(({ start, cycle, count }) =>
    segments.slice(start + cycle, start + cycle * count).flatMap((next, i) => {
      const before = at(segments, start + i);
      if (before.key === next.key) return [];
      const pairs = nodes
        .slice(before.from, before.to)
        .map((node, j) => differenceOf(node, at(nodes, next.from + j)));
      return pairs.filter((difference) => difference !== undefined).slice(0, 1);
    }),
  );
  return [...new Set(found)];
}

export const scanLayers: Pass = {
  name: "scan-layers",
  doc: "Layers that repeat, or groups of different layers that do, become one scan over stacked parameters.",
  run(module, remark) {
    const segments = segmentsOf(module.body);
    const plans = plansOf(module, segments, remark);
    for (const { from, to, count, xs, stacks, rest } of plans) {
      const loose = xs.length - stacks.size;
      const parameters = `${counted(stacks.size, "parameter")} stacked${loose > 0 ? `, ${counted(loose, "operand")} put together` : ""}`;
      remark(`${count} rounds of ${counted((to - from) / count, "node")} become one scan; ${parameters}`);
      if (rest > 0)
        remark(
          `${counted(rest, "node")} after it ${rest === 1 ? "begins" : "begin"} another round without filling it`,
        );
    }
    for (const difference of differences(module.body, segments)) remark(`not alike: ${difference}`);
    if (plans.length === 0) remark("nothing repeats");
    return plans.length === 0 ? module : scanned(module, plans);
  },
};
