// Several ops as one loop nest. What may be one, and when, is passes/fuse-kernels.ts's to say.
import { range } from "../ir/shape.ts";
import type { Block, Node } from "../ir/types.ts";
import { replaceable } from "./loop-run.ts";
import { isMisfit, loopSpaceOf } from "./loop-space.ts";
import type { OpDef } from "./op.ts";
import { at, broken } from "./op.ts";
import { expectRegion, expectRegionOperands } from "./region.ts";

/** Ops that a loop nest can hold: each gives one element from one element of each operand, or folds. */
export const isLoopOp = ({ scalar, moves, folds, line }: OpDef): boolean =>
  scalar !== undefined || moves !== undefined || folds !== undefined || line !== undefined;

export const fused: OpDef = {
  name: "fused",
  doc: "The region's elementwise ops and folds as one loop nest: what is computed on the way is never stored.",
  attrs: {},
  infer(ins, _attrs, regions) {
    const body = expectRegion("fused", ins, regions);
    expectRegionOperands("fused", ins, body);
    const other = body.nodes.find(({ op }) => !isLoopOp(op));
    if (other) broken("fused", `\`${other.op.name}\` cannot be part of a loop nest`);
    const space = loopSpaceOf(body);
    if (isMisfit(space)) broken("fused", `the region is not one loop nest: ${space.why}`);
    return body.results.map((x) => x.type);
  },
  decompose: (k, ins, _attrs, regions) => k.inline(at(regions, 0), ins),
  flops: () => 0,
};

/** Whether an engine runs a node of this op as a loop nest: it is one, or the op has no kernel of its own. */
export const isLoop = (op: OpDef): boolean => op === fused || (op.run === undefined && isLoopOp(op));

/** Whether the tfjs engine runs this op as it is, and not what it is made of. */
export const hasKernel = (op: OpDef): boolean =>
  op.run !== undefined || op.update !== undefined || op.control !== undefined || isLoop(op);

/** A loop nest, and which of its node's operands its block takes. */
export type LoopNest = { readonly block: Block; readonly operands: readonly number[] };

const nests = new WeakMap<Node, LoopNest>();

/** The loop nest of such a node: the region, or a block of the node alone. */
export function loopNestOf(node: Node): LoopNest {
  const known = nests.get(node);
  if (known) return known;
  const params = [...new Set(node.ins)];
  const made =
    node.op === fused
      ? { block: at(node.regions, 0), operands: range(node.ins.length) }
      : {
          block: { params, nodes: [node], results: node.outs },
          operands: params.map((x) => node.ins.indexOf(x)),
        };
  nests.set(node, made);
  return made;
}

/** The operands of a node whose memory one of its results may be written to as the node runs. */
export function inPlaceOf(node: Node, result: number): number[] {
  if (node.op.update) return [0];
  if (!isLoop(node.op)) return [];
  const { block, operands } = loopNestOf(node);
  return replaceable(block, result).map((i) => at(operands, i));
}
