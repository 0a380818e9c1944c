// Words of the architecture language that speak in dim names rather than positions. Each becomes ops.
import type { CallExpression, Expression } from "../config/expression.ts";
import { counted, didYouMean, fail } from "../diag.ts";
import type { DType } from "../dtype.ts";
import { dim, formatDims, formatType, range, sameDims, sizeOf, tensor } from "../ir/shape.ts";
import type { Dim, Value } from "../ir/types.ts";
import type { K } from "../ops/k.ts";
import type { Frame } from "./frame.ts";

type Form = (frame: Frame, call: CallExpression) => readonly Value[];

/** Gives the smaller operand a size-1 dim for each name it lacks, so that dims meet by name. */
export function align(k: K<Value>, a: Value, b: Value): readonly [Value, Value] {
  const [x, y] = [a.type.dims, b.type.dims];
  if (x.length === y.length || x.length === 0 || y.length === 0) return [a, b];
  return x.length > y.length ? [a, spread(k, b, x)] : [spread(k, a, y), b];
}

function spread(k: K<Value>, small: Value, target: readonly Dim[]): Value {
  const own = [...small.type.dims];
  const dims = target.map((d) => (own[0]?.label === d.label ? (own.shift() ?? d) : dim(d.label, 1)));
  if (own.length > 0)
    fail({
      code: "arch-shape",
      message: `the dims [${formatDims(small.type.dims)}] are not among [${formatDims(target)}] in this order`,
    });
  return k.reshape(small, dims);
}

function arityOf(call: CallExpression, count: number, named: readonly string[]): void {
  if (call.args.length !== count)
    fail({
      code: "arch-arity",
      message: `\`${call.callee}\` takes ${counted(count, "operand")}, got ${call.args.length}`,
      at: call.at,
    });
  for (const { name, nameAt } of call.named)
    if (!named.includes(name))
      fail({
        code: "arch-name",
        message: `\`${call.callee}\` takes no ${name}${named.length > 0 ? `; it takes ${named.join(", ")}` : ""}`,
        at: nameAt,
        help: didYouMean(name, named),
      });
}

function argument(call: CallExpression, index: number): Expression {
  const found = call.args[index];
  return found ?? fail({ code: "arch-arity", message: `\`${call.callee}\` lacks an operand`, at: call.at });
}

function namedArgument(call: CallExpression, name: string): Expression {
  const found = call.named.find((each) => each.name === name);
  return (
    found?.value ?? fail({ code: "arch-arity", message: `\`${call.callee}\` needs ${name}=…`, at: call.at })
  );
}

/** The axes of x that carry the given dims, in that order. */
function axesOf(frame: Frame, x: Value, dims: readonly Dim[], call: CallExpression): number[] {
  return dims.map(({ label }) => {
    const axis = x.type.dims.findIndex((d) => d.label === label);
    if (axis >= 0) return axis;
    return fail({
      code: "arch-shape",
      message: `\`${x.hint}\` has no dim \`${label}\`: it is ${formatType(x.type)}`,
      at: call.at,
      notes: [{ message: `\`${x.hint}\` comes from here`, at: frame.context.declared.get(x) }],
    });
  });
}

/** `dot(a, b, over=dims)`: contract the dims; other dims with a common name are batch dims. */
const dot: Form = (frame, call) => {
  arityOf(call, 2, ["over"]);
  const [a, b] = [frame.tensor(argument(call, 0)), frame.tensor(argument(call, 1))];
  const over = frame.dimList(namedArgument(call, "over"));
  const contract = [axesOf(frame, a, over, call), axesOf(frame, b, over, call)] as const;
  const shared = a.type.dims.filter(
    (d, axis) =>
      d.label !== "_" &&
      !contract[0].includes(axis) &&
      b.type.dims.some((e, i) => e.label === d.label && !contract[1].includes(i)),
  );
  const batch = [axesOf(frame, a, shared, call), axesOf(frame, b, shared, call)] as const;
  return [frame.build(call.at, [a, b], () => frame.context.builder.k.dot(a, b, { contract, batch }))];
};

