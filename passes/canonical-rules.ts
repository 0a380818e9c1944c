// The rewrites of canonicalize: right wherever they apply. Each says in a sentence what it does.

import { invariant } from "../compiler/diag.ts";
import type { DType } from "../compiler/dtype.ts";
import { dim, dimAt, elements, range, sameType } from "../compiler/ir/shape.ts";
import type { Node, TensorType, Value } from "../compiler/ir/types.ts";
import type { K } from "../compiler/ops/k.ts";
import { at } from "../compiler/ops/op.ts";

export type Context = {
  readonly k: K<Value>;
  /** The node a value comes from when the op is the named one. */
  from(op: string, x: Value | undefined): Node | undefined;
  /** The number that every element is, if it is known. */
  constant(x: Value | undefined): number | undefined;
};

/** A rule sees a node of its op over canonical operands, and gives the value that takes its result's place. */
export type Rule = {
  readonly ops: readonly string[];
  readonly doc: string;
  apply(node: Node, cx: Context): Value | undefined;
};

const operand = ({ ins }: Node, index = 0): Value => at(ins, index);
const resultType = ({ outs }: Node): TensorType => at(outs, 0).type;
const ints = ({ attrs }: Node, name: string): readonly number[] => attrs[name] as readonly number[];
const isSame = (node: Node, x: Value): boolean => sameType(resultType(node), x.type);
/** x where its type is the result's. */
const ifSame = (node: Node, x: Value): Value | undefined => (isSame(node, x) ? x : undefined);

/** Whether every number of the first dtype is one of the second. */
const holds = (from: DType, to: DType): boolean =>
  from === to || from === "bool" || (to === "f32" && (from === "bf16" || from === "f16"));
/** Numbers that every dtype but bool holds exactly. */
const isPlain = (n: number): boolean => Number.isInteger(n) && Math.abs(n) <= 256;

const neutral = (op: string, right: number, isCommutative: boolean): Rule => ({
  ops: [op],
  doc: `With ${right}: nothing.`,
  apply(node, { constant }) {
    const [a, b] = [operand(node, 0), operand(node, 1)];
    if (constant(b) === right && isSame(node, a)) return a;
    return isCommutative && constant(a) === right ? ifSame(node, b) : undefined;
  },
});

/** The only operand of a concatenate that a slice along its axis reads, and where that operand starts. */
function partRead(
  whole: Node,
  axis: number,
  start: number,
  limit: number,
): { part: Value; at: number } | undefined {
  let at = 0;
  for (const part of whole.ins) {
    const end = at + dimAt(part.type, axis).size;
    if (start >= at && limit <= end) return { part, at };
    at = end;
  }
  return undefined;
}

