// Keys that are equal exactly where structures are: op, attributes, types and regions, whatever values are called.
import { formatType } from "../compiler/ir/shape.ts";
import type { Attr, Block, Node, Value } from "../compiler/ir/types.ts";

/** An attribute as text; unlike JSON it tells -0, infinities and nan apart. */
export function attrKey(attr: Attr): string {
  if (typeof attr === "number") return Object.is(attr, -0) ? "-0" : String(attr);
  if (typeof attr !== "object") return JSON.stringify(attr);
  return "dtype" in attr ? formatType(attr) : `[${attr.map(attrKey).join()}]`;
}

/** What a node computes from its operands, which `operand` names. */
export function nodeKey(node: Node, operand: (x: Value, index: number) => string): string {
  const { op, ins, attrs, outs, regions } = node;
  const given = Object.keys(op.attrs).map((name) => `${name}=${attrKey(attrs[name] ?? "")}`);
  const types = outs.map((x) => formatType(x.type)).join();
  return `${op.name}(${ins.map(operand).join()}){${given.join()}}:${types}${regions.map(blockKey).join("")}`;
}

const blockKeys = new WeakMap<Block, string>();

/** What a closed block computes from its parameters. */
export function blockKey(block: Block): string {
  const known = blockKeys.get(block);
  if (known !== undefined) return known;
  const numbers = new Map<Value, number>();
  const define = (x: Value): unknown => numbers.set(x, numbers.size);
  block.params.forEach(define);
  const nodes = block.nodes.map((each) => {
    const key = nodeKey(each, (x) => String(numbers.get(x)));
    each.outs.forEach(define);
    return key;
  });
  const types = block.params.map((x) => formatType(x.type)).join();
  const key = `(${types}){${nodes.join(";")}:${block.results.map((x) => numbers.get(x)).join()}}`;
  blockKeys.set(block, key);
  return key;
}
