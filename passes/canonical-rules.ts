// The rewrites of canonicalize: right wherever they apply. Each says in a sentence what it does.

import type { DType } from "../compiler/dtype.ts";
import { elements, sameType } from "../compiler/ir/shape.ts";
import type { Node, TensorType, Value } from "../compiler/ir/types.ts";
import type { K } from "../compiler/ops/k.ts";
import { at } from "../compiler/ops/op.ts";
import { follows, joined, limitsOf, partRead, sideBySide, startsOf, takingTurns, wholeOf } from "./slices.ts";

/** What a rule may ask of the block it is applied in. */
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
      const moved = (list: readonly number[]) => list.map((n, i) => n + (startsOf(inner)[i] ?? 0));
      return k.one("slice", [wholeOf(inner)], {
        starts: moved(startsOf(node)),
        limits: moved(limitsOf(node)),
      });
    },
  },
  {
    ops: ["slice"],
    doc: "Of a concatenate, within one operand: a slice of that operand.",
    apply(node, { k, from }) {
      const whole = from("concatenate", operand(node));
      if (!whole) return undefined;
      const axis = whole.attrs["axis"] as number;
      const [starts, limits] = [startsOf(node), limitsOf(node)];
      const found = partRead(whole, axis, starts[axis] ?? 0, limits[axis] ?? 0);
      if (!found) return undefined;
      const moved = (list: readonly number[]) => list.map((n, i) => (i === axis ? n - found.from : n));
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
      const parts = groups.map(({ first, slices }) => (slices.length > 1 ? joined(k, slices) : first));
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