export const rules: readonly Rule[] = [
  {
    ops: ["reshape", "convert", "broadcast"],
    doc: "To its own type: nothing.",
    apply: (node) => ifSame(node, operand(node)),
  },
  {
    ops: ["reduce_sum", "reduce_max"],
    doc: "Over no axes: nothing.",
    apply: (node) => (ints(node, "axes").length === 0 ? ifSame(node, operand(node)) : undefined),
  },
  {
    ops: ["transpose"],
    doc: "In the order it has: nothing.",
    apply: (node) => (ints(node, "permutation").every((axis, i) => axis === i) ? operand(node) : undefined),
  },
  { ops: ["slice"], doc: "Of the whole: nothing.", apply: (node) => ifSame(node, operand(node)) },
  { ops: ["pad"], doc: "By nothing: nothing.", apply: (node) => ifSame(node, operand(node)) },
  {
    ops: ["concatenate"],
    doc: "Of one: nothing.",
    apply: (node) => (node.ins.length === 1 ? operand(node) : undefined),
  },
  {
    ops: ["reshape", "broadcast", "slice", "transpose"],
    doc: "Of a constant: a constant.",
    apply(node, { k, constant }) {
      const n = constant(operand(node));
      return n === undefined ? undefined : k.constant(n, resultType(node));
    },
  },
  {
    ops: ["convert"],
    doc: "Of a small whole constant: a constant.",
    apply(node, { k, constant }) {
      const n = constant(operand(node));
      if (n === undefined || !isPlain(n)) return undefined;
      return k.constant(resultType(node).dtype === "bool" ? Number(n !== 0) : n, resultType(node));
    },
  },
  {
    ops: ["reshape"],
    doc: "Of a reshape: one reshape.",
    apply(node, { k, from }) {
      const inner = from("reshape", operand(node));
      return inner && k.reshape(operand(inner), resultType(node).dims);
    },
  },
  {
    ops: ["transpose"],
    doc: "Of a transpose: one transpose.",
    apply(node, { k, from }) {
      const inner = from("transpose", operand(node));
      if (!inner) return undefined;
      const first = ints(inner, "permutation");
      return k.transpose(
        operand(inner),
        ints(node, "permutation").map((axis) => first[axis] ?? axis),
      );
    },
  },
  {
    ops: ["convert"],
    doc: "Of a convert that lost nothing: one convert.",
    apply(node, { k, from }) {
      const inner = from("convert", operand(node));
      const x = inner && operand(inner);
      return x && holds(x.type.dtype, operand(node).type.dtype)
        ? k.convert(x, resultType(node).dtype)
        : undefined;
    },
  },
  {
    ops: ["negate"],
    doc: "Of a negate: nothing.",
    apply(node, { from }) {
      const inner = from("negate", operand(node));
      return inner && operand(inner);
    },
  },
  {
    ops: ["slice"],
    doc: "Of a slice: one slice.",
    apply(node, { k, from }) {
      const inner = from("slice", operand(node));
      if (!inner) return undefined;
      const offsets = ints(inner, "starts");
      const moved = (name: string) => ints(node, name).map((n, i) => n + (offsets[i] ?? 0));
      return k.one("slice", [operand(inner)], { starts: moved("starts"), limits: moved("limits") });
    },
  },
  {
    ops: ["slice"],
    doc: "Of a concatenate, within one operand: a slice of that operand.",
    apply(node, { k, from }) {
      const whole = from("concatenate", operand(node));
      if (!whole) return undefined;
      const axis = whole.attrs["axis"] as number;
      const [starts, limits] = [ints(node, "starts"), ints(node, "limits")];
      const found = partRead(whole, axis, starts[axis] ?? 0, limits[axis] ?? 0);
      if (!found) return undefined;
      const moved = (list: readonly number[]) => list.map((n, i) => (i === axis ? n - found.at : n));
      return k.reshape(
        k.one("slice", [found.part], { starts: moved(starts), limits: moved(limits) }),
        resultType(node).dims,
      );
    },
  },
  {
    ops: ["concatenate"],
    doc: "Of slices that follow each other in one value: one slice.",
    apply(node, { k, from }) {
      const axis = node.attrs["axis"] as number;
      const groups: { first: Value; slices: Node[] }[] = [];
      for (const x of node.ins) {
        const [part, last] = [from("slice", x), groups.at(-1)];
        if (part && follows(last?.slices.at(-1), part, axis)) last?.slices.push(part);
        else groups.push({ first: x, slices: part ? [part] : [] });
      }
      if (groups.length === node.ins.length) return undefined;
      const parts = groups.map(({ first, slices }) => joined(k, slices) ?? first);
      return ifSame(node, k.concat(parts, axis));
    },
  },
  {
    ops: ["concatenate"],
    doc: "Of slices one wide that several values give in turn: those values side by side.",
    apply(node, { k, from }) {
      const axis = node.attrs["axis"] as number;
      const parts = takingTurns(
        node.ins.map((x) => from("slice", x)),
        axis,
      );
      if (parts.every(({ turns }) => turns.length < 2)) return undefined;
      const wholes = parts.map(({ start, turns }) =>
        turns.length < 2 ? operand(node, start) : sideBySide(k, turns, axis),
      );
      const [only] = wholes;
      return ifSame(node, only && wholes.length === 1 ? only : k.concat(wholes, axis));
    },
  },
  {
    ops: ["broadcast"],
    doc: "That repeats nothing: a reshape.",
    apply: (node, { k }) =>
      elements(operand(node).type) === elements(resultType(node))
        ? k.reshape(operand(node), resultType(node).dims)
        : undefined,
  },
  neutral("multiply", 1, true),
  neutral("divide", 1, false),
  neutral("add", 0, true),
  neutral("subtract", 0, false),
  {
    ops: ["add"],
    doc: "Of a negate: a subtract.",
    apply(node, { k, from }) {
      const [a, b] = [operand(node, 0), operand(node, 1)];
      const minus = from("negate", b);
      return minus ? k.sub(a, operand(minus)) : undefined;
    },
  },
  {
    ops: ["select"],
    doc: "Between equals, or by a mask that is known: one of the two.",
    apply(node, { constant }) {
      const [mask, a, b] = [operand(node, 0), operand(node, 1), operand(node, 2)];
      const known = constant(mask);
      if (known !== undefined) return ifSame(node, known !== 0 ? a : b);
      return a === b ? ifSame(node, a) : undefined;
    },
  },
];

