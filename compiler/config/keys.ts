// Every configuration key, joined from its sections: the one place where a key is looked up.

import type { Key } from "./key.ts";
import { attention } from "./keys/attention.ts";
import { batches, dataset, tokenizer } from "./keys/data.ts";
import { ahead, decoding, serving } from "./keys/decode.ts";
import { gatedDeltaNet, model, rope, variants } from "./keys/model.ts";
import { expertKernels, experts } from "./keys/moe.ts";
import { multimodal } from "./keys/multimodal.ts";
import { numerics, quantisation } from "./keys/numerics.ts";
import { axisSizes, distribution, mesh } from "./keys/parallelism.ts";
import { remat } from "./keys/remat.ts";
import { checkpoint, run } from "./keys/run.ts";
import { tools } from "./keys/tools.ts";
import { evaluation, fineTuning, learningRate, optimizer, training } from "./keys/training.ts";
import type { ConfigValue } from "./value.ts";

/** Every key's declaration, by name. */
export const keys = {
  ...run,
  ...checkpoint,
  ...numerics,
  ...quantisation,
  ...model,
  ...rope,
  ...gatedDeltaNet,
  ...variants,
  ...attention,
  ...experts,
  ...expertKernels,
  ...mesh,
  ...axisSizes,
  ...distribution,
  ...remat,
  ...tokenizer,
  ...batches,
  ...dataset,
  ...training,
  ...learningRate,
  ...optimizer,
  ...evaluation,
  ...fineTuning,
  ...decoding,
  ...serving,
  ...ahead,
  ...tools,
  ...multimodal,
} as const;

/** The name of a key. */
export type KeyName = keyof typeof keys;

/** The value of every key as its type reads it. */
export type KeyValues = {
  readonly [K in KeyName]: (typeof keys)[K] extends Key<infer T> ? T : never;
};

/** A part of the table under one heading, in the order of models/base.yml. */
export type Section = { readonly title: string; readonly keys: Readonly<Record<string, Key<ConfigValue>>> };

/** The table in sections. */
export const sections: readonly Section[] = [
  { title: "Run, model and output", keys: run },
  { title: "Checkpoints", keys: checkpoint },
  { title: "Numerics", keys: numerics },
  { title: "Quantisation and sparsity", keys: quantisation },
  { title: "Model sizes", keys: model },
  { title: "Rotary embedding", keys: rope },
  { title: "Gated DeltaNet", keys: gatedDeltaNet },
  { title: "Variants of other models", keys: variants },
  { title: "Attention kernels and context parallelism", keys: attention },
  { title: "Mixture of experts", keys: experts },
  { title: "Mixture of experts: kernels and schedules", keys: expertKernels },
  { title: "Mesh and sharding rules", keys: mesh },
  { title: "Sizes of mesh axes, in a slice (ici) and across slices (dcn)", keys: axisSizes },
  { title: "Target machine and distribution", keys: distribution },
  { title: "Rematerialisation", keys: remat },
  { title: "Tokenizer", keys: tokenizer },
  { title: "Batches and sequences", keys: batches },
  { title: "Data sets", keys: dataset },
  { title: "Training", keys: training },
  { title: "Learning rate", keys: learningRate },
  { title: "Optimiser", keys: optimizer },
  { title: "Evaluation", keys: evaluation },
  { title: "Other ways of training", keys: fineTuning },
  { title: "Decoding", keys: decoding },
  { title: "Serving and caches", keys: serving },
  { title: "Compiling ahead", keys: ahead },
  { title: "Profiling, dumps and monitoring", keys: tools },
  { title: "Vision and audio", keys: multimodal },
];

/** Every key's name, in the order of the sections. */
export const keyNames = Object.keys(keys) as readonly KeyName[];

/** Whether a name is a key. */
export const isKey = (name: string): name is KeyName => Object.hasOwn(keys, name);

/** A key's declaration with its own type forgotten, for code that treats all keys alike. */
export const declarationOf = (name: KeyName): Key<ConfigValue> => keys[name];
