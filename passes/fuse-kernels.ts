// Groups of ops become loop nests.
//
// What may join a group. Ops that give one element from one element of each operand (`scalar`), ops that only move
// elements (`moves`), folds over axes (`folds`), constants and index lines. All of a group run over one iteration space
// or are broadcast into it. Dims are compared by their factors: a reshape, a transpose or a broadcast is another way of
// reading the same loops.
// How a group grows. From its last op backwards: an op joins the group that reads it, and where several groups read it
// they become one with it. At the end groups that read the same operand become one.
// What ends a group. Any other op (a contraction, a gather, a running sum, a loop); several iteration spaces; a reshape
// whose sizes do not cut into the loops; a slice of something computed inside; a fold read inside over other axes than
// the last; a way out of the group through other ops and back into it; a scalar that several groups read; 64 ops.
// What is computed more than once. Constants, index lines, reshapes and broadcasts go into every group that reads them.
// An op that calls a function (`costly`) runs once per element of its own result, and so does what a result needs; other
// ops on a smaller space (a norm's scale plus one) run again for each element they meet. A row's value that a later
// phase reads is computed again from what is loaded, or kept in a buffer of one row.
// Composites are decomposed first. Regions are fused by themselves.
import { node } from "../compiler/ir/build.ts";
import { expand } from "../compiler/ir/expand.ts";
import {
  dropDead,
  renewed,
  resolveAll,
  type Substitution,
  substitute,
  withOperands,
} from "../compiler/ir/rewrite.ts";
import { type Block, type Module, type Node, unknownLoc, type Value } from "../compiler/ir/types.ts";
import { fused, isLoop } from "../compiler/ops/fused.ts";
import { blockOfMembers, type FoundGroup, groupsOf } from "./fusion-groups.ts";
import { FusionReport } from "./fusion-report.ts";
import type { Pass } from "./pass.ts";

/** A block with its groups as single nodes, each where its last op was or where it is first needed. */
function fuseBlock(block: Block, report: FusionReport): Block {
  const groups = groupsOf(block);
  const groupOf = new Map(groups.flatMap((group) => [...group.own].map((each) => [each, group] as const)));
  const producer = new Map(block.nodes.flatMap((each) => each.outs.map((out) => [out, each] as const)));
  const copied = new Set(groups.flatMap(({ own, members }) => members.filter((each) => !own.has(each))));
  const lastOf = new Map(block.nodes.map((each) => [groupOf.get(each), each]));
  const map: Substitution = new Map();
  const nodes: Node[] = [];
  const done = new Set<Node | FoundGroup>();
  const need = (values: readonly Value[]): void => {
    for (const x of values) {
      const from = producer.get(x);
      if (from) emit(from);
    }
  };
  /** A group as a node, whose region has values of its own. */
  const nestOf = ({ members, results }: FoundGroup): Node => {
    const own = blockOfMembers(members, results);
    need(own.params);
    const region = renewed(own);
    report.add(region);
    return node(fused, resolveAll(map, own.params), {
      regions: [region],
      hints: results.map((x) => x.hint),
      loc: { kind: "pass", pass: "fuse-kernels", from: members.at(-1)?.loc ?? unknownLoc },
    });
  };
  /** A node of no group, its regions fused each by itself. */
  const again = (each: Node): Node => {
    need(each.ins);
    const regions =
      each.op === fused ? each.regions : each.regions.map((region) => fuseBlock(region, report));
    return withOperands(each, resolveAll(map, each.ins), regions);
  };
  const emit = (each: Node): void => {
    const group = groupOf.get(each);
    if (done.has(group ?? each)) return;
    done.add(group ?? each);
    const made = group ? nestOf(group) : again(each);
    nodes.push(made);
    substitute(map, group?.results ?? each.outs, made.outs);
  };
  for (const each of block.nodes) {
    const group = groupOf.get(each);
    if (group ? lastOf.get(group) === each : !copied.has(each)) emit(each);
  }
  need(block.results);
  return { params: block.params, nodes, results: resolveAll(map, block.results) };
}

export const fuseKernels: Pass = {
  name: "fuse-kernels",
  doc: "Chains of elementwise ops, broadcasts and folds become single loop nests that store only what others read.",
  run(module: Module, remark): Module {
    const report = new FusionReport();
    const expanded = dropDead(
      expand(module.body, ({ op }) => op.decompose !== undefined && !op.isWhole && !isLoop(op)),
    );
    report.before(expanded);
    const body = fuseBlock(expanded, report);
    report.after(body);
    for (const line of report.lines()) remark(line);
    return { ...module, body };
  },
};