/** Slices that follow each other as one. */
function joined(k: K<Value>, slices: readonly Node[]): Value | undefined {
  const [first, last] = [slices[0], slices.at(-1)];
  if (!first || !last || first === last) return undefined;
  return k.one("slice", [operand(first)], { starts: ints(first, "starts"), limits: ints(last, "limits") });
}

/** From `start` on, slices one wide that some values give in turn, by value; or a single operand, without turns. */
type Turns = { readonly start: number; readonly turns: readonly (readonly Node[])[] };

/** Operands of a concatenate, those that are slices of some values in turn together. */
function takingTurns(slices: readonly (Node | undefined)[], axis: number): readonly Turns[] {
  const nextOfSame: number[] = [];
  const seen = new Map<Value, number>();
  slices.forEach((_, i) => {
    const at = slices.length - 1 - i;
    const slice = slices[at];
    if (!slice) return;
    nextOfSame[at] = seen.get(operand(slice)) ?? Number.NaN;
    seen.set(operand(slice), at);
  });
  const parts: Turns[] = [];
  for (let start = 0; start < slices.length; ) {
    const count = (nextOfSame[start] ?? Number.NaN) - start;
    let length = 0;
    for (; count >= 2 && start + length < slices.length; length++) {
      const slice = slices[start + length];
      if (!slice || dimAt(resultType(slice), axis).size !== 1) break;
      if (length >= count && !follows(slices[start + length - count], slice, axis)) break;
    }
    const run = slices
      .slice(start, start + (length >= 2 * count ? length - (length % count) : 0))
      .filter((slice) => slice !== undefined);
    const turns = run.length > 0 ? range(count) : [];
    parts.push({ start, turns: turns.map((turn) => run.filter((_, i) => i % count === turn)) });
    start += Math.max(run.length, 1);
  }
  return parts;
}

/** Values cut along an axis as slices say, the first piece of each, then the second of each, and so on. */
function sideBySide(k: K<Value>, turns: readonly (readonly Node[])[], axis: number): Value {
  const sides = turns.map((slices) => {
    const [first, last] = [slices[0], slices.at(-1)];
    invariant(first && last, "a turn has slices");
    const x = k.one("slice", [operand(first)], {
      starts: ints(first, "starts"),
      limits: ints(last, "limits"),
    });
    return k.reshape(x, x.type.dims.toSpliced(axis + 1, 0, dim("_", 1)));
  });
  const joint = k.concat(sides, axis + 1);
  const [count, each] = [dimAt(joint.type, axis), dimAt(joint.type, axis + 1)];
  return k.reshape(joint, joint.type.dims.toSpliced(axis, 2, dim(count.label, count.size * each.size)));
}

/** Whether a slice starts along the axis where another of the same value ends, and is like it elsewhere. */
function follows(before: Node | undefined, next: Node | undefined, axis: number): boolean {
  if (!before || !next || operand(before) !== operand(next)) return false;
  const [starts, limits] = [ints(before, "starts"), ints(before, "limits")];
  return range(starts.length).every((i) =>
    i === axis
      ? ints(next, "starts")[i] === limits[i]
      : ints(next, "starts")[i] === starts[i] && ints(next, "limits")[i] === limits[i],
  );
}
