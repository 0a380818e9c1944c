// What the record of an op says, for people and for programs.
import { hasKernel } from "../compiler/ops/fused.ts";
import type { OpDef } from "../compiler/ops/op.ts";

type Gradient = "none" | "rule" | "decomposition" | "undefined";

function gradientOf({ discrete, vjp, decompose }: OpDef): Gradient {
  if (discrete) return "none";
  if (vjp) return "rule";
  return decompose ? "decomposition" : "undefined";
}

const gradientSaid: Readonly<Record<Gradient, string>> = {
  none: "Nothing flows back through it: its results are indices, masks or constants.",
  rule: "Differentiable, by a rule of its own.",
  decomposition: "Differentiable, through the simpler ops it is made of.",
  undefined: "Not differentiable.",
};

function executionSaid(op: OpDef): string {
  const shape = op.scalar ? ", elementwise" : "";
  if (!op.decompose) return `Primitive${shape}: every engine runs it as it is.`;
  return hasKernel(op)
    ? `Composite${shape}: made of simpler ops; the tfjs engine runs it as one.`
    : "Composite: made of simpler ops, which the tfjs engine runs in its place.";
}

/** An op in lines of text. */
export function opLines(op: OpDef): readonly string[] {
  const attrs = Object.entries(op.attrs).map(([name, kind]) => `${name} (${kind})`);
  const doc = /[.!?]$/.test(op.doc) ? op.doc : `${op.doc}.`;
  return [
    `${op.name}: an op`,
    doc,
    attrs.length === 0 ? "No attributes." : `Attributes: ${attrs.join(", ")}.`,
    executionSaid(op),
    gradientSaid[gradientOf(op)],
  ];
}

/** An op as JSON shows it. */
export const opJson = (op: OpDef) => ({
  kind: "op",
  name: op.name,
  doc: op.doc,
  attrs: op.attrs,
  composite: op.decompose !== undefined,
  elementwise: op.scalar !== undefined,
  gradient: gradientOf(op),
});
