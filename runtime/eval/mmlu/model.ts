// The model that is asked, and what its answers depend on besides the questions: answers of other weights are not its own.

import { createHash } from "node:crypto";
import type { Config } from "../../../compiler/config/load.ts";
import { printModule } from "../../../compiler/ir/print.ts";
import { forwardModel } from "../../../compiler/model.ts";
import type { Weights } from "../../checkpoint/hugging-face.ts";
import type { Engine } from "../../engines/engine.ts";
import { startingWeights } from "../../starting-weights.ts";
import { type OpenModel, openModel } from "../open-model.ts";

export type ModelFacts = {
  /** Where they come from. */
  readonly weights: string;
  /** Of their names and numbers: a path may hold others tomorrow. */
  readonly weights_sha256: string;
  readonly program: string;
  readonly tokenizer: string;
};

// Numbers hashed at once.
const PART = 1 << 28;

/** Opens a configuration's model, looking at its numbers on their way. */
export function openAsked(
  config: Config,
  engine: Engine,
  cwd: string,
): { readonly model: OpenModel; readonly facts: ModelFacts } {
  const { tokenizer_type: type, tokenizer_path: path } = config.values;
  let digest = "";
  const model = openModel(config, engine, cwd, (params) => {
    const weights = startingWeights(config, params);
    digest = digestOf(weights);
    return weights;
  });
  const program = createHash("sha256")
    .update(printModule(forwardModel(config).module))
    .digest("hex");
  return {
    model,
    facts: {
      weights: model.origin,
      weights_sha256: digest,
      program: program.slice(0, 16),
      tokenizer: [type, path ?? ""].join(" ").trim(),
    },
  };
}

/** The same for the same numbers, whatever files they were read from. */
function digestOf(weights: Weights): string {
  const hash = createHash("sha256");
  for (const name of [...weights.keys()].toSorted()) {
    const numbers = weights.get(name) ?? new Float32Array();
    hash.update(`${JSON.stringify(name)} ${numbers.length}\n`);
    // One update takes less than 2 GiB.
    for (let at = 0; at < numbers.length; at += PART) hash.update(numbers.subarray(at, at + PART));
  }
  return hash.digest("hex");
}
