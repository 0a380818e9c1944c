// The IR's data: SSA values with static shapes, nodes that point at their op record, blocks, modules.
// Identity is the object; text names are made when printing.
import type { Span } from "../diag.ts";
import type { DType } from "../dtype.ts";
import type { OpDef } from "../ops/op.ts";

/** One dimension. The label is a name for readers and sharding rules; position gives the meaning. `_` is no name. */
export type Dim = { readonly label: string; readonly size: number };

/** A static type: a dtype, and the dims outermost first. */
export type TensorType = { readonly dtype: DType; readonly dims: readonly Dim[] };

/** Where a value or node came from. Passes wrap a `Loc`, they never drop it. */
export type Loc =
  | { readonly kind: "unknown" }
  | { readonly kind: "source"; readonly span: Span }
  | { readonly kind: "pass"; readonly pass: string; readonly from: Loc };

/** `hint` is the name in the source; the printer makes it unique. */
export type Value = { readonly hint: string; readonly type: TensorType };

/** What an attribute may be; the op says which of these each of its own is. */
export type Attr = number | string | boolean | TensorType | readonly number[];
export type Attrs = { readonly [name: string]: Attr };

/** One application of an op: operands and attributes in, `outs` defined. */
export type Node = {
  readonly op: OpDef;
  readonly ins: readonly Value[];
  readonly attrs: Attrs;
  readonly regions: readonly Block[];
  readonly outs: readonly Value[];
  readonly loc: Loc;
};

/** Nodes in execution order. A block sees its parameters and what its nodes define, nothing else. */
export type Block = {
  readonly params: readonly Value[];
  readonly nodes: readonly Node[];
  readonly results: readonly Value[];
};

/** What the runtime must pass for a parameter. */
export type Role = "input" | "param" | "state";

/** A whole program; `roles` are its parameters', in their order. */
export type Module = { readonly name: string; readonly roles: readonly Role[]; readonly body: Block };

export const unknownLoc: Loc = { kind: "unknown" };

/** The span of the source text that a location goes back to. */
export function sourceOf(loc: Loc): Span | undefined {
  let at = loc;
  while (at.kind === "pass") at = at.from;
  return at.kind === "source" ? at.span : undefined;
}
