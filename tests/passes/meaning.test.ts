// Passes keep the meaning: values and gradients before and after, on random modules; and each is idempotent.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { forwardPipeline } from "../../passes/forward.ts";
import { differentiation, jointPipeline, passes } from "../../passes/index.ts";
import { type Pass, runPipeline } from "../../passes/pass.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, type Recipe, recipes, stepNames } from "../support/modules.ts";
import { randomFrom } from "../support/random.ts";
import { expectSameButRounding } from "../support/rounding.ts";
import { runModule } from "../support/run.ts";
import { frozen, numbersFor, operandsOf, resultsInOrder } from "./support.ts";

const engine = await startTfjsEngine();
const seeds = fc.integer({ min: 0, max: 2 ** 30 });

/** Values and gradients of a loss with `forward` before and `joint` after differentiation. */
function expectSame(module: Module, forward: readonly Pass[], joint: readonly Pass[], seed: number): void {
  const loss = frozen(lossOf(module));
  const plain = differentiate(loss);
  const changed = runPipeline(frozen(differentiate(runPipeline(loss, forward))), joint);
  const numbers = numbersFor(loss, randomFrom(seed));
  const found = runModule(engine, changed, operandsOf(changed, numbers));
  const ordered = resultsInOrder(plain, changed, found, 1);
  expectSameButRounding(engine, plain, operandsOf(plain, numbers), ordered, 1e-5);
}

const keeping = passes.filter((pass) => pass !== differentiation);

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
    fc.property(recipes(10), fc.boolean(), seeds, (recipe, scanLayers, seed) =>
      expectSame(moduleOf(recipe), forwardPipeline({ scanLayers }), jointPipeline, seed),
    ),
    { numRuns: 40, examples: [[vanishing, false, 1073741802]] },
  );
});
