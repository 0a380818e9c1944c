// Composites replaced by what they are made of.
import { decomposed } from "./build.ts";
import { rewriteBlock } from "./rewrite.ts";
import type { Block, Node } from "./types.ts";

/** Decomposes every node that `isExpanded` picks, and what comes out, until none is left. */
export function expand(block: Block, isExpanded: (node: Node) => boolean): Block {
  return rewriteBlock(block, (node) => {
    if (!isExpanded(node)) return undefined;
    const { nodes, outs } = decomposed(node);
    const inner = expand({ params: node.ins, nodes, results: outs }, isExpanded);
    return { nodes: inner.nodes, outs: inner.results };
  });
}
