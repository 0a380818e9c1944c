// Modules of one op or a few, their data, and what an engine makes of them: for tests of what ops mean.
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import type { Module } from "../../compiler/ir/types.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { lossOf } from "../support/gradients.ts";
import { type Numbers, randomData, randomFrom } from "../support/random.ts";
import { runModule } from "../support/run.ts";

export const engine = await startTfjsEngine();

/** `(param %x: …)` and `%y = …` as a module whose results are named after `return`. */
export const moduleOf = (params: string, body: string, results: string): Module =>
  parseModule(`module meaning(${params}) {\n  ${body}\n  return ${results}\n}\n`);

/** Random operands of a module, those named in `numbers` as it says. */
export const dataOf = (module: Module, seed: number, numbers: Record<string, Numbers> = {}): HostArray[] => {
  const random = randomFrom(seed);
  return module.body.params.map((x) => randomData(x.type, random, numbers[x.hint]));
};

/** The gradients of sum(result * weight) for each `param`, with weights from a seed. */
export function gradientsOf(module: Module, ins: readonly HostArray[], seed = 1): HostArray[] {
  const joint = differentiate(lossOf(module));
  const random = randomFrom(seed);
  const weights = joint.body.params.slice(ins.length).map((x) => randomData(x.type, random));
  return runModule(engine, joint, [...ins, ...weights]).slice(1);
}

/** From 1 to `max`. */
export const size = (max: number) => fc.integer({ min: 1, max });
export const seeds = fc.integer({ min: 0, max: 2 ** 30 });
