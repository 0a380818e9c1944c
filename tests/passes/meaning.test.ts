// Passes keep the meaning: values and gradients before and after, on random modules; and each is idempotent.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { differentiation, forwardPipeline, jointPipeline, passes } from "../../passes/index.ts";
import { type Pass, runPipeline } from "../../passes/pass.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, type Recipe, recipes, stepNames } from "../support/modules.ts";
import { randomFrom } from "../support/random.ts";
import { expectSameButRounding } from "../support/rounding.ts";
import { areFinite, distance, runModule } from "../support/run.ts";
import { frozen, gradientsOf, numbersFor, operandsOf } from "./support.ts";

const engine = await startTfjsEngine();
const seeds = fc.integer({ min: 0, max: 2 ** 30 });

// Of the loss's weights, which lie within 1.5 of zero: a loss or a gradient far smaller is a difference of larger ones.
const FLOOR = 0.05;

type Changed = { readonly module: Module; readonly ins: readonly HostArray[] };

/** Values and gradients of a loss with `forward` before and `joint` after differentiation; what came of it. */
function expectSame(module: Module, forward: readonly Pass[], joint: readonly Pass[], seed: number): Changed {
  const loss = frozen(lossOf(module));
  const plain = differentiate(loss);
  const changed = runPipeline(frozen(differentiate(runPipeline(loss, forward))), joint);
  const numbers = numbersFor(loss, randomFrom(seed));
  const [wanted, found] = [plain, changed].map((each) => runModule(engine, each, operandsOf(each, numbers)));
  expect(wanted!.every((x) => areFinite(x))).toBe(true);
  expect(distance(found![0]!, wanted![0]!, FLOOR)).toBeLessThan(1e-5);
  const [before, after] = [gradientsOf(plain, wanted!, 1), gradientsOf(changed, found!, 1)];
  expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
  for (const [name, gradient] of before)
    expect(distance(after.get(name)!, gradient, FLOOR)).toBeLessThan(1e-5);
  return { module: changed, ins: operandsOf(changed, numbers) };
}

/** Passes whose programs round where the module does. A fused loop rounds less often: it is held to what rounding does. */
const keeping = passes.filter((pass) => pass !== differentiation && pass !== fuseKernels);

describe.each(keeping.map((pass) => [pass.name, pass] as const))("%s", (_, pass) => {
  const every = moduleOf({
    params: [0, 1, 2, 3],
    steps: stepNames.map((name, i) => ({ name, a: i, b: 2 * i + 1 })),
    results: [1],
  });

  test("keeps values and gradients", () => {
    expectSame(every, [pass], [], 1);
    expectSame(every, [], [pass], 1);
    fc.assert(
      fc.property(recipes(10), seeds, (recipe, seed) => {
        expectSame(moduleOf(recipe), [pass], [], seed);
        expectSame(moduleOf(recipe), [], [pass], seed);
      }),
      { numRuns: 25 },
    );
  });

  test("changes nothing the second time, and prints what parses", () => {
    fc.assert(
      fc.property(recipes(12), (recipe) => {
        for (const module of [moduleOf(recipe), differentiate(lossOf(moduleOf(recipe)))]) {
          const once = runPipeline(frozen(module), [pass]);
          const text = printModule(once);
          expect(printModule(runPipeline(once, [pass]))).toBe(text);
          expect(printModule(runPipeline(parseModule(text), [pass]))).toBe(text);
        }
      }),
      { numRuns: 25 },
    );
  });
});

/** Terms near 1 that add up to a loss of 6e-4. */
const vanishing: Recipe = {
  params: [0],
  steps: [
    { name: "logistic", a: 0, b: 0 },
    { name: "rms_norm", a: 1, b: 0 },
    { name: "divide", a: 2, b: 2 },
  ],
  results: [],
};

test("the pipelines keep values and gradients", () => {
  fc.assert(
    fc.property(recipes(10), fc.boolean(), seeds, (recipe, scanLayers, seed) => {
      const joint = jointPipeline({ scanLayers });
      const fusing = joint.indexOf(fuseKernels);
      const forward = forwardPipeline({ scanLayers });
      const { module, ins } = expectSame(moduleOf(recipe), forward, joint.slice(0, fusing), seed);
      expectSameButRounding(engine, module, runPipeline(frozen(module), joint.slice(fusing)), ins, 1e-5);
    }),
    { numRuns: 40, examples: [[vanishing, false, 1073741802]] },
  );
});
