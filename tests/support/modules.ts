// Random small modules: chains and graphs with values used again, broadcasts, products and a loop.
import fc from "fast-check";
import { blockBuilder, value } from "../../compiler/ir/build.ts";
import { dim, tensor } from "../../compiler/ir/shape.ts";
import type { Module, Role, Value } from "../../compiler/ir/types.ts";
import type { K } from "../../compiler/ops/k.ts";

const [M, N] = [dim("m", 3), dim("n", 4)];
const matrix = tensor("f32", [M, N]);
/** Every value of a random module broadcasts to a matrix [m, n]. */
const paramTypes = [matrix, tensor("f32", [N]), tensor("f32", []), tensor("f32", [dim("m", 3), dim("n", 1)])];

type Step = (k: K<Value>, a: Value, b: Value) => Value;

const full = (k: K<Value>, x: Value): Value =>
  x.type.dims.length === 2 && x.type.dims[1]?.size === 4 ? x : k.broadcast(x, [M, N]);
const half = (k: K<Value>, x: Value): Value => k.mul(x, k.scalar(0.5, x));
const tame = (k: K<Value>, x: Value): Value => k.sin(x);

/** One op each, or a few; what could grow goes through a sine. */
const steps: Readonly<Record<string, Step>> = {
  add: (k, a, b) => half(k, k.add(a, b)),
  subtract: (k, a, b) => half(k, k.sub(a, b)),
  multiply: (k, a, b) => tame(k, k.mul(a, b)),
  divide: (k, a, b) => k.div(a, k.add(k.mul(b, b), k.scalar(1, b))),
  sine: (k, a) => k.sin(a),
  logistic: (k, a) => k.sigmoid(a),
  exp: (k, a) => k.exp(tame(k, a)),
  log: (k, a) => k.log(k.add(k.mul(a, a), k.scalar(1, a))),
  rsqrt: (k, a) => k.rsqrt(k.add(k.mul(a, a), k.scalar(0.5, a))),
  silu: (k, a) => k.one("silu", [a]),
  softplus: (k, a) => k.one("softplus", [k.add(tame(k, a), k.scalar(2, a))]),
  swiglu: (k, a, b) => k.one("swiglu", [full(k, a), full(k, tame(k, b))]),
  softmax: (k, a) => k.one("softmax", [full(k, a)]),
  rms_norm: (k, a, b) =>
    k.one("rms_norm", [full(k, a), k.sum(full(k, tame(k, b)), [0])], { eps: 0.1, offset: 1 }),
  l2_norm: (k, a) => k.one("l2_norm", [full(k, a)], { eps: 0.1 }),
  rows: (k, a) => k.sumKeep(full(k, tame(k, a)), 1),
  columns: (k, a) => k.sum(full(k, tame(k, a)), [0]),
  everything: (k, a) => k.sum(full(k, tame(k, a)), [0, 1]),
  cumsum: (k, a) => tame(k, k.cumsum(full(k, tame(k, a)), 1)),
  reversed_cumsum: (k, a) => tame(k, k.cumsum(full(k, tame(k, a)), 0, true)),
  gram: (k, a, b) => {
    const square = k.dot(full(k, tame(k, a)), full(k, tame(k, b)), { contract: [[1], [1]] });
    return tame(k, k.dot(half(k, square), full(k, tame(k, a)), { contract: [[1], [0]] }));
  },
  outer: (k, a, b) =>
    tame(k, k.dot(k.sum(full(k, tame(k, a)), [1]), k.sum(full(k, tame(k, b)), [0]), { contract: [[], []] })),
  turn: (k, a) => k.transpose(k.reshape(k.transpose(full(k, a), [1, 0]), [N, M]), [1, 0]),
  halves: (k, a) => k.concat([k.slice(full(k, a), 1, 2, 4), k.slice(full(k, a), 1, 0, 2)], 1),
  shift: (k, a) => k.slice(k.pad(full(k, a), 1, 1, 0), 1, 0, 4),
  masked: (k, a, b) => {
    const grid = tensor("i32", [M, N]);
    return k.select(k.compare(k.iota(grid, 0), k.iota(grid, 1), "GE"), a, b);
  },
  rows_taken: (k, a) =>
    k.take(
      full(k, a),
      k.convert(k.mul(k.iota(tensor("f32", [M]), 0), k.constant(0.7, tensor("f32", []))), "i32"),
    ),
  rounded: (k, a) => k.convert(k.convert(a, "f32"), "f32"),
  recurrence: (k, a, b) => {
    const [x, fixed] = [full(k, tame(k, a)), k.sum(full(k, tame(k, b)), [0])];
    const { carries, ys } = k.scan(
      { carries: [fixed], xs: [x], consts: [fixed], length: 3, label: "m" },
      ([c], [xt], [f]) => {
        const next = k.sin(k.add(k.mul(c!, xt!), f!));
        return { carries: [next], ys: [k.mul(next, f!)] };
      },
    );
    return k.add(ys[0]!, carries[0]!);
  },
  counted_recurrence: (k, a, b) => {
    const [x, rows] = [full(k, tame(k, a)), full(k, tame(k, b))];
    const { carries, ys } = k.scan(
      {
        carries: [k.constant(0, tensor("i32", [])), k.sum(x, [0])],
        xs: [x],
        consts: [rows],
        length: 3,
        reverse: true,
        label: "m",
      },
      ([count, c], [xt], [table]) => {
        const next = k.sin(k.add(k.mul(c!, k.take(table!, count!)), xt!));
        return { carries: [k.add(count!, k.constant(1, tensor("i32", []))), next], ys: [next] };
      },
    );
    return k.mul(ys[0]!, k.convert(carries[0]!, "f32"));
  },
  nested_recurrence: (k, a, b) => {
    const xs = full(k, tame(k, a));
    const outer = k.scan(
      {
        carries: [k.sum(full(k, tame(k, b)), [0])],
        xs: [xs],
        consts: [],
        length: 3,
        reverse: true,
        label: "m",
      },
      ([c], [row]) => {
        const scalars = k.scan(
          { carries: [k.sum(c!, [0])], xs: [row!], consts: [], length: 4, label: "n" },
          ([s], [x]) => {
            const moved = k.sin(k.add(s!, x!));
            return { carries: [moved], ys: [k.mul(moved, x!)] };
          },
        );
        return { carries: [k.add(k.sin(c!), scalars.ys[0]!)], ys: [c!] };
      },
    );
    return outer.ys[0]!;
  },
};

