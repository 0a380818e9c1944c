// What rounding does to a module: the measure for programs that compute the same and round at other places.
import { expect } from "@jest/globals";
import { isFloat } from "../../compiler/dtype.ts";
import { blockBuilder } from "../../compiler/ir/build.ts";
import { expand } from "../../compiler/ir/expand.ts";
import { rewriteBlock } from "../../compiler/ir/rewrite.ts";
import { rankOf } from "../../compiler/ir/shape.ts";
import type { Block, Module, Node, Value } from "../../compiler/ir/types.ts";
import { isLoop } from "../../compiler/ops/fused.ts";
import type { K } from "../../compiler/ops/k.ts";
import type { Engine, HostArray } from "../../runtime/engines/engine.ts";
import { randomFrom } from "./random.ts";
import { areFinite, distance, runModule } from "./run.ts";

type Numbers = readonly HostArray[];

/** How far one number is moved, relative to it: twice the spacing of f32, for the steps inside a product or a sum. */
const STEP = 2 ** -22;
/** How often everything is moved, and how many times the largest effect two ways of rounding may be apart. */
const [RUNS, FACTOR] = [8, 3];
/** Below this a result is measured against this: results are sums of numbers near 1, and may cancel. */
const FLOOR = 0.05;

/** x with each element moved by up to a step; how far follows from the element and its place. */
function moved(k: K<Value>, x: Value, random: () => number): Value {
  const wave = Array.from({ length: rankOf(x.type) }).reduce<Value>(
    (angle, _, axis) => k.add(angle, k.mul(k.iota(x.type, axis), k.scalar(1 + 5 * random(), x))),
    k.add(k.mul(x, k.scalar(1000, x)), k.scalar(6 * random(), x)),
  );
  return k.add(x, k.mul(x, k.mul(k.sin(wave), k.scalar(STEP, x))));
}

/** A block in which everything that is computed is moved; what is given or only put elsewhere was not rounded. */
const shaken = (block: Block, random: () => number): Block =>
  rewriteBlock(block, (made: Node) => {
    if (made.ins.length === 0 || made.op.moves) return undefined;
    const builder = blockBuilder(made.loc);
    const outs = made.outs.map((x) => (isFloat(x.type.dtype) ? moved(builder.k, x, random) : x));
    return { nodes: [made, ...builder.nodes], outs };
  });

const furthest = (found: readonly Numbers[], wanted: Numbers): number[] =>
  wanted.map((x, i) => Math.max(...found.map((each) => distance(each[i]!, x, FLOOR))));

/** How far each result of a module comes when its operands and every number on the way are moved by rounding steps. */
function noiseOf(engine: Engine, module: Module, ins: Numbers, wanted: Numbers): number[] {
  const random = randomFrom(1);
  // A composite's kernel rounds inside.
  const body = expand(module.body, ({ op }) => op.decompose !== undefined && !isLoop(op));
  const runs = Array.from({ length: RUNS }, () => {
    const given = ins.map((x) =>
      x instanceof Float32Array ? x.map((v) => v * (1 + (2 * random() - 1) * STEP)) : x,
    );
    return runModule(engine, { ...module, body: shaken(body, random) }, given);
  });
  return furthest(runs, wanted);
}

/**
 * Holds results of a program that rounds at other places to those of a module on the same operands: within the tolerance
 * or, where the module magnifies rounding, within what rounding does to the module itself.
 */
export function expectSameButRounding(
  engine: Engine,
  module: Module,
  ins: Numbers,
  found: Numbers,
  tolerance: number,
): void {
  const wanted = runModule(engine, module, ins);
  expect(wanted.every((x) => areFinite(x))).toBe(true);
  const apart = furthest([found], wanted);
  if (apart.every((d) => d <= tolerance)) return;
  const noise = noiseOf(engine, module, ins, wanted);
  for (const [i, d] of apart.entries()) {
    const bound = Math.max(tolerance, FACTOR * noise[i]!);
    expect({ result: i, apart: d, bound, isSame: d <= bound }).toMatchObject({ isSame: true });
  }
}
