// Elementwise ops: one row each. Operands broadcast as in numpy; labels must agree where both are named.
import { dim, formatDims, joinLabels, tensor } from "../ir/shape.ts";
import type { Dim, TensorType } from "../ir/types.ts";
import type { Direction, K } from "./k.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity } from "./op.ts";

/** The dims of operands broadcast against each other (trailing alignment, size 1 stretches). */
export function broadcastDims(op: string, a: readonly Dim[], b: readonly Dim[]): readonly Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length];
    const y = b[i - rank + b.length];
    if (!x || !y) return x ?? y ?? dim("_", 1);
    if (x.size !== y.size && x.size !== 1 && y.size !== 1)
      broken(
        op,
        `sizes differ: [${formatDims(a)}] against [${formatDims(b)}] (\`${x.label}=${x.size}\` meets \`${y.label}=${y.size}\`)`,
      );
    const wider = x.size >= y.size ? x : y;
    const label = x.size === y.size ? joinLabels(x.label, y.label) : wider.label;
    if (label === undefined)
      broken(
        op,
        `dims differ: [${formatDims(a)}] against [${formatDims(b)}] (\`${x.label}\` meets \`${y.label}\`)`,
      );
    return dim(label, wider.size);
  });
}

type Unary = {
  readonly name: string;
  readonly doc: string;
  readonly costly?: true;
  scalar(x: string): string;
  /** dx from dy, given x and y. */
  pull<T>(k: K<T>, dy: T, x: T, y: T): T;
};

const unary = ({ name, doc, costly, scalar, pull }: Unary): OpDef => ({
  name,
  doc,
  attrs: {},
  infer(ins) {
    expectArity(name, ins, 1);
    return [at(ins, 0)];
  },
  vjp: (k, { dy, ins, outs }) => [pull(k, dy(0), at(ins, 0), at(outs, 0))],
  scalar: (operands) => scalar(at(operands, 0)),
  ...(costly ? { costly } : {}),
});

type Binary = {
  readonly name: string;
  readonly doc: string;
  scalar(a: string, b: string, out: TensorType): string;
  /** Cotangents before summing over broadcast axes. */
  pull<T>(k: K<T>, dy: T, a: T, b: T, y: T): readonly [T, T];
};

const binary = ({ name, doc, scalar, pull }: Binary): OpDef => ({
  name,
  doc,
  attrs: {},
  infer(ins) {
    expectArity(name, ins, 2);
    const [a, b] = [at(ins, 0), at(ins, 1)];
    if (a.dtype !== b.dtype) broken(name, `dtypes differ: ${a.dtype} and ${b.dtype}`);
    return [tensor(a.dtype, broadcastDims(name, a.dims, b.dims))];
  },
  vjp(k, { dy, ins, outs }) {
    const [a, b] = [at(ins, 0), at(ins, 1)];
    const [da, db] = pull(k, dy(0), a, b, at(outs, 0));
    return [k.unbroadcast(da, k.typeOf(a)), k.unbroadcast(db, k.typeOf(b))];
  },
  scalar: (operands, _attrs, out) => scalar(at(operands, 0), at(operands, 1), out),
});

const unaryOps: readonly OpDef[] = [
  unary({ name: "negate", doc: "-x", scalar: (x) => `-${x}`, pull: (k, dy) => k.neg(dy) }),
  unary({
    name: "exp",
    doc: "e^x",
    costly: true,
    scalar: (x) => `exp(${x})`,
    pull: (k, dy, _x, y) => k.mul(dy, y),
  }),
  unary({
    name: "log",
    doc: "Natural logarithm.",
    costly: true,
    scalar: (x) => `log(${x})`,
    pull: (k, dy, x) => k.div(dy, x),
  }),
  unary({
    name: "log_plus_one",
    doc: "log(1 + x), exact for small x.",
    costly: true,
    scalar: (x) => `log1p(${x})`,
    pull: (k, dy, x) => k.div(dy, k.add(x, k.scalar(1, x))),
  }),
  unary({
    name: "sine",
    doc: "sin x",
    costly: true,
    scalar: (x) => `sin(${x})`,
    pull: (k, dy, x) => k.mul(dy, k.cos(x)),
  }),
  unary({
    name: "cosine",
    doc: "cos x",
    costly: true,
    scalar: (x) => `cos(${x})`,
    pull: (k, dy, x) => k.neg(k.mul(dy, k.sin(x))),
  }),
  unary({
    name: "sqrt",
    doc: "Square root.",
    scalar: (x) => `sqrt(${x})`,
    pull: (k, dy, _x, y) => k.mul(dy, k.div(k.scalar(0.5, y), y)),
  }),
  unary({
    name: "rsqrt",
    doc: "1 / sqrt x",
    scalar: (x) => `1 / sqrt(${x})`,
    pull: (k, dy, _x, y) => k.mul(dy, k.mul(k.scalar(-0.5, y), k.mul(y, k.mul(y, y)))),
  }),
  unary({
    name: "logistic",
    doc: "The sigmoid 1 / (1 + e^-x).",
    costly: true,
    scalar: (x) => `1 / (1 + exp(-${x}))`,
    pull: (k, dy, _x, y) => k.mul(dy, k.mul(y, k.sub(k.scalar(1, y), y))),
  }),
];

