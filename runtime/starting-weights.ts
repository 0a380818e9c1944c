// Where a run's weights come from: a checkpoint the configuration names, or the initialisers.
import * as fs from "node:fs";
import { join } from "node:path";
import type { ParamDecl } from "../compiler/arch/param.ts";
import type { Config } from "../compiler/config/load.ts";
import { fail } from "../compiler/diag.ts";
import { readHuggingFace, type Weights } from "./checkpoint/hugging-face.ts";
import { openSafetensors } from "./checkpoint/safetensors.ts";
import { initialWeights } from "./train/init.ts";

const isOrbax = (path: string): boolean =>
  ["_METADATA", "manifest.ocdbt", "_CHECKPOINT_METADATA"].some((name) => fs.existsSync(join(path, name)));

/** Reads a Hugging Face checkpoint's weights for a model. */
export function weightsAt(path: string, params: readonly ParamDecl[]): Weights {
  if (isOrbax(path))
    fail({
      code: "checkpoint-format",
      message: `${path} is an Orbax checkpoint, which q3c does not read yet`,
      help: "pass a directory with safetensors",
    });
  const checkpoint = openSafetensors(path);
  try {
    return readHuggingFace(path, checkpoint, params);
  } finally {
    checkpoint.close();
  }
}

/** The weights a run starts from. */
export function startingWeights({ values }: Config, params: readonly ParamDecl[]): Weights {
  const { weights_path: path, init_weights_seed: seed } = values;
  return path === null ? initialWeights(params, seed) : weightsAt(path, params);
}

/** Where they come from, in words. */
export const weightsOrigin = ({ values }: Config): string =>
  values.weights_path === null
    ? `initialised with seed ${values.init_weights_seed}`
    : `read from ${values.weights_path}`;
