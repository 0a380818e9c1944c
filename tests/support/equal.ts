// Whether two modules are the same program, whatever their values are called.

import { formatType, sameType } from "../../compiler/ir/shape.ts";
import type { Attrs, Block, Module, Node, Value } from "../../compiler/ir/types.ts";

/** The first difference between two modules, in words, or nothing. */
export function difference(a: Module, b: Module): string | undefined {
  if (a.name !== b.name) return `names ${a.name} and ${b.name}`;
  if (a.roles.join() !== b.roles.join()) return `roles ${a.roles} and ${b.roles}`;
  return blockDifference(a.body, b.body, "body");
}

function blockDifference(a: Block, b: Block, where: string): string | undefined {
  const twin = new Map<Value, Value>();
  const pair = (xs: readonly Value[], ys: readonly Value[], what: string): string | undefined => {
    if (xs.length !== ys.length) return `${where}: ${xs.length} and ${ys.length} ${what}`;
    for (const [i, x] of xs.entries()) {
      const y = ys[i]!;
      if (!sameType(x.type, y.type))
        return `${where}: ${what} ${i} is ${formatType(x.type)} and ${formatType(y.type)}`;
      twin.set(x, y);
    }
    return undefined;
  };
  const read = (xs: readonly Value[], ys: readonly Value[], what: string): string | undefined => {
    if (xs.length !== ys.length) return `${where}: ${xs.length} and ${ys.length} ${what}`;
    const i = xs.findIndex((x, j) => twin.get(x) !== ys[j]);
    return i < 0 ? undefined : `${where}: ${what} ${i} is another value`;
  };
  if (a.nodes.length !== b.nodes.length) return `${where}: ${a.nodes.length} and ${b.nodes.length} nodes`;
  const params = pair(a.params, b.params, "parameters");
  if (params) return params;
  for (const [i, x] of a.nodes.entries()) {
    const y = b.nodes[i]!;
    const found =
      (x.op === y.op ? undefined : `${where}: node ${i} is ${x.op.name} and ${y.op.name}`) ??
      read(x.ins, y.ins, `operands of node ${i}`) ??
      attrsDifference(x, x.attrs, y.attrs, `${where}: node ${i}`) ??
      regionsDifference(x, y, `${where}: node ${i}`) ??
      pair(x.outs, y.outs, `results of node ${i}`);
    if (found) return found;
  }
  return read(a.results, b.results, "results");
}

/** Attributes of kind `type` are the result's type, compared there. */
function attrsDifference(node: Node, a: Attrs, b: Attrs, where: string): string | undefined {
  const names = Object.entries(node.op.attrs).flatMap(([name, kind]) => (kind === "type" ? [] : [name]));
  const same = (x: unknown, y: unknown): boolean =>
    Array.isArray(x) && Array.isArray(y)
      ? x.length === y.length && x.every((item, i) => Object.is(item, y[i]))
      : Object.is(x, y);
  const name = names.find((each) => !same(a[each], b[each]));
  return name && `${where}: ${name} is ${JSON.stringify(a[name])} and ${JSON.stringify(b[name])}`;
}

function regionsDifference(x: Node, y: Node, where: string): string | undefined {
  if (x.regions.length !== y.regions.length)
    return `${where}: ${x.regions.length} and ${y.regions.length} regions`;
  for (const [i, region] of x.regions.entries()) {
    const found = blockDifference(region, y.regions[i]!, `${where}, region ${i}`);
    if (found) return found;
  }
  return undefined;
}
