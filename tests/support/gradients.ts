// Gradients held against central differences along random directions.
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { isFloat } from "../../compiler/dtype.ts";
import { blockBuilder, value } from "../../compiler/ir/build.ts";
import { tensor } from "../../compiler/ir/shape.ts";
import type { Module, Role, Value } from "../../compiler/ir/types.ts";
import type { Engine, HostArray } from "../../runtime/engines/engine.ts";
import { randomData } from "./random.ts";
import { dot, norm, runner } from "./run.ts";

/** The module followed by sum(result * weight) over its float results; the weights are inputs of its own. */
export function lossOf(module: Module): Module {
  const { body, roles, name } = module;
  const builder = blockBuilder();
  const { k } = builder;
  const floats = body.results.filter((x) => isFloat(x.type.dtype));
  const weights = floats.map((x) => value("weight", tensor("f32", x.type.dims)));
  const terms = floats.map((x, i) => {
    const weighted = k.mul(k.convert(x, "f32"), weights[i]!);
    return k.sum(
      weighted,
      weighted.type.dims.map((_, axis) => axis),
    );
  });
  const loss = terms.reduce<Value>((sum, term) => k.add(sum, term), k.constant(0, tensor("f32", [])));
  return {
    name,
    roles: [...roles, ...weights.map((): Role => "input")],
    body: { params: [...body.params, ...weights], nodes: [...body.nodes, ...builder.nodes], results: [loss] },
  };
}

/** Central differences at halved steps, the h² term taken out; of these the one nearest to its neighbour (Ridders). */
function extrapolated(slope: (step: number) => number, step: number): number {
  const slopes = [0, 1, 2, 3, 4, 5].map((i) => slope(step / 2 ** i));
  const estimates = slopes.slice(1).map((finer, i) => (4 * finer - slopes[i]!) / 3);
  const gaps = estimates.slice(1).map((finer, i) => Math.abs(finer - estimates[i]!));
  return estimates[gaps.indexOf(Math.min(...gaps)) + 1]!;
}

export type GradientCheck = {
  readonly param: string;
  readonly found: number;
  readonly wanted: number;
  readonly error: number;
};

/**
 * For each `param`: the gradient along a random direction, and the same from central differences of the module. The error is relative to the gradient's norm, or the cotangent's where the gradient is tiny.
 */
export function checkGradients(
  engine: Engine,
  module: Module,
  ins: readonly HostArray[],
  random: () => number,
  step = 1 / 64,
): GradientCheck[] {
  const forward = runner(engine, module);
  const loss = lossOf(module);
  const weights = loss.body.params.slice(ins.length).map((x) => randomData(x.type, random) as Float32Array);
  const joint = differentiate(loss);
  const [, ...gradients] = runner(engine, joint)([...ins, ...weights]);
  const floats = module.body.results.flatMap((x, i) => (isFloat(x.type.dtype) ? [i] : []));
  const wrt = module.roles.flatMap((role, i) => (role === "param" ? [i] : []));
  return wrt.map((at, order) => {
    const x = ins[at] as Float32Array;
    const direction = x.map(() => (random() < 0.5 ? -1 : 1) * (0.5 + random()));
    /** d loss along the direction: steps as they are after rounding, differences summed in double precision. */
    const slope = (size: number): number => {
      const ends = [size, -size].map((signed) => x.map((v, i) => v + signed * direction[i]!));
      const [up, down] = ends.map((moved) => forward(ins.map((each, i) => (i === at ? moved : each))));
      return floats.reduce((sum, result, i) => {
        const [high, low] = [up![result]!.data, down![result]!.data];
        let own = 0;
        for (let j = 0; j < high.length; j++)
          if (!Object.is(high[j], low[j])) own += weights[i]![j]! * (high[j]! - low[j]!);
        return sum + own / (2 * size);
      }, 0);
    };
    const wanted = extrapolated(slope, step);
    const gradient = gradients[order]!.data;
    const found = dot(gradient, direction);
    const scale = Math.max(norm(gradient), 0.05 * norm(weights.flatMap((w) => [...w])), 1e-3);
    return { param: module.body.params[at]!.hint, found, wanted, error: Math.abs(found - wanted) / scale };
  });
}
