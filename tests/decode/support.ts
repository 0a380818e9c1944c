// Generators over the goldens' models.
import type { Config } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import {
  EACH,
  type Generator,
  type GeneratorOptions,
  openGenerator,
  type Sequences,
} from "../../runtime/decode/generator.ts";
import type { Buffer, Engine, HostArray } from "../../runtime/engines/engine.ts";
import { type Forward, openForward } from "../../runtime/forward.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
import { randomFrom } from "../support/random.ts";

export const weightsOf = (config: Config) => startingWeights(config, forwardModel(config).params);

export const generatorOf = (config: Config, engine: Engine, options: GeneratorOptions = {}): Generator =>
  openGenerator(config, engine, weightsOf(config), options);

export const forwardOf = (config: Config, engine: Engine, taps: readonly string[] = []): Forward =>
  openForward(config, engine, weightsOf(config), taps);

/** Feeds one row in parts; logits of every token, or of the last one. */
export function feedParts(
  generator: Generator,
  parts: readonly (readonly number[])[],
  isEach = false,
): { logits: Float32Array; sequences: Sequences } {
  let sequences = generator.start(1);
  const logits = parts.map((part) => {
    const fed = generator.feed(sequences, [part], { wanted: isEach ? EACH : 1 });
    sequences = fed.sequences;
    return fed.logits[0]!;
  });
  const all = Float32Array.from(logits.flatMap((each) => [...each]));
  return { logits: isEach ? all : logits.at(-1)!, sequences };
}

/** The numbers of every state that sequences hold. */
export const statesOf = (engine: Engine, sequences: Sequences): HostArray[] =>
  (sequences as unknown as { cells: readonly { buffer: Buffer }[] }).cells.map(({ buffer }) =>
    engine.download(buffer).slice(),
  );

/** Random tokens, the same for the same seed. */
export function tokensFrom(seed: number, count: number, vocab: number): number[] {
  const random = randomFrom(seed);
  return Array.from({ length: count }, () => Math.floor(random() * vocab));
}
