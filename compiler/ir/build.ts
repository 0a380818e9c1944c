// The only way to make a node: result types are inferred, never given. And the vocabulary over a growing block.
import { bug, fail, Q3Error } from "../diag.ts";
import { findOp } from "../ops/index.ts";
import type { Applier, K, NamedType } from "../ops/k.ts";
import { vocabulary } from "../ops/k.ts";
import type { AttrKind, OpDef } from "../ops/op.ts";
import type { Attrs, Block, Loc, Node, TensorType, Value } from "./types.ts";
import { sourceOf, unknownLoc } from "./types.ts";

/** A value; a trailing `.2` of a hint is the printer's doing and not part of the name. */
export const value = (hint: string, type: TensorType): Value => ({
  hint: hint.replace(/(?<=.)(\.\d+)+$/, ""),
  type,
});

export type NodeOptions = {
  readonly attrs?: Attrs | undefined;
  readonly regions?: readonly Block[] | undefined;
  readonly hints?: readonly string[] | undefined;
  readonly loc?: Loc | undefined;
};

/** A node with its result types inferred. A broken constraint is reported at `loc`. */
export function node(op: OpDef, ins: readonly Value[], options: NodeOptions = {}): Node {
  const { attrs = {}, regions = [], hints = [], loc = unknownLoc } = options;
  checkAttrs(op, attrs, loc);
  const types = located(loc, () =>
    op.infer(
      ins.map((x) => x.type),
      attrs,
      regions,
    ),
  );
  const outs = types.map((type, i) => value(hints[i] ?? hints[0] ?? op.name, type));
  return { op, ins, attrs, regions, outs, loc };
}

/** Errors raised inside get the location's span when they have none. */
function located<R>(loc: Loc, run: () => R): R {
  try {
    return run();
  } catch (error) {
    const span = sourceOf(loc);
    if (!(error instanceof Q3Error) || !span) throw error;
    throw new Q3Error(
      error.diagnostics.map((d) => (d.at ? d : { ...d, at: span })),
      error.exitCode,
    );
  }
}

const kindNames: Readonly<Record<AttrKind, string>> = {
  int: "an integer",
  ints: "a list of integers",
  float: "a number",
  bool: "true or false",
  string: "a text",
  type: "a type",
};

const kindHolds: Readonly<Record<AttrKind, (attr: Attrs[string]) => boolean>> = {
  int: (attr) => Number.isInteger(attr),
  ints: (attr) => Array.isArray(attr) && attr.every((n) => Number.isInteger(n)),
  float: (attr) => typeof attr === "number",
  bool: (attr) => typeof attr === "boolean",
  string: (attr) => typeof attr === "string",
  type: (attr) => typeof attr === "object" && "dtype" in attr,
};

function checkAttrs(op: OpDef, attrs: Attrs, loc: Loc): void {
  for (const [name, kind] of Object.entries(op.attrs)) {
    const attr = Object.hasOwn(attrs, name) ? attrs[name] : undefined;
    if (attr === undefined || !kindHolds[kind](attr))
      fail({
        code: "bad-attribute",
        message: `\`${op.name}\` takes ${name}, ${kindNames[kind]}; got ${attr === undefined ? "nothing" : JSON.stringify(attr)}`,
        at: sourceOf(loc),
      });
  }
  for (const name of Object.keys(attrs))
    if (!Object.hasOwn(op.attrs, name))
      fail({
        code: "bad-attribute",
        message: `\`${op.name}\` has no attribute ${name}; it takes ${Object.keys(op.attrs).join(", ") || "none"}`,
        at: sourceOf(loc),
      });
}

/** The record of an op by name; an unknown name is a bug of the caller. */
export const opNamed = (name: string): OpDef => findOp(name) ?? bug(`no op named ${name}`);

/** A block under construction. `hints` and `loc` name (one per result, or one for all) and place what comes next. */
export type BlockBuilder = {
  readonly k: K<Value>;
  readonly nodes: Node[];
  hints: readonly string[];
  loc: Loc;
};

/** A growing block and the vocabulary that appends to it. Regions grow in builders of their own. */
export function blockBuilder(loc: Loc = unknownLoc, hints: readonly string[] = []): BlockBuilder {
  const nodes: Node[] = [];
  const applier: Applier<Value> = {
    apply(name, ins, attrs, regions) {
      const op = opNamed(name);
      const made = node(op, ins, { attrs, regions, loc: builder.loc, hints: builder.hints });
      nodes.push(made);
      return made.outs;
    },
    typeOf: (x) => x.type,
    block: (params, body) => buildBlock(params, (_k, values) => body(values), builder, nodes),
  };
  const builder: BlockBuilder = { k: vocabulary(applier), nodes, hints, loc };
  return builder;
}

/** A closed block. Inside a region, the enclosing builder's vocabulary appends to the region while it grows. */
function buildBlock(
  params: readonly NamedType[],
  body: (k: K<Value>, params: readonly Value[]) => readonly Value[],
  outer: BlockBuilder = blockBuilder(),
  nodes: Node[] = outer.nodes,
): Block {
  const values = params.map(({ hint, type }) => value(hint, type));
  const before = nodes.splice(0, nodes.length);
  const results = body(outer.k, values);
  const own = nodes.splice(0, nodes.length, ...before);
  return { params: values, nodes: own, results };
}

/** A composite node's decomposition: the nodes that replace it and the values that take its results' place. */
export function decomposed(composite: Node): { nodes: readonly Node[]; outs: readonly Value[] } {
  const builder = blockBuilder(
    composite.loc,
    composite.outs.map((out) => out.hint),
  );
  const outs = located(composite.loc, () =>
    composite.op.decompose?.(builder.k, composite.ins, composite.attrs, composite.regions),
  );
  return { nodes: builder.nodes, outs: outs ?? bug(`${composite.op.name} has no decomposition`) };
}
