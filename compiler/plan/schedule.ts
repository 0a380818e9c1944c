// When each value of a block is read for the last time: its memory goes right after that.

import { bug } from "../diag.ts";
import { expand } from "../ir/expand.ts";
import { dropDead } from "../ir/rewrite.ts";
import type { Block, Node, Value } from "../ir/types.ts";
import { hasKernel } from "../ops/fused.ts";

/** A node with the values that go when it has run. */
export type Step = { readonly node: Node; readonly last: readonly Value[] };
/** A block with the parameters that go before its first step, and its steps. */
export type Schedule = {
  readonly block: Block;
  readonly unread: readonly Value[];
  readonly steps: readonly Step[];
};

/** The block in ops that an engine has a kernel for: composites without one are decomposed, dead ops dropped. */
export const executable = (block: Block): Block =>
  dropDead(expand(block, ({ op }) => !hasKernel(op) && op.decompose !== undefined));

/** Lifetimes of a block's values. A parameter outlives the block unless it is given away. */
function schedule(block: Block, given: readonly boolean[]): Schedule {
  const kept = new Set<Value>([...block.params.filter((_, i) => !given[i]), ...block.results]);
  const seen = new Set<Value>();
  const steps = block.nodes.toReversed().map((node): Step => {
    const last = [...new Set([...node.outs, ...node.ins])].filter((x) => !kept.has(x) && !seen.has(x));
    for (const x of [...node.ins, ...node.outs]) seen.add(x);
    return { node, last };
  });
  const unread = block.params.filter((x) => !kept.has(x) && !seen.has(x));
  return { block, unread, steps: steps.reverse() };
}

/** What runs a schedule: an engine on tensors, or the memory plan on sizes. */
export type Machine<T> = {
  /** Results of a node; `last` are the values that go after it. */
  run(node: Node, ins: readonly T[], last: readonly Value[]): readonly T[];
  /** Called when a node has run and nothing has gone yet. */
  settle(node: Node): void;
  share(x: T): T;
  drop(x: T): void;
};

/** Runs a schedule. What it returns is the caller's; of what it received, what was given away is gone. */
export function execute<T>(
  { block, unread, steps }: Schedule,
  ins: readonly T[],
  given: readonly boolean[],
  machine: Machine<T>,
): T[] {
  const env = new Map<Value, T>();
  block.params.forEach((param, i) => {
    const x = ins[i];
    if (x !== undefined) env.set(param, x);
  });
  const read = (x: Value): T => {
    const held = env.get(x);
    if (held === undefined) bug(`%${x.hint} holds nothing`);
    return held;
  };
  const drop = (values: readonly Value[]): void => {
    for (const x of values) machine.drop(read(x));
  };
  drop(unread);
  for (const { node, last } of steps) {
    const outs = machine.run(node, node.ins.map(read), last);
    node.outs.forEach((out, i) => {
      const made = outs[i];
      if (made === undefined) bug(`${node.op.name} gave ${outs.length} results for ${node.outs.length}`);
      env.set(out, made);
    });
    machine.settle(node);
    drop(last);
  }
  const own = new Set<Value>(block.params);
  const results = block.results.map((x) => {
    if (own.has(x)) return machine.share(read(x));
    own.add(x);
    return read(x);
  });
  drop(block.params.filter((x, i) => given[i] && block.results.includes(x)));
  return results;
}

const known = new WeakMap<Block, Map<string, Schedule>>();

/** The schedule of a region, made once for each way of giving operands away. */
export function scheduleOf(block: Block, given: readonly boolean[]): Schedule {
  const ways = known.get(block) ?? new Map<string, Schedule>();
  known.set(block, ways);
  const way = given.map(Number).join("");
  const made = ways.get(way) ?? schedule(block, given);
  ways.set(way, made);
  return made;
}
