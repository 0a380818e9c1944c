// Reverse mode against small steps, on random modules; and that tracing leaves tfjs as it found it.
import { describe, expect, test } from "@jest/globals";
import { engine as tfEngine } from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { difference } from "../support/equal.ts";
import { checkGradients, lossOf } from "../support/gradients.ts";
import { moduleOf, recipes, stepNames } from "../support/modules.ts";
import { randomData, randomFrom } from "../support/random.ts";
import { distance, runModule } from "../support/run.ts";

const engine = await startTfjsEngine();
const seeds = fc.integer({ min: 0, max: 2 ** 30 });

const check = (module: ReturnType<typeof moduleOf>, seed: number): void => {
  const random = randomFrom(seed);
  const ins = module.body.params.map((x) => randomData(x.type, random));
  for (const { param, found, wanted, error } of checkGradients(engine, module, ins, random))
    expect({ param, found, wanted, isNear: error < 2e-3 }).toMatchObject({ isNear: true });
};

describe("gradients are what small steps show", () => {
  test.each(stepNames)("through %s", (name) => {
    for (const params of [
      [0, 0],
      [0, 1],
      [1, 0],
      [3, 2],
      [2, 3],
      [2, 2],
    ])
      check(moduleOf({ params, steps: [{ name, a: 0, b: 1 }], results: [] }), 3);
  });

  test.each(stepNames)("through %s of a value and itself", (name) => {
    check(
      moduleOf({
        params: [0],
        steps: [
          { name: "sine", a: 0, b: 0 },
          { name, a: 1, b: 1 },
        ],
        results: [1, 0],
      }),
      5,
    );
  });

  test("through random graphs", () => {
    fc.assert(
      fc.property(recipes(10), seeds, (recipe, seed) => {
        const module = moduleOf(recipe);
        verifyModule(differentiate(lossOf(module)), "differentiate");
        check(module, seed);
      }),
      { numRuns: 150 },
    );
  });
});

const text = (params: string, body: string, results: string) =>
  parseModule(`module m(${params}) {\n${body}\n  return ${results}\n}\n`);

test("a parameter that is not used has a zero gradient", () => {
  const module = text(
    "param %a: f32[n=2], param %unused: f32[m=3], param %dead: f32[n=2]",
    "  %gone = exp(%dead) : f32[n=2]\n  %loss = reduce_sum(%a) {axes=[0]} : f32[]",
    "%loss",
  );
  const [loss, da, dUnused, dDead] = runModule(engine, differentiate(module), [
    Float32Array.of(1, 2),
    new Float32Array(3),
    Float32Array.of(5, 6),
  ]);
  expect([[...loss!], [...da!], [...dUnused!], [...dDead!]]).toEqual([[3], [1, 1], [0, 0, 0], [0, 0]]);
});

test("only parameters are differentiated, in their order", () => {
  const module = text(
    "param %a: f32[], input %x: f32[], state %s: f32[], param %b: f32[]",
    "  %ax = multiply(%a, %x) : f32[]\n  %loss = multiply(%ax, %b) : f32[]",
    "%loss, %ax",
  );
  const joint = differentiate(module);
  expect(joint.roles).toEqual(module.roles);
  const found = runModule(
    engine,
    joint,
    [2, 3, 5, 7].map((x) => Float32Array.of(x)),
  );
  expect(found.map((x) => x[0])).toEqual([42, 6, 21, 6]);
});

test("a value used several times gathers its cotangents", () => {
  const module = text(
    "param %a: f32[]",
    "  %s = multiply(%a, %a) : f32[]\n  %c = multiply(%s, %a) : f32[]\n  %sc = add(%s, %c) : f32[]\n  %loss = add(%sc, %a) : f32[]",
    "%loss",
  );
  expect(runModule(engine, differentiate(module), [Float32Array.of(2)]).map((x) => x[0])).toEqual([
    4 + 8 + 2,
    4 + 12 + 1,
  ]);
});