const zerosLike = <T>(k: K<T>, x: T): T => k.constant(0, k.typeOf(x));

const binaryOps: readonly OpDef[] = [
  binary({ name: "add", doc: "a + b", scalar: (a, b) => `${a} + ${b}`, pull: (_k, dy) => [dy, dy] }),
  binary({
    name: "subtract",
    doc: "a - b",
    scalar: (a, b) => `${a} - ${b}`,
    pull: (k, dy) => [dy, k.neg(dy)],
  }),
  binary({
    name: "multiply",
    doc: "a * b",
    scalar: (a, b) => `${a} * ${b}`,
    pull: (k, dy, a, b) => [k.mul(dy, b), k.mul(dy, a)],
  }),
  binary({
    name: "divide",
    doc: "a / b; integers divide towards minus infinity.",
    scalar: (a, b, out) => (out.dtype === "i32" ? `floor(${a} / ${b})` : `${a} / ${b}`),
    pull: (k, dy, _a, b, y) => {
      const da = k.div(dy, b);
      return [da, k.neg(k.mul(da, y))];
    },
  }),
  binary({
    name: "maximum",
    doc: "The larger of a and b; at a tie the gradient goes to a.",
    scalar: (a, b) => `max(${a}, ${b})`,
    pull: (k, dy, a, b) => {
      const isA = k.compare(a, b, "GE");
      return [k.select(isA, dy, zerosLike(k, dy)), k.select(isA, zerosLike(k, dy), dy)];
    },
  }),
  binary({
    name: "minimum",
    doc: "The smaller of a and b; at a tie the gradient goes to a.",
    scalar: (a, b) => `min(${a}, ${b})`,
    pull: (k, dy, a, b) => {
      const isA = k.compare(a, b, "LE");
      return [k.select(isA, dy, zerosLike(k, dy)), k.select(isA, zerosLike(k, dy), dy)];
    },
  }),
];

const relations: Readonly<Record<Direction, string>> = {
  EQ: "===",
  NE: "!==",
  LT: "<",
  LE: "<=",
  GT: ">",
  GE: ">=",
};

/** `direction` is one of EQ NE LT LE GT GE, as in StableHLO. */
const compare: OpDef<{ direction: string }> = {
  name: "compare",
  doc: "A mask of where a stands in the given relation to b.",
  attrs: { direction: "string" },
  discrete: true,
  infer(ins, { direction }) {
    expectArity("compare", ins, 2);
    const [a, b] = [at(ins, 0), at(ins, 1)];
    if (!Object.hasOwn(relations, direction))
      broken("compare", `direction is one of ${Object.keys(relations).join(" ")}, got ${direction}`);
    if (a.dtype !== b.dtype) broken("compare", `dtypes differ: ${a.dtype} and ${b.dtype}`);
    return [tensor("bool", broadcastDims("compare", a.dims, b.dims))];
  },
  scalar: (operands, { direction }) =>
    `+(${at(operands, 0)} ${relations[direction as Direction]} ${at(operands, 1)})`,
};

const select: OpDef = {
  name: "select",
  doc: "a where pred holds, else b; all three broadcast.",
  attrs: {},
  infer(ins) {
    expectArity("select", ins, 3);
    const [pred, a, b] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    if (pred.dtype !== "bool") broken("select", `the first operand is a mask (bool), got ${pred.dtype}`);
    if (a.dtype !== b.dtype) broken("select", `dtypes differ: ${a.dtype} and ${b.dtype}`);
    return [tensor(a.dtype, broadcastDims("select", broadcastDims("select", pred.dims, a.dims), b.dims))];
  },
  vjp(k, { dy, ins }) {
    const [pred, a, b] = [at(ins, 0), at(ins, 1), at(ins, 2)];
    const [g, zero] = [dy(0), k.scalar(0, dy(0))];
    return [
      null,
      k.unbroadcast(k.select(pred, g, zero), k.typeOf(a)),
      k.unbroadcast(k.select(pred, zero, g), k.typeOf(b)),
    ];
  },
  scalar: (operands) => `${at(operands, 0)} ? ${at(operands, 1)} : ${at(operands, 2)}`,
};

const convert: OpDef<{ type: TensorType }> = {
  name: "convert",
  doc: "The same numbers in another dtype: floats round to nearest even, integers truncate, bool is whether it is not 0.",
  attrs: { type: "type" },
  infer(ins, { type }) {
    expectArity("convert", ins, 1);
    return [tensor(type.dtype, at(ins, 0).dims)];
  },
  vjp: (k, { dy, ins }) => [k.convert(dy(0), k.typeOf(at(ins, 0)).dtype)],
  scalar(operands, _attrs, out) {
    const x = at(operands, 0);
    if (out.dtype === "bool") return `+(${x} !== 0)`;
    return out.dtype === "i32" ? `trunc(${x})` : x;
  },
  flops: () => 0,
};

export const elementwiseOps: readonly OpDef[] = [...unaryOps, ...binaryOps, compare, select, convert];
