// Where a run's weights come from: a checkpoint the configuration names, or the initialisers.
import type { ParamDecl } from "../compiler/arch/param.ts";
import type { Config } from "../compiler/config/load.ts";
import { draftParams, forwardModel } from "../compiler/model.ts";
import { type Contents, paramsOf } from "./checkpoint/contents.ts";
import type { Weights } from "./checkpoint/hugging-face.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint/open.ts";
import { contentsOf, readWeights } from "./checkpoint/weights.ts";
import { initialWeights } from "./train/init.ts";

/** What is done with the checkpoint at a path, which is open meanwhile. */
function withCheckpoint<R>(
  path: string,
  config: Config,
  own: readonly ParamDecl[],
  draft: readonly ParamDecl[],
  use: (checkpoint: Checkpoint, contents: Contents) => R,
): R {
  const checkpoint = openCheckpoint(path);
  try {
    return use(checkpoint, contentsOf(checkpoint, { own, draft }, config.values.param_scan_axis));
  } finally {
    checkpoint.tensors.close();
  }
}

/** The weights a run starts from. A head that drafts is not read, but must be whole if it is there. */
export function startingWeights(config: Config, params: readonly ParamDecl[]): Weights {
  const { weights_path: path, init_weights_seed: seed } = config.values;
  if (path === null) return initialWeights(params, seed);
  return withCheckpoint(path, config, params, draftParams(config, params), (checkpoint, contents) =>
    readWeights(checkpoint, contents, params),
  );
}

/** A head that drafts tokens further ahead: its parameters beside the model's, and their numbers. */
export type DraftHead = { readonly params: readonly ParamDecl[]; readonly weights: Weights };

/** The head of the checkpoint that a run starts from; nothing when it has none. */
export function startingDraft(config: Config): DraftHead | undefined {
  const { weights_path: path } = config.values;
  if (path === null) return undefined;
  const { params: own } = forwardModel(config);
  const params = draftParams(config, own);
  if (params.length === 0) return undefined;
  return withCheckpoint(path, config, own, params, (checkpoint, contents) => {
    const held = new Set(paramsOf(checkpoint.tensors, contents).params);
    if (!params.every((param) => held.has(param))) return undefined;
    return { params, weights: readWeights(checkpoint, contents, params) };
  });
}

/** Where they come from, in words. */
export const weightsOrigin = ({ values }: Config): string =>
  values.weights_path === null
    ? `initialised with seed ${values.init_weights_seed}`
    : `read from ${values.weights_path}`;