test("a parameter may itself be the loss", () => {
  const module = text("param %a: f32[], param %b: f32[]", "", "%a");
  expect(
    runModule(
      engine,
      differentiate(module),
      [3, 4].map((x) => Float32Array.of(x)),
    ).map((x) => x[0]),
  ).toEqual([3, 1, 0]);
});

test("through a loop whose carry nobody reads, and one that hands its carry on unchanged", () => {
  const module = text(
    "param %c: f32[n=2], param %x: f32[t=3, n=2]",
    `  %last, %ys = scan(%c, %x) {length=3, carries=1, xs=1, reverse=false, label="t"} : f32[n=2], f32[t=3, n=2]
    (%carry: f32[n=2], %row: f32[n=2]) {
      %y = multiply(%carry, %row) : f32[n=2]
      return %carry, %y
    }
  %loss = reduce_sum(%ys) {axes=[0, 1]} : f32[]`,
    "%loss",
  );
  const [, dc, dx] = runModule(engine, differentiate(module), [
    Float32Array.of(2, 3),
    Float32Array.of(1, 2, 3, 4, 5, 6),
  ]);
  expect([[...dc!], [...dx!]]).toEqual([
    [9, 12],
    [2, 3, 2, 3, 2, 3],
  ]);
});

test("a loop over integers beside floats", () => {
  const module = text(
    "param %table: f32[v=4], input %i: i32[t=3], param %c: f32[]",
    `  %last = scan(%c, %i, %table) {length=3, carries=1, xs=1, reverse=false, label="t"} : f32[]
    (%carry: f32[], %at: i32[], %rows: f32[v=4]) {
      %row = take(%rows, %at) : f32[]
      %next = multiply(%carry, %row) : f32[]
      return %next
    }`,
    "%last",
  );
  const [loss, dTable, dc] = runModule(engine, differentiate(module), [
    Float32Array.of(2, 3, 5, 7),
    Int32Array.of(0, 2, 0),
    Float32Array.of(1),
  ]);
  expect([[...loss!], [...dTable!], [...dc!]]).toEqual([[20], [20, 0, 4, 0], [20]]);
});

// Each step multiplies by one and a row of the table times a weight; the carried count says which row.
test.each([
  [false, { last: 21, table: [7, 6, 0, 0], weights: [14, 9] }],
  [true, { last: 20, table: [8, 5, 0, 0], weights: [15, 8] }],
])("a loop that carries a count, reverse=%s", (reverse, wanted) => {
  const module = text(
    "param %table: f32[v=4], input %n: i32[], param %weights: f32[t=2], param %c: f32[]",
    `  %end, %last, %counts = scan(%n, %c, %weights, %table) {length=2, carries=2, xs=1, reverse=${reverse}, label="t"} : i32[], f32[], i32[t=2]
    (%count: i32[], %carry: f32[], %weight: f32[], %rows: f32[v=4]) {
      %row = take(%rows, %count) : f32[]
      %weighted = multiply(%row, %weight) : f32[]
      %step = multiply(%carry, %weighted) : f32[]
      %next = add(%carry, %step) : f32[]
      %one = constant() {value=1} : i32[]
      %more = add(%count, %one) : i32[]
      return %more, %next, %count
    }`,
    "%last, %end, %counts",
  );
  const joint = differentiate(module);
  verifyModule(joint);
  const found = runModule(engine, joint, [
    Float32Array.of(2, 3, 5, 7),
    Int32Array.of(0),
    Float32Array.of(1, 2),
    Float32Array.of(1),
  ]);
  const { last, table, weights } = wanted;
  const counts = reverse ? [1, 0] : [0, 1];
  expect(found.map((x) => [...x])).toEqual([[last], [2], counts, table, weights, [last]]);
});

