// A model ready to run forward on one sequence: weights with the engine, programs compiled per length.
import type { Elaborated } from "../compiler/arch/context.ts";
import type { Config } from "../compiler/config/load.ts";
import { invariant } from "../compiler/diag.ts";
import { dimAt } from "../compiler/ir/shape.ts";
import { draftModel, forwardModel } from "../compiler/model.ts";
import type { Weights } from "./checkpoint/hugging-face.ts";
import type { Engine } from "./engines/engine.ts";
import { openResident } from "./resident.ts";

/** Logits of every position, row-major [length, vocab]. */
export type Logits = { readonly logits: Float32Array; readonly vocab: number };

type Results = Logits & { readonly taps: readonly Float32Array[] };

/** Runs a model over whole sequences, one at a time, without states. */
export type Forward = {
  /** Logits of a sequence, and the values of the taps it was made with. */
  run(tokens: readonly number[]): Results;
  /** Logits of the head that drafts: row i, which has seen the tokens up to i + 1, speaks of token i + 2. */
  draft(tokens: readonly number[]): Logits;
  release(): void;
};

/** Data for a program's inputs in their order: integers, or hidden states. */
type Inputs = readonly (Int32Array | Float32Array)[];

/** A forward runner over weights in the layout of the model's own parameters, the head's among them if it is run. */
export function openForward(
  config: Config,
  engine: Engine,
  weights: Weights,
  taps: readonly string[] = [],
): Forward {
  const resident = openResident(engine, weights);

  /** A program that is compiled for each length it meets. */
  function programOf(elaborate: (length: number) => Elaborated): (length: number, inputs: Inputs) => Results {
    const compiled = new Map<number, (inputs: Inputs) => Results>();
    const compile = (length: number) => {
      const { module, params } = elaborate(length);
      const executable = engine.compile(module);
      const held = resident.of(params);
      return (inputs: Inputs): Results => {
        const given = inputs.map((data, i) => {
          const input = module.body.params[i];
          invariant(input && module.roles[i] === "input", "data for every input, and no more");
          return engine.upload(input.type, data);
        });
        const results = executable.run([...given, ...held]);
        const [logits, ...tapped] = results.map((result) => engine.download(result) as Float32Array);
        for (const buffer of [...given, ...results]) engine.release(buffer);
        const [first] = module.body.results;
        invariant(logits && first, "a model gives logits");
        return { logits, vocab: dimAt(first.type, 2).size, taps: tapped };
      };
    };
    return (length, inputs) => {
      const run = compiled.get(length) ?? compile(length);
      compiled.set(length, run);
      return run(inputs);
    };
  }

  const sizes = (seq: number) => ({ batch: 1, seq });
  const model = programOf((length) => forwardModel(config, { sizes: sizes(length), taps }));
  const normed = programOf((length) => forwardModel(config, { sizes: sizes(length), taps: ["normed"] }));
  const draft = programOf((length) => {
    const made = draftModel(config, { sizes: sizes(length) });
    invariant(made, "only an architecture with a draft drafts");
    return made;
  });
  const positions = (length: number): Int32Array => Int32Array.from({ length }, (_, i) => i);

  return {
    run: (tokens) => model(tokens.length, [Int32Array.from(tokens), positions(tokens.length)]),
    draft(tokens) {
      const count = tokens.length - 1;
      const {
        taps: [hidden],
      } = normed(tokens.length, [Int32Array.from(tokens), positions(tokens.length)]);
      invariant(hidden, "a model sows its last hidden states as `normed`");
      const size = hidden.length / tokens.length;
      return draft(count, [
        Int32Array.from(tokens.slice(1)),
        positions(count),
        hidden.subarray(0, count * size),
      ]);
    },
    release: resident.release,
  };
}
