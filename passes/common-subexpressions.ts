// common-subexpressions: what was computed before is read again instead of computed again.

import { counted } from "../compiler/diag.ts";
import { resolveAll, type Substitution, substitute, withOperands } from "../compiler/ir/rewrite.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
import type { Pass } from "./pass.ts";
import { nodeKey } from "./structure.ts";

/** A block with equal nodes shared; `count` hears of every node that went. A region shares with itself only. */
function shared(block: Block, count: () => void): Block {
  const numbers = new Map<Value, number>();
  const numberOf = (x: Value): string => {
    if (!numbers.has(x)) numbers.set(x, numbers.size);
    return String(numbers.get(x));
  };
  const earlier = new Map<string, readonly Value[]>();
  const map: Substitution = new Map();
  const nodes: Node[] = [];
  for (const old of block.nodes) {
    const regions = old.regions.map((region) => shared(region, count));
    const fresh = withOperands(old, resolveAll(map, old.ins), regions);
    const key = nodeKey(fresh, numberOf);
    const outs = earlier.get(key) ?? fresh.outs;
    if (earlier.has(key)) count();
    else nodes.push(fresh);
    earlier.set(key, outs);
    substitute(map, old.outs, outs);
  }
  if (nodes.length === block.nodes.length && nodes.every((each, i) => each === block.nodes[i])) return block;
  return { params: block.params, nodes, results: resolveAll(map, block.results) };
}

export const commonSubexpressions: Pass = {
  name: "common-subexpressions",
  doc: "Nodes that compute the same from the same operands become one: all ops are pure.",
  run(module, remark) {
    let gone = 0;
    const body = shared(module.body, () => gone++);
    if (gone > 0) remark(`${counted(gone, "node")} computed before`);
    return { ...module, body };
  },
};
