// canonicalize: local rewrites until none applies; canonical-rules.ts lists them.

import { counted } from "../compiler/diag.ts";
import { blockBuilder } from "../compiler/ir/build.ts";
import { dropDead, rewriteBlock } from "../compiler/ir/rewrite.ts";
import type { Node, Value } from "../compiler/ir/types.ts";
import { type Context, type Rule, rules } from "./canonical-rules.ts";
import type { Pass } from "./pass.ts";

const rulesOf = new Map<string, Rule[]>();
for (const rule of rules) for (const op of rule.ops) rulesOf.set(op, [...(rulesOf.get(op) ?? []), rule]);

export const canonicalize: Pass = {
  name: "canonicalize",
  doc: "Local rewrites to one way of saying a thing: what does nothing goes, what can be said at once is said at once.",
  details: rules.map(({ ops, doc }) => `${ops.join(", ")}: ${doc}`),
  run(module, remark) {
    const origin = new Map<Value, Node>();
    const from: Context["from"] = (op, x) => {
      const found = x && origin.get(x);
      return found?.op.name === op ? found : undefined;
    };
    const constant: Context["constant"] = (x) => from("constant", x)?.attrs["value"] as number | undefined;
    let count = 0;
    const simplify = (old: Node): { nodes: readonly Node[]; outs: readonly Value[] } => {
      for (const rule of rulesOf.get(old.op.name) ?? []) {
        const builder = blockBuilder(
          { kind: "pass", pass: "canonicalize", from: old.loc },
          old.outs.map((x) => x.hint),
        );
        const out = rule.apply(old, { k: builder.k, from, constant });
        if (!out) continue;
        count++;
        const { nodes, results } = rewriteBlock(
          { params: [], nodes: builder.nodes, results: [out] },
          simplify,
        );
        return { nodes, outs: results };
      }
      for (const out of old.outs) origin.set(out, old);
      return { nodes: [old], outs: old.outs };
    };
    const body = dropDead(rewriteBlock(module.body, simplify));
    if (count > 0) remark(counted(count, "rewrite"));
    return { ...module, body };
  },
};
