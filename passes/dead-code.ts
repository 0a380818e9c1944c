// dead-code: what nobody reads is not computed.

import { counted } from "../compiler/diag.ts";
import { allNodes, dropDead } from "../compiler/ir/rewrite.ts";
import type { Block } from "../compiler/ir/types.ts";
import type { Pass } from "./pass.ts";

const countOf = (block: Block): number => [...allNodes(block)].length;

export const deadCode: Pass = {
  name: "dead-code",
  doc: "Nodes whose results nobody reads go, in regions too: all ops are pure.",
  run(module, remark) {
    const body = dropDead(module.body);
    const gone = countOf(module.body) - countOf(body);
    if (gone > 0) remark(`${counted(gone, "node")} nobody reads`);
    return { ...module, body };
  },
};
