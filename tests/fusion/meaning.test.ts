// Fusion changes no number that matters: random modules and the tiny models, values and gradients, f32 and bf16.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { isFloat } from "../../compiler/dtype.ts";
import { node, value } from "../../compiler/ir/build.ts";
import { expand } from "../../compiler/ir/expand.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import type { Attrs, Block, Module, TensorType, Value } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { isLoop } from "../../compiler/ops/fused.ts";
import { roundTo } from "../../compiler/ops/round.ts";
import { gradientProgram, updateProgram } from "../../compiler/training.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
import { batchOf, configOf, goldenDirectories, readTrain } from "../reference/golden.ts";
import { difference } from "../support/equal.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, recipes } from "../support/modules.ts";
import { randomData, randomFrom, within } from "../support/random.ts";
import { expectSameButRounding } from "../support/rounding.ts";
import { distance, norm, runModule } from "../support/run.ts";

const engine = await startTfjsEngine();
const fusedOf = (module: Module): Module => {
  const fused = fuseKernels.run(module, () => {});
  verifyModule(fused);
  return fused;
};

const operands = (module: Module, seed: number) =>
  module.body.params.map((x) => {
    const data = randomData(x.type, randomFrom(seed));
    return data instanceof Float32Array ? roundTo(x.type.dtype, data) : data;
  });

const expectSame = (module: Module, fused: Module, seed: number): void => {
  const ins = operands(module, seed);
  expectSameButRounding(engine, module, ins, runModule(engine, fused, ins), 1e-5);
};

/** The module with every float in another dtype, converts left out of it. */
function inDType(module: Module, dtype: TensorType["dtype"]): Module {
  const map = new Map<Value, Value>();
  const narrow = (type: TensorType): TensorType => (isFloat(type.dtype) ? { ...type, dtype } : type);
  const block = ({ params, nodes, results }: Block): Block => {
    const fresh = params.map((x) => value(x.hint, narrow(x.type)));
    for (const [i, x] of params.entries()) map.set(x, fresh[i]!);
    const made = nodes.map((each) => {
      const attrs: Attrs = Object.fromEntries(
        Object.entries(each.attrs).map(([key, attr]) => [
          key,
          typeof attr === "object" && "dtype" in attr ? narrow(attr) : attr,
        ]),
      );
      const next = node(
        each.op,
        each.ins.map((x) => map.get(x)!),
        { attrs, regions: each.regions.map(block), hints: each.outs.map((x) => x.hint) },
      );
      for (const [i, x] of each.outs.entries()) map.set(x, next.outs[i]!);
      return next;
    });
    return { params: fresh, nodes: made, results: results.map((x) => map.get(x)!) };
  };
  return { ...module, body: block(module.body) };
}

describe("random modules", () => {
  test("values", () => {
    fc.assert(
      fc.property(recipes(12), fc.nat(), (recipe, seed) => {
        const module = moduleOf(recipe);
        expectSame(module, fusedOf(module), seed);
      }),
      { numRuns: 300 },
    );
  });

  test("gradients", () => {
    fc.assert(
      fc.property(recipes(8), fc.nat(), (recipe, seed) => {
        const module = differentiate(lossOf(moduleOf(recipe)));
        expectSame(module, fusedOf(module), seed);
      }),
      { numRuns: 150 },
    );
  });

  test("a fused module differentiates to the gradients of the module", () => {
    fc.assert(
      fc.property(recipes(8), fc.nat(), (recipe, seed) => {
        const module = moduleOf(recipe);
        const [plain, fused] = [module, fusedOf(module)].map((each) => differentiate(lossOf(each)));
        expectSame(plain!, fused!, seed);
      }),
      { numRuns: 60 },
    );
  });

  test.each(["bf16", "f16"] as const)("%s is rounded after every op, as without fusion", (dtype) => {
    fc.assert(
      fc.property(recipes(8), fc.nat(), (recipe, seed) => {
        // Op by op all the way down: a kernel of a whole softmax does not round inside.
        const module = inDType(moduleOf(recipe), dtype);
        const body = expand(module.body, ({ op }) => op.decompose !== undefined && !isLoop(op));
        const plain = { ...module, body };
        const [wanted, found] = [plain, fusedOf(plain)].map((each) =>
          runModule(engine, each, operands(plain, seed)),
        );
        expect(found!.map((x, i) => distance(x, wanted![i]!))).toEqual(wanted!.map(() => 0));
      }),
      { numRuns: 150 },
    );
  });

  test("fusing again changes nothing, and the text reads back", () => {
    fc.assert(
      fc.property(recipes(12), (recipe) => {
        const once = fusedOf(moduleOf(recipe));
        expect(printModule(fusedOf(once))).toBe(printModule(once));
        expect(difference(parseModule(printModule(once)), once)).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });
});

describe.each(goldenDirectories())("%s", (dir) => {
  const config = configOf(dir);
  const { module, params } = gradientProgram(config);

  test("loss and gradients", () => {
    const weights = startingWeights(config, params);
    const [rows] = readTrain(dir).batches;
    const { inputs, targets, weights: counts, rows: count, length } = batchOf(rows!);
    const positions = Int32Array.from({ length: count * length }, (_, i) => i % length);
    const ins = [inputs, positions, targets, counts, ...params.map(({ path }) => weights.get(path)!)];
    const [plain, fused] = [module, fusedOf(module)].map((each) => runModule(engine, each, ins));
    for (const [i, x] of plain!.entries()) {
      const scale = Math.max(norm(x), 1e-3);
      const apart = norm(Float32Array.from(x, (v, j) => fused![i]![j]! - v)) / scale;
      // 1e-4 through the delta rule.
      expect([i, apart <= 1e-4]).toEqual([i, true]);
    }
  });

  test("an update", () => {
    const update = updateProgram(config, params);
    const random = randomFrom(5);
    const ins = update.body.params.map((x) => randomData(x.type, random, within(0.1, 0.9)));
    const [plain, fused] = [update, fusedOf(update)].map((each) => runModule(engine, each, ins));
    for (const [i, x] of plain!.entries()) expect([i, distance(fused![i]!, x) <= 1e-5]).toEqual([i, true]);
  });

  test("the whole program fits few nests", () => {
    const remarks: string[] = [];
    fuseKernels.run(module, (line) => remarks.push(line));
    const [, before, after] = /launches (\d+) -> (\d+)/.exec(remarks[0]!)!.map(Number) as [
      number,
      number,
      number,
    ];
    expect(after).toBeLessThan(0.45 * before);
  });
});
