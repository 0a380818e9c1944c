// Where a run's weights come from: a checkpoint the configuration names, or the initialisers.
import * as fs from "node:fs";
import { join } from "node:path";
import type { ParamDecl } from "../compiler/arch/param.ts";
import type { Config } from "../compiler/config/load.ts";
import { fail } from "../compiler/diag.ts";
import { draftParams, forwardModel } from "../compiler/model.ts";
import { holdsAny, readHuggingFace, type Weights } from "./checkpoint/hugging-face.ts";
import { openSafetensors, type Safetensors } from "./checkpoint/safetensors.ts";
import { initialWeights } from "./train/init.ts";

const isOrbax = (path: string): boolean =>
  ["_METADATA", "manifest.ocdbt", "_CHECKPOINT_METADATA"].some((name) => fs.existsSync(join(path, name)));

/** What is done with the Hugging Face checkpoint at a path, which is open meanwhile. */
function withCheckpoint<R>(path: string, use: (checkpoint: Safetensors) => R): R {
  if (isOrbax(path))
    fail({
      code: "checkpoint-format",
      message: `${path} is an Orbax checkpoint, which q3c does not read yet`,
      help: "pass a directory with safetensors",
    });
  const checkpoint = openSafetensors(path);
  try {
    return use(checkpoint);
  } finally {
    checkpoint.close();
  }
}

/** The weights a run starts from. A head that drafts is not read, but must be whole if it is there. */
export function startingWeights(config: Config, params: readonly ParamDecl[]): Weights {
  const { weights_path: path, init_weights_seed: seed } = config.values;
  if (path === null) return initialWeights(params, seed);
  return withCheckpoint(path, (checkpoint) => readHuggingFace(path, checkpoint, params, draftParams(config)));
}

/** A head that drafts tokens further ahead: its parameters beside the model's, and their numbers. */
export type DraftHead = { readonly params: readonly ParamDecl[]; readonly weights: Weights };

/** The head of the checkpoint that a run starts from; nothing when it has none. */
export function startingDraft(config: Config): DraftHead | undefined {
  const { weights_path: path } = config.values;
  const params = draftParams(config);
  if (path === null || params.length === 0) return undefined;
  return withCheckpoint(path, (checkpoint) =>
    holdsAny(checkpoint, params)
      ? { params, weights: readHuggingFace(path, checkpoint, params, forwardModel(config).params) }
      : undefined,
  );
}

/** Where they come from, in words. */
export const weightsOrigin = ({ values }: Config): string =>
  values.weights_path === null
    ? `initialised with seed ${values.init_weights_seed}`
    : `read from ${values.weights_path}`;