const reshape: Form = (frame, call) => {
  arityOf(call, 2, []);
  const x = frame.tensor(argument(call, 0));
  const dims = frame.dimList(argument(call, 1));
  return [frame.build(call.at, [x], () => frame.context.builder.k.reshape(x, dims))];
};

/** `split(x, [dims])`: consecutive parts of the last axis, each under its own name. */
const split: Form = (frame, call) => {
  arityOf(call, 2, []);
  const x = frame.tensor(argument(call, 0));
  const parts = frame.dimList(argument(call, 1));
  const axis = x.type.dims.length - 1;
  const last = x.type.dims[axis];
  const total = parts.reduce((n, d) => n + d.size, 0);
  if (!last || total !== last.size)
    fail({
      code: "arch-shape",
      message: `the parts [${formatDims(parts)}] add up to ${total}, the last dim of \`${x.hint}\` is ${last ? `${last.label}=${last.size}` : "missing"}`,
      at: call.at,
      notes: [{ message: `\`${x.hint}\` comes from here`, at: frame.context.declared.get(x) }],
    });
  const { builder } = frame.context;
  const names = builder.hints;
  let start = 0;
  const made = parts.map((part, i) => {
    builder.hints = [names[i] ?? names[0] ?? "part"];
    const limit = start + part.size;
    const piece = frame.build(call.at, [x], () => {
      const cut = builder.k.slice(x, axis, start, limit);
      return builder.k.reshape(cut, [...x.type.dims.slice(0, -1), part]);
    });
    start = limit;
    return piece;
  });
  builder.hints = names;
  return made;
};

/** `concat(a, b, …, into=dim)`: one after another along the last axis. */
const concat: Form = (frame, call) => {
  arityOf(call, call.args.length, ["into"]);
  const xs = call.args.map((arg) => frame.tensor(arg));
  const into = frame.dim(namedArgument(call, "into"));
  return [
    frame.build(call.at, xs, () => {
      const { k } = frame.context.builder;
      const joined = k.concat(xs, (xs[0]?.type.dims.length ?? 1) - 1);
      return k.reshape(joined, [...joined.type.dims.slice(0, -1), into]);
    }),
  ];
};

const reduced =
  (isMean: boolean): Form =>
  (frame, call) => {
    arityOf(call, 1, ["over"]);
    const x = frame.tensor(argument(call, 0));
    const over = frame.dimList(namedArgument(call, "over"));
    const axes = axesOf(frame, x, over, call);
    return [
      frame.build(call.at, [x], () => {
        const { k } = frame.context.builder;
        const total = k.sum(x, axes);
        const count = axes.reduce((n, axis) => n * (x.type.dims[axis]?.size ?? 1), 1);
        return isMean ? k.mul(total, k.scalar(1 / count, total)) : total;
      }),
    ];
  };

const converted =
  (dtypeOf: (frame: Frame) => DType): Form =>
  (frame, call) => {
    arityOf(call, 1, []);
    const x = frame.tensor(argument(call, 0));
    return [frame.build(call.at, [x], () => frame.context.builder.k.convert(x, dtypeOf(frame)))];
  };

/** `cast(x, y)`: x in the dtype of y. */
const cast: Form = (frame, call) => {
  arityOf(call, 2, []);
  const [x, like] = [frame.tensor(argument(call, 0)), frame.tensor(argument(call, 1))];
  return [frame.build(call.at, [x], () => frame.context.builder.k.convert(x, like.type.dtype))];
};

/** `zeros([dims])` in f32. */
const zeros: Form = (frame, call) => {
  arityOf(call, 1, []);
  const dims = frame.dimList(argument(call, 0));
  return [frame.build(call.at, [], () => frame.context.builder.k.constant(0, tensor("f32", dims)))];
};

