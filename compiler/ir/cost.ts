// Work done, from types alone.
import { elements } from "./shape.ts";
import type { Block, Node } from "./types.ts";

/** How often a node runs its regions when it runs once. */
export const turnsOf = ({ attrs }: Node): number =>
  typeof attrs["length"] === "number" ? attrs["length"] : 1;

/** Floating point operations of a node itself, without its regions'. */
export function ownFlops({ op, ins, outs, attrs }: Node): number {
  const types = [ins.map((x) => x.type), outs.map((x) => x.type)] as const;
  return op.flops ? op.flops(...types, attrs) : types[1].reduce((n, type) => n + elements(type), 0);
}

/** Floating point operations of a block, regions counted as often as they run. */
export const flopsOf = (block: Block): number =>
  block.nodes.reduce((sum, node) => {
    const inner = node.regions.reduce((n, region) => n + flopsOf(region), 0);
    return sum + ownFlops(node) + turnsOf(node) * inner;
  }, 0);
