// What must hold between passes: every operand is defined before use, every type is what its op infers.
import { invariant } from "../diag.ts";
import { node } from "./build.ts";
import { formatType, sameType } from "./shape.ts";
import type { Block, Module, Value } from "./types.ts";

/** Throws an internal error naming the node that breaks a rule: a pass made it, not the user. */
export function verifyModule(module: Module, after = "verify"): void {
  invariant(
    module.roles.length === module.body.params.length,
    `after ${after}: ${module.roles.length} roles for ${module.body.params.length} parameters`,
  );
  verifyBlock(module.body, after);
}

function verifyBlock(block: Block, after: string): void {
  const defined = new Set<Value>();
  for (const x of block.params) {
    invariant(!defined.has(x), `after ${after}: the parameter %${x.hint} comes twice`);
    defined.add(x);
  }
  for (const each of block.nodes) {
    const name = `%${each.outs[0]?.hint} = ${each.op.name}`;
    for (const x of each.ins)
      invariant(defined.has(x), `after ${after}: ${name} reads %${x.hint} before it is defined`);
    for (const region of each.regions) verifyBlock(region, after);
    const again = node(each.op, each.ins, { attrs: each.attrs, regions: each.regions });
    invariant(
      again.outs.length === each.outs.length,
      `after ${after}: ${name} has ${each.outs.length} results, the op infers ${again.outs.length}`,
    );
    each.outs.forEach((out, i) => {
      const inferred = again.outs[i]?.type;
      invariant(
        inferred && sameType(inferred, out.type),
        `after ${after}: ${name} is ${formatType(out.type)}, the op infers ${inferred && formatType(inferred)}`,
      );
      invariant(!defined.has(out), `after ${after}: ${name} defines a value twice`);
      defined.add(out);
    });
  }
  for (const x of block.results)
    invariant(defined.has(x), `after ${after}: a result %${x.hint} is not defined`);
}
