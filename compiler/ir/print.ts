// Module → text. The text is a language: ir/parse.ts reads it back to the same module.

import { bug } from "../diag.ts";
import { formatType } from "./shape.ts";
import type { Attr, Block, Module, Node, TensorType, Value } from "./types.ts";

const INDENT = "  ";
/** A list of more characters has a line for each item. */
const WIDTH = 100;
/** What stands around a list without parentheses. */
const BARE = [" ", ""] as const;

/** Names of a block's values: the hint, made unique with `.2`, `.3` in order of appearance. A region has its own. */
export class Names {
  private readonly used: Map<string, number>;
  private readonly names = new Map<Value, string>();
  constructor(used: ReadonlyMap<string, number> = new Map()) {
    this.used = new Map(used);
  }
  define(x: Value): string {
    const count = (this.used.get(x.hint) ?? 0) + 1;
    this.used.set(x.hint, count);
    const name = count === 1 ? `%${x.hint}` : `%${x.hint}.${count}`;
    this.names.set(x, name);
    return name;
  }
  of(x: Value): string {
    return this.names.get(x) ?? bug(`%${x.hint} is used before it is defined`);
  }
}

function printNumber(n: number): string {
  if (Number.isNaN(n)) return "nan";
  if (!Number.isFinite(n)) return n > 0 ? "inf" : "-inf";
  return Object.is(n, -0) ? "-0" : String(n);
}

function printAttr(attr: Exclude<Attr, TensorType>): string {
  if (typeof attr === "number") return printNumber(attr);
  if (typeof attr === "object") return `[${attr.map(printNumber).join(", ")}]`;
  return JSON.stringify(attr);
}

function printAttrs(node: Node): string {
  const parts = Object.keys(node.op.attrs).flatMap((name) => {
    const attr = node.attrs[name];
    return attr === undefined || (typeof attr === "object" && "dtype" in attr)
      ? []
      : [`${name}=${printAttr(attr)}`];
  });
  return parts.length > 0 ? ` {${parts.join(", ")}}` : "";
}

/** `(a, b)` or, without parentheses, ` a, b`: on one line or on many. */
function printList(
  items: readonly string[],
  indent: string,
  [open, close]: readonly [open: string, close: string] = ["(", ")"],
): string {
  const line = items.join(", ");
  if (line.length <= WIDTH) return open + line + close;
  const lines = items.map((item) => indent + INDENT + item).join(",\n");
  return `${open.trimEnd()}\n${lines}${close && `\n${indent}${close}`}`;
}

function printNode(node: Node, names: Names, indent: string): string[] {
  const operands = printList(
    node.ins.map((x) => names.of(x)),
    indent,
  );
  const outs = node.outs.map((x) => names.define(x)).join(", ");
  const types = printList(
    node.outs.map((x) => formatType(x.type)),
    indent + INDENT,
    BARE,
  );
  return [
    `${indent}${outs} = ${node.op.name}${operands}${printAttrs(node)} :${types}`,
    ...node.regions.flatMap((region) => printRegion(region, indent + INDENT)),
  ];
}

/** A region names its values afresh: it sees nothing from outside. */
function printRegion(region: Block, indent: string): string[] {
  const names = new Names();
  const params = region.params.map((x) => `${names.define(x)}: ${formatType(x.type)}`);
  return [
    `${indent}${printList(params, indent)} {`,
    ...printBody(region, names, indent + INDENT),
    `${indent}}`,
  ];
}

function printBody(block: Block, names: Names, indent: string): string[] {
  const nodes = block.nodes.flatMap((node) => printNode(node, names, indent));
  const results = block.results.map((x) => names.of(x));
  return [...nodes, `${indent}return${printList(results, indent, BARE)}`];
}

/** The whole module as text, ending in a newline. */
export function printModule(module: Module): string {
  const names = new Names();
  const params = module.body.params.map((x, i) => {
    const role = module.roles[i] ?? "input";
    return `${INDENT}${role} ${names.define(x)}: ${formatType(x.type)}`;
  });
  const open =
    params.length > 0 ? [`module ${module.name}(`, params.join(",\n"), ") {"] : [`module ${module.name}() {`];
  return `${[...open, ...printBody(module.body, names, INDENT), "}"].join("\n")}\n`;
}
