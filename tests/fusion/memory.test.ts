// The plan is what happens: the peak it predicts is the peak the engine measures, to the byte; its arena holds.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { decodeModel, forwardModel } from "../../compiler/model.ts";
import { type Allocation, type MemoryOptions, planMemory } from "../../compiler/plan/memory.ts";
import { gradientProgram, updateProgram } from "../../compiler/training.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { configOf } from "../reference/golden.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, recipes } from "../support/modules.ts";
import { randomData, randomFrom, within } from "../support/random.ts";

const engines = [await startTfjsEngine("wasm"), await startTfjsEngine("cpu")] as const;
const fused = (module: Module): Module => fuseKernels.run(module, () => {});

/** The peak of a run on random operands, those given away released by it. */
function measured(module: Module, donated: readonly number[] = [], engine = engines[0]): number {
  const executable = engine.compile(module, { donated });
  const random = randomFrom(3);
  const ins = module.body.params.map((x) =>
    engine.upload(x.type, randomData(x.type, random, x.type.dtype === "i32" ? within(0, 3) : undefined)),
  );
  const outs = executable.run(ins);
  for (const buffer of [...ins.filter((_, i) => !donated.includes(i)), ...outs]) engine.release(buffer);
  return executable.peakBytes;
}

function expectPlanned(module: Module, donated: readonly number[] = [], engine = engines[0]): void {
  const { bytesOf } = engine;
  expect(planMemory(module, { donated, bytesOf, inPlace: true }).peak.bytes).toBe(
    measured(module, donated, engine),
  );
}

/** No two allocations that are held at one time overlap, and the arena is no smaller than what is live. */
function expectHolds(module: Module, options: MemoryOptions): void {
  const { allocations, arenaBytes, peak } = planMemory(module, options);
  const ends = ({ offset, bytes }: Allocation) => offset + bytes;
  for (const [i, a] of allocations.entries())
    for (const b of allocations.slice(i + 1)) {
      const meet = a.from < b.to && b.from < a.to;
      if (meet && a.bytes > 0 && b.bytes > 0) expect(ends(a) <= b.offset || ends(b) <= a.offset).toBe(true);
    }
  expect(Math.max(0, ...allocations.map(ends))).toBeLessThanOrEqual(arenaBytes);
  expect(peak.bytes).toBeLessThanOrEqual(arenaBytes);
}

describe("random modules", () => {
  const random = fc.tuple(recipes(10), fc.boolean(), fc.boolean()).map(([recipe, isTrained, isFused]) => {
    const module = isTrained ? differentiate(lossOf(moduleOf(recipe))) : moduleOf(recipe);
    return isFused ? fused(module) : module;
  });
  const donations = fc.array(fc.nat({ max: 3 }), { maxLength: 3 });

  test("the peak is the engine's", () => {
    fc.assert(
      fc.property(random, donations, fc.boolean(), (module, chosen, isWasm) => {
        const donated = [...new Set(chosen)].filter((i) => i < module.body.params.length);
        expectPlanned(module, donated, engines[isWasm ? 0 : 1]);
      }),
      { numRuns: 200 },
    );
  });

  test("the arena holds", () => {
    fc.assert(
      fc.property(random, fc.boolean(), (module, inPlace) => expectHolds(module, { inPlace })),
      { numRuns: 100 },
    );
  });

  test("results in place never need more", () => {
    fc.assert(
      fc.property(random, (module) => {
        const [apart, inPlace] = [false, true].map((way) => planMemory(module, { inPlace: way }));
        expect(inPlace!.peak.bytes).toBeLessThanOrEqual(apart!.peak.bytes);
      }),
      { numRuns: 100 },
    );
  });
});

describe("the tiny model", () => {
  const config = configOf("tests/goldens/random-a");
  const { module, params } = gradientProgram(config);
  const forward = forwardModel(config, { sizes: { batch: 1, seq: 21 } }).module;
  const recurrent = forwardModel(configOf("tests/goldens/random-a", "gated_delta_rule=recurrent")).module;
  const step = decodeModel(config, { batch: 2, seq: 1, length: 33 });
  const seen = step.module.body.params.map((_, i) => i).slice(-step.states.length);
  const update = updateProgram(config, params);
  const states = update.body.params.map((_, i) => i).slice(3);

  test.each<[string, Module, readonly number[]]>([
    ["training", module, []],
    ["training, fused", fused(module), []],
    ["forward", forward, []],
    ["forward, fused", fused(forward), []],
    ["forward, token by token", recurrent, []],
    ["one token more", step.module, seen],
    ["one token more, fused", fused(step.module), seen],
    ["update", update, states],
    ["update, fused", fused(update), states],
  ])("%s", (_name, each, donated) => {
    expectPlanned(each, donated);
  });

  test("one token more copies nothing of what attention keeps", () => {
    const peaks = [33, 1033].map(
      (length) =>
        planMemory(fused(decodeModel(config, { batch: 2, seq: 1, length }).module), {
          donated: seen,
          inPlace: true,
        }).peak.bytes,
    );
    const { values } = config;
    const layers = values.layer_types.filter((type) => type === "full_attention").length;
    const row = 2 * values.num_kv_heads * values.head_dim * 4;
    expect(peaks[1]! - peaks[0]!).toBe(1000 * 2 * layers * row);
  });

  test("what an update takes over makes room", () => {
    const [kept, given] = [[], states].map((donated) => planMemory(fused(update), { donated }).peak.bytes);
    expect(given!).toBeLessThan(0.75 * kept!);
  });
});
