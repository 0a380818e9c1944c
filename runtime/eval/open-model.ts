// A model with its tokenizer, ready to score texts.

import { createHash } from "node:crypto";
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { forwardModel, moduleStats } from "../../compiler/model.ts";
import { type Engine, requireFit } from "../engines/engine.ts";
import { openForward } from "../forward.ts";
import { startingWeights, weightsOrigin } from "../starting-weights.ts";
import { openTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import { padding, type Run } from "./score.ts";

/** What answers depend on besides the questions. */
export type ModelFacts = { readonly weights: string; readonly program: string; readonly tokenizer: string };

export type OpenModel = {
  readonly run: Run;
  readonly tokenizer: Tokenizer;
  /** Whether texts begin with the tokenizer's beginning-of-text. */
  readonly addBos: boolean;
  readonly facts: ModelFacts;
};

/** Loads the weights and the tokenizer that a configuration names. */
export function openModel(config: Config, engine: Engine, cwd: string): OpenModel {
  const { tokenizer_type: type, tokenizer_path: path, add_bos: addBos } = config.values;
  const tokenizer = openTokenizer({ type, path: path ?? "", cwd });
  if (tokenizer.vocabSize > config.values.vocab_size) {
    fail({
      code: "token-out-of-vocabulary",
      message: `the tokenizer has ids up to ${tokenizer.vocabSize - 1}, but the model's vocab_size is ${config.values.vocab_size}`,
      help: "set tokenizer_path to the model's own tokenizer",
    });
  }
  const { module, params } = forwardModel(config);
  requireFit(engine, moduleStats(module).parameters * 4, "the weights");
  const forward = openForward(config, engine, startingWeights(config, params));
  const program = createHash("sha256").update(printModule(module)).digest("hex").slice(0, 16);
  return {
    run: padding((tokens) => forward.run(tokens)),
    tokenizer,
    addBos,
    facts: { weights: weightsOrigin(config), program, tokenizer: path ? `${type} ${path}` : type },
  };
}