test("in bf16 the gradient has the parameter's dtype and is near the one in f32", () => {
  const of = (dtype: string) =>
    text(
      `param %x: ${dtype}[r=3, k=8], param %w: ${dtype}[k=8, n=4], param %s: f32[n=4]`,
      `  %y = dot_general(%x, %w) {lhs_contracting=[1], rhs_contracting=[0], lhs_batch=[], rhs_batch=[]} : ${dtype}[r=3, n=4]
  %z = rms_norm(%y, %s) {eps=0.01, offset=1} : ${dtype}[r=3, n=4]
  %a = silu(%z) : ${dtype}[r=3, n=4]
  %f = convert(%a) : f32[r=3, n=4]
  %loss = reduce_sum(%f) {axes=[0, 1]} : f32[]`,
      "%loss",
    );
  const random = randomFrom(3);
  const ins = of("f32").body.params.map((x) =>
    randomData(x.type, random).map((n) => Math.round(n * 16) / 16),
  );
  const joint = differentiate(of("bf16"));
  expect(joint.body.results.slice(1).map((x) => x.type.dtype)).toEqual(["bf16", "bf16", "f32"]);
  const [narrow, wide] = [joint, differentiate(of("f32"))].map((module) => runModule(engine, module, ins));
  for (const [i, x] of wide!.entries()) expect(distance(narrow![i]!, x)).toBeLessThan(0.03);
});

describe("tracing leaves nothing behind", () => {
  const module = lossOf(
    moduleOf({
      params: [0, 1, 2],
      steps: stepNames.map((name, i) => ({ name, a: i, b: 2 * i + 1 })),
      results: [1],
    }),
  );

  test("the backend, the tape and the count of tensors are as before", () => {
    const before = {
      backend: tfEngine().backendName,
      tape: tfEngine().state.activeTape,
      depth: tfEngine().state.gradientDepth,
      memory: tfEngine().memory(),
    };
    differentiate(module);
    const after = {
      backend: tfEngine().backendName,
      tape: tfEngine().state.activeTape,
      depth: tfEngine().state.gradientDepth,
      memory: tfEngine().memory(),
    };
    expect(after).toEqual(before);
  });

  test("also when it fails half way", () => {
    const halfWay = (): never => {
      throw new Error("half way");
    };
    const before = {
      backend: tfEngine().backendName,
      tape: tfEngine().state.activeTape,
      depth: tfEngine().state.gradientDepth,
      memory: tfEngine().memory(),
    };
    const broken = {
      ...module.body,
      nodes: module.body.nodes.map((each) => ({ ...each, op: { ...each.op, vjp: halfWay } })),
    };
    expect(() => differentiate({ ...module, body: broken })).toThrow("half way");
    const after = {
      backend: tfEngine().backendName,
      tape: tfEngine().state.activeTape,
      depth: tfEngine().state.gradientDepth,
      memory: tfEngine().memory(),
    };
    expect(after).toEqual(before);
  });

  test("an engine still runs, and gives the same numbers as before", () => {
    const random = randomFrom(1);
    const ins = module.body.params.map((x) => randomData(x.type, random));
    const before = runModule(engine, module, ins);
    differentiate(module);
    expect(runModule(engine, module, ins)).toEqual(before);
  });

  test("differentiating twice gives the same text, the module itself unchanged", () => {
    const own = printModule(module);
    const [first, second] = [differentiate(module), differentiate(module)];
    expect(printModule(second)).toBe(printModule(first));
    expect(difference(first, second)).toBeUndefined();
    expect(printModule(module)).toBe(own);
  });

  test("the engine frees what it makes", () => {
    const random = randomFrom(1);
    const joint = differentiate(module);
    const ins = joint.body.params.map((x) => randomData(x.type, random));
    runModule(engine, joint, ins);
    const { numTensors, numDataBuffers } = tfEngine().memory();
    runModule(engine, joint, ins);
    expect(tfEngine().memory()).toMatchObject({ numTensors, numDataBuffers });
  });
});
