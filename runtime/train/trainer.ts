// The training state and one step of it: gradients of each micro batch, summed, then the optimiser's update.
import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { invariant } from "../../compiler/diag.ts";
import { blockBuilder, value } from "../../compiler/ir/build.ts";
import { elements, tensor } from "../../compiler/ir/shape.ts";
import type { Module, TensorType } from "../../compiler/ir/types.ts";
import { gradientProgram, type Metric, updateProgram } from "../../compiler/training.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import type { Batch } from "../data/dataset.ts";
import type { Buffer, Engine } from "../engines/engine.ts";
import { learningRate } from "./schedule.ts";
import type { OptimizerState, TrainState } from "./state.ts";

/** What one step reports. */
export type StepReport = {
  /** What the program's metrics add up to over micro batches, row-major. */
  readonly metrics: Readonly<Partial<Record<Metric, readonly number[]>>>;
  readonly loss: number;
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Targets that counted. */
  readonly totalWeights: number;
};

/** A model in training, with its optimizer. */
export type Trainer = {
  readonly params: readonly ParamDecl[];
  /** Takes one step on the micro batches of a batch. */
  step(batches: readonly Batch[]): StepReport;
  /** Gradients of the loss on micro batches, by path, without taking a step. */
  gradients(batches: readonly Batch[]): Weights;
  weights(): Weights;
  /** A copy of everything that the next step goes on from. */
  state(): TrainState;
  release(): void;
};

const SCALAR = tensor("f32", []);
// The rate, b1^t and b2^t come before the states in the update program.
const SCALARS = 3;
// Keeps a batch without targets from dividing by zero (MaxText EPS).
const EPS = 1e-8;

/** a + b for every pair: sums the gradients of micro batches. */
function sumProgram(types: readonly TensorType[]): Module {
  const builder = blockBuilder();
  const [as, bs] = [types.map((type) => value("a", type)), types.map((type) => value("b", type))];
  const results = as.map((a, i) => {
    const b = bs[i];
    invariant(b, "sums pair up");
    return builder.k.add(a, b);
  });
  return {
    name: "sum",
    roles: [...as, ...bs].map(() => "input"),
    body: { params: [...as, ...bs], nodes: builder.nodes, results },
  };
}

/** A buffer per parameter: its numbers, or zeros where there are none for any. They are not kept here. */
function uploadEach(
  engine: Engine,
  data: Weights | undefined,
  params: readonly ParamDecl[],
  typeOf: (index: number) => TensorType | undefined,
): Buffer[] {
  return params.map(({ path }, i) => {
    const type = typeOf(i);
    invariant(type, "the update takes every parameter and its moments");
    const numbers = data ? data.get(path) : new Float32Array(elements(type));
    invariant(numbers, `no numbers for ${path}`);
    return engine.upload(type, numbers);
  });
}

/**
 * Compiles a configuration's training programs and uploads its weights and what the optimiser kept: nothing, for a run
 * that begins.
 */
