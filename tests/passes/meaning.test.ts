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
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, recipes, stepNames } from "../support/modules.ts";
import { randomFrom } from "../support/random.ts";
import { areFinite, distance, runModule } from "../support/run.ts";
import { frozen, gradientsOf, numbersFor, operandsOf } from "./support.ts";

const engine = await startTfjsEngine();
const seeds = fc.integer({ min: 0, max: 2 ** 30 });

// Of the loss's weights, which lie within 1.5 of zero: a gradient far smaller is a difference of larger ones.
const FLOOR = 0.05;

/** Values of both, and gradients of a loss with `before` and then `after` differentiation. */
function expectSame(module: Module, forward: readonly Pass[], joint: readonly Pass[], seed: number): void {
  const loss = frozen(lossOf(module));
  const plain = differentiate(loss);
  const changed = runPipeline(frozen(differentiate(runPipeline(loss, forward))), joint);
  const numbers = numbersFor(loss, randomFrom(seed));
  const [wanted, found] = [plain, changed].map((each) => runModule(engine, each, operandsOf(each, numbers)));
  if (!wanted!.every((x) => areFinite(x))) return;
  expect(distance(found![0]!, wanted![0]!)).toBeLessThan(1e-5);
  const [before, after] = [gradientsOf(plain, wanted!, 1), gradientsOf(changed, found!, 1)];
  expect([...after.keys()].sort()).toEqual([...before.keys()].sort());
  for (const [name, gradient] of before)
    expect(distance(after.get(name)!, gradient, FLOOR)).toBeLessThan(1e-5);
}

// A fused loop rounds less often than its ops one by one, which a module with cancellation magnifies: tests/fusion holds
// it against what rounding does to the same module.
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

test("the pipelines keep values and gradients", () => {
  fc.assert(
    fc.property(recipes(10), fc.boolean(), seeds, (recipe, scanLayers, seed) =>
      expectSame(moduleOf(recipe), forwardPipeline({ scanLayers }), jointPipeline({ scanLayers }), seed),
    ),
    { numRuns: 40 },
  );
});