export type Recipe = {
  readonly params: readonly number[];
  readonly steps: readonly { readonly name: string; readonly a: number; readonly b: number }[];
  readonly results: readonly number[];
};

/** What to build: kinds of parameters, and steps that name earlier values by number. */
export const recipes = (maxSteps: number): fc.Arbitrary<Recipe> =>
  fc.record({
    params: fc.array(fc.nat({ max: paramTypes.length - 1 }), { minLength: 1, maxLength: 4 }),
    steps: fc.array(
      fc.record({
        name: fc.constantFrom(...Object.keys(steps)),
        a: fc.nat({ max: 1000 }),
        b: fc.nat({ max: 1000 }),
      }),
      { minLength: 1, maxLength: maxSteps },
    ),
    results: fc.array(fc.nat({ max: 1000 }), { minLength: 0, maxLength: 2 }),
  });

/** The module of a recipe: its last value and a few others are the results. */
export function moduleOf({ params, steps: chosen, results }: Recipe): Module {
  const builder = blockBuilder();
  const inputs = params.map((kind, i) => value(`p${i}`, paramTypes[kind]!));
  const values: Value[] = [...inputs];
  const pick = (index: number): Value => values[index % values.length]!;
  for (const { name, a, b } of chosen) {
    builder.hints = [name];
    values.push(steps[name]!(builder.k, pick(a), pick(b)));
  }
  return {
    name: "random",
    roles: inputs.map((): Role => "param"),
    body: { params: inputs, nodes: builder.nodes, results: [values.at(-1)!, ...results.map(pick)] },
  };
}

export const stepNames = Object.keys(steps);