export function openTrainer(
  config: Config,
  engine: Engine,
  initial: (params: readonly ParamDecl[]) => Weights,
  optimizer?: OptimizerState,
): Trainer {
  const { values } = config;
  const { module, params, metrics } = gradientProgram(config);
  const update = updateProgram(config, params);
  const gradientStep = engine.compile(module);
  // The update takes parameters, gradients and moments over and gives their successors.
  const donated = update.body.params.map((_, i) => i).slice(SCALARS);
  const updateStep = engine.compile(update, { donated });
  const sumStep = engine.compile(sumProgram(params.map((param) => param.value.type)));
  const [tokenType, weightType] = [module.body.params[0]?.type, module.body.params[3]?.type];
  invariant(tokenType && weightType, "the gradient program takes tokens and weights");
  const positions = Int32Array.from(
    { length: elements(tokenType) },
    (_, i) => i % (tokenType.dims[1]?.size ?? 1),
  );

  const upload = (data: Weights | undefined, index: number): Buffer[] =>
    uploadEach(engine, data, params, (i) => update.body.params[SCALARS + 4 * i + index]?.type);
  let [weights, mu, nu] = [upload(initial(params), 0), upload(optimizer?.mu, 2), upload(optimizer?.nu, 3)];
  let step = optimizer?.step ?? 0;

  const release = (buffers: readonly Buffer[]): void => {
    for (const buffer of buffers) engine.release(buffer);
  };
  const scalarOf = (buffer: Buffer | undefined): number => {
    invariant(buffer, "a scalar result");
    return engine.download(buffer)[0] ?? Number.NaN;
  };

  /** Metrics summed over micro batches, and the summed gradients. */
  const differentiateOn = (batches: readonly Batch[]) => {
    const totalWeights = batches.reduce((n, batch) => n + batch.weights.reduce((sum, w) => sum + w, 0), 0);
    const sums: number[][] = metrics.map(() => []);
    let grads: Buffer[] | undefined;
    for (const batch of batches) {
      const scaled = batch.weights.map((w) => w / (totalWeights + EPS));
      const inputs = [
        engine.upload(tokenType, batch.inputs),
        engine.upload(tokenType, positions),
        engine.upload(tokenType, batch.targets),
        engine.upload(weightType, scaled),
      ];
      const results = gradientStep.run([...inputs, ...weights]);
      release(inputs);
      const measured = results.slice(0, metrics.length);
      measured.forEach((buffer, i) => {
        sums[i] = Array.from(engine.download(buffer), (x, j) => x + (sums[i]?.[j] ?? 0));
      });
      release(measured);
      const fresh = results.slice(metrics.length);
      const summed: Buffer[] = grads ? sumStep.run([...grads, ...fresh]) : fresh;
      if (grads) release([...grads, ...fresh]);
      grads = summed;
    }
    invariant(grads, "a step has a batch");
    return { totalWeights, sums, grads };
  };

  const named = (buffers: readonly Buffer[]): Weights =>
    new Map(
      params.map(({ path }, i) => {
        const buffer = buffers[i];
        invariant(buffer, "one buffer per parameter");
        return [path, engine.download(buffer) as Float32Array];
      }),
    );

  // An engine may give the memory that it works on; a copy can be posted to a thread.
  const copied = (buffers: readonly Buffer[]): Weights =>
    new Map([...named(buffers)].map(([path, data]) => [path, data.slice()]));

  return {
    params,
    step(batches) {
      const { totalWeights, sums, grads } = differentiateOn(batches);
      const rate = learningRate(values, step);
      const count = step + 1;
      const scalars = [rate, values.adam_b1 ** count, values.adam_b2 ** count].map((x) =>
        engine.upload(SCALAR, Float32Array.of(x)),
      );
      const states = params.flatMap((_, i) =>
        [weights[i], grads[i], mu[i], nu[i]].filter((buffer) => buffer !== undefined),
      );
      const [norm, ...fresh] = updateStep.run([...scalars, ...states]);
      const gradNorm = scalarOf(norm);
      release([...scalars, ...(norm ? [norm] : [])]);
      const pick = (offset: number): Buffer[] => fresh.filter((_, i) => i % 3 === offset);
      [weights, mu, nu] = [pick(0), pick(1), pick(2)];
      step = count;
      const report = Object.fromEntries(metrics.map((name, i) => [name, sums[i]]));
      return {
        metrics: report,
        loss: sums[0]?.[0] ?? Number.NaN,
        gradNorm,
        learningRate: rate,
        totalWeights,
      };
    },
    gradients(batches) {
      const { grads } = differentiateOn(batches);
      const result = named(grads);
      release(grads);
      return result;
    },
    weights: () => named(weights),
    state: () => ({ step, params: copied(weights), mu: copied(mu), nu: copied(nu) }),
    release: () => release([...weights, ...mu, ...nu]),
  };
}
