// Operands and attributes an op does not fit: `infer` refuses them with a clear error, or what it infers is what runs.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { type DType, dtypes } from "../../compiler/dtype.ts";
import { node, value } from "../../compiler/ir/build.ts";
import { expand } from "../../compiler/ir/expand.ts";
import { elements, formatType, shapeOf } from "../../compiler/ir/shape.ts";
import type { Attr, Attrs, Block, Dim, Module, Node, TensorType } from "../../compiler/ir/types.ts";
import { ops } from "../../compiler/ops/index.ts";
import type { OpDef } from "../../compiler/ops/op.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { type Case, cases } from "../support/cases.ts";
import { problemOf } from "../support/failures.ts";
import { runner } from "../support/run.ts";

const engine = await startTfjsEngine();

type Use = {
  readonly op: OpDef;
  readonly types: readonly TensorType[];
  readonly attrs: Attrs;
  readonly regions: readonly Block[];
};
type Misuse = {
  readonly how: number;
  readonly at: number;
  readonly axis: number;
  readonly size: number;
  readonly dtype: DType;
  readonly attr: Attr;
};

const useOf = ({ module, op }: Case): Use => {
  const made = module.body.nodes.find((each) => each.op.name === op)!;
  return { op: made.op, types: made.ins.map((x) => x.type), attrs: made.attrs, regions: made.regions };
};

const withDims = (type: TensorType, dims: readonly Dim[]): TensorType => ({ ...type, dims });

/** One change to an operand's type. */
const onType: readonly ((type: TensorType, misuse: Misuse) => TensorType)[] = [
  (type, { dtype }) => ({ ...type, dtype }),
  (type, { axis, size }) =>
    withDims(
      type,
      type.dims.map((d, i) => (i === axis % type.dims.length ? { ...d, size } : d)),
    ),
  (type, { axis }) =>
    withDims(
      type,
      type.dims.map((d, i) => (i === axis % type.dims.length ? { ...d, label: "other" } : d)),
    ),
  (type, { axis, size }) =>
    withDims(type, type.dims.toSpliced(axis % (type.dims.length + 1), 0, { label: "more", size })),
  (type, { axis }) => withDims(type, type.dims.toSpliced(axis % Math.max(1, type.dims.length), 1)),
  (type) => withDims(type, []),
  (type) => withDims(type, type.dims.toReversed()),
];

/** One change to a use: to an operand's type, to the operands, or to an attribute. */
function changed(use: Use, misuse: Misuse): Use {
  const { types, attrs } = use;
  const [at, names] = [misuse.at % Math.max(1, types.length), Object.keys(use.op.attrs)];
  const name = names[misuse.at % Math.max(1, names.length)];
  const how = misuse.how % (onType.length + 4);
  if (how < onType.length)
    return { ...use, types: types.map((type, i) => (i === at ? onType[how]!(type, misuse) : type)) };
  if (how === onType.length) return { ...use, types: types.toSpliced(at, 1) };
  if (how === onType.length + 1)
    return { ...use, types: types[at] ? types.toSpliced(at, 0, types[at]) : types };
  return name === undefined ? use : { ...use, attrs: { ...attrs, [name]: misuse.attr } };
}

const attr: fc.Arbitrary<Attr> = fc.oneof(
  fc.constantFrom<Attr>(-1, 0, 1, 2, 3, 9, 0.5, true, "LT", "constructor", "a b", ""),
  fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 4 }),
  fc
    .array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 })
    .map((sizes) => ({ dtype: "f32" as const, dims: sizes.map((size) => ({ label: "z", size })) })),
);
const misuses = fc.array(
  fc.record({
    how: fc.nat(100),
    at: fc.nat(100),
    axis: fc.nat(100),
    size: fc.integer({ min: 1, max: 6 }),
    dtype: fc.constantFrom(...dtypes),
    attr,
  }),
  { minLength: 1, maxLength: 2 },
);

const describeUse = ({ op, types, attrs }: Use): string =>
  `${op.name}(${types.map(formatType).join(", ")}) ${JSON.stringify(attrs)}`;

const zeros = (type: TensorType) =>
  type.dtype === "i32"
    ? new Int32Array(elements(type))
    : type.dtype === "bool"
      ? new Uint8Array(elements(type))
      : new Float32Array(elements(type));

function attempt(use: Use): void {
  const ins = use.types.map((type, i) => value(`x${i}`, type));
  let made: Node | undefined;
  const problem = problemOf(() => {
    made = node(use.op, ins, { attrs: use.attrs, regions: use.regions });
  });
  if (problem) {
    expect(["bad-operands", "bad-attribute"]).toContain(problem.diagnostics[0]!.code);
    return;
  }
  const module: Module = {
    name: "misuse",
    roles: ins.map(() => "input"),
    body: { params: ins, nodes: [made!], results: made!.outs },
  };
  expand(module.body, ({ op }) => op.decompose !== undefined);
  for (const { data, shape, type } of runner(engine, module)(ins.map((x) => zeros(x.type)))) {
    expect(shape).toEqual(shapeOf(type));
    expect(data.length).toBe(elements(type));
    expect(data).toBeInstanceOf(zeros(type).constructor);
  }
}

test.each(ops.map((op): [string, OpDef] => [op.name, op]))("%s", (name) => {
  const own = cases.filter(({ op }) => op === name).map(useOf);
  fc.assert(
    fc.property(fc.constantFrom(...own), misuses, (use, slips) => {
      const wrong = slips.reduce(changed, use);
      try {
        attempt(wrong);
      } catch (error) {
        throw new Error(`${describeUse(wrong)}: ${(error as Error).message}`, { cause: error });
      }
    }),
    { numRuns: 100 },
  );
});