/** `one_hot(indices, dim)`: 1 where the index is the position along a new last dim, in f32. */
const oneHot: Form = (frame, call) => {
  arityOf(call, 2, []);
  const x = frame.tensor(argument(call, 0));
  const classes = frame.dim(argument(call, 1));
  return [
    frame.build(call.at, [x], () => {
      const { k } = frame.context.builder;
      const isHere = k.compare(
        k.reshape(x, [...x.type.dims, dim("_", 1)]),
        k.iota(tensor("i32", [classes]), 0),
        "EQ",
      );
      return k.convert(isHere, "f32");
    }),
  ];
};

/** `bincount(indices, dim)`: how often each index below the dim's size occurs. */
const bincount: Form = (frame, call) => {
  arityOf(call, 2, []);
  const x = frame.tensor(argument(call, 0));
  const classes = frame.dim(argument(call, 1));
  return [
    frame.build(call.at, [x], () =>
      frame.context.builder.k.one("bincount", [x], { type: tensor("i32", [classes]) }),
    ),
  ];
};

/** `transpose(x, [dims])`: the same dims in another order. */
const transpose: Form = (frame, call) => {
  arityOf(call, 2, []);
  const x = frame.tensor(argument(call, 0));
  const order = axesOf(frame, x, frame.dimList(argument(call, 1)), call);
  if (range(x.type.dims.length).some((axis) => !order.includes(axis)))
    fail({
      code: "arch-shape",
      message: `\`transpose\` names every dim of ${formatType(x.type)} once`,
      at: call.at,
    });
  return [frame.build(call.at, [x], () => frame.context.builder.k.transpose(x, order))];
};

/** `wanted(x)`: x [batch, seq, ..] at the tokens whose logits are asked for: all, or the last ones of each row. */
const wanted: Form = (frame, call) => {
  arityOf(call, 1, []);
  const x = frame.tensor(argument(call, 0));
  const { builder, cursor, declared, options, tokens } = frame.context;
  const places = x.type.dims.slice(0, 2);
  if (!sameDims(places, tokens))
    fail({
      code: "arch-shape",
      message: `\`wanted\` takes [${formatDims(tokens)}, ..], a vector for each token; \`${x.hint}\` is ${formatType(x.type)}`,
      at: call.at,
      notes: [{ message: `\`${x.hint}\` comes from here`, at: declared.get(x) }],
    });
  const count = options.wanted ?? Number.POSITIVE_INFINITY;
  if (!cursor || count >= (tokens[1]?.size ?? 0)) return [x];
  return [frame.build(call.at, [x], () => lastRows(builder.k, x, cursor.lengths, count))];
};

/** The `count` rows of x [batch, seq, ..] before row lengths[b]; the first row stands for those that are not there. */
function lastRows(k: K<Value>, x: Value, lengths: Value, count: number): Value {
  const [batch, seq, ...rest] = x.type.dims as [Dim, Dim, ...Dim[]];
  const number = (n: number): Value => k.scalar(n, lengths);
  const grid = tensor("i32", [batch, dim(seq.label, count)]);
  const from = k.sub(k.reshape(lengths, [batch, dim("_", 1)]), number(count));
  const place = k.max(k.add(k.iota(grid, 1), from), number(0));
  const row = k.add(k.mul(k.iota(grid, 0), number(seq.size)), place);
  return k.take(k.reshape(x, [dim("_", sizeOf([batch, seq])), ...rest]), row);
}

export const forms: Readonly<Partial<Record<string, Form>>> = {
  dot,
  reshape,
  split,
  concat,
  sum: reduced(false),
  mean: reduced(true),
  zeros,
  cast,
  one_hot: oneHot,
  bincount,
  transpose,
  wanted,
  /** In f32, whatever it was. */
  f32: converted(() => "f32"),
  /** In the activation dtype (MaxText `dtype`). */
  act: converted((frame) => frame.context.options.activationDType),
};
