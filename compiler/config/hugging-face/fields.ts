// Hugging Face config.json and MaxText keys: one table, read in both directions.

import { basename } from "node:path";
import type { ValueName } from "../derived.ts";
import type { KeyName } from "../keys.ts";
import type { ConfigValue } from "../value.ts";

/** The fields of a config.json by name. */
export type Fields = Readonly<Record<string, ConfigValue>>;

/** A field and the key that holds it. */
export type Row = {
  readonly field: string;
  readonly key: KeyName;
  /** The computed value that gives the field back; the key's own unless told. */
  readonly value?: ValueName;
  /** Which layers a model must have for the field to mean something. */
  readonly when?: "sparse" | "linear_attention";
  /** What an absent field means: a value that follows from others, or an error. */
  readonly absent?: "error" | ((field: (name: string) => ConfigValue) => ConfigValue);
};

/** Every field that a key holds. */
export const table: readonly Row[] = [
  { field: "vocab_size", key: "vocab_size", absent: "error" },
  { field: "hidden_size", key: "base_emb_dim", value: "emb_dim", absent: "error" },
  { field: "intermediate_size", key: "base_mlp_dim", value: "mlp_dim", absent: "error" },
  {
    field: "num_hidden_layers",
    key: "base_num_decoder_layers",
    value: "num_decoder_layers",
    absent: "error",
  },
  { field: "num_attention_heads", key: "base_num_query_heads", value: "num_query_heads", absent: "error" },
  {
    field: "num_key_value_heads",
    key: "base_num_kv_heads",
    value: "num_kv_heads",
    absent: (field) => field("num_attention_heads"),
  },
  {
    field: "head_dim",
    key: "head_dim",
    absent: (field) => Number(field("hidden_size")) / Number(field("num_attention_heads")),
  },
  { field: "rms_norm_eps", key: "normalization_layer_epsilon", absent: () => 1e-6 },
  { field: "max_position_embeddings", key: "max_position_embeddings" },
  { field: "tie_word_embeddings", key: "logits_via_embedding" },
  { field: "rope_theta", key: "rope_max_timescale" },
  { field: "partial_rotary_factor", key: "partial_rotary_factor" },
  { field: "mlp_only_layers", key: "mlp_only_layers", when: "sparse" },
  { field: "decoder_sparse_step", key: "decoder_sparse_step", when: "sparse" },
  { field: "num_experts_per_tok", key: "num_experts_per_tok", when: "sparse" },
  { field: "moe_intermediate_size", key: "base_moe_mlp_dim", value: "moe_mlp_dim", when: "sparse" },
  { field: "shared_expert_intermediate_size", key: "shared_expert_mlp_dim", when: "sparse" },
  { field: "norm_topk_prob", key: "norm_topk_prob", when: "sparse" },
  { field: "linear_conv_kernel_dim", key: "gdn_conv_kernel_dim", when: "linear_attention" },
  { field: "linear_key_head_dim", key: "gdn_key_head_dim", when: "linear_attention" },
  { field: "linear_value_head_dim", key: "gdn_value_head_dim", when: "linear_attention" },
  { field: "linear_num_key_heads", key: "gdn_num_key_heads", when: "linear_attention" },
  { field: "linear_num_value_heads", key: "gdn_num_value_heads", when: "linear_attention" },
];

/** Fields that change what a model computes and have one value that q3c knows. */
export const fixed: readonly {
  readonly field: string;
  readonly only: readonly ConfigValue[];
  readonly why: string;
}[] = [
  { field: "hidden_act", only: ["silu"], why: "the architectures use silu" },
  { field: "attention_bias", only: [false], why: "no architecture has biases" },
  { field: "mlp_bias", only: [false], why: "no architecture has biases" },
  { field: "attention_dropout", only: [0], why: "q3c has no dropout" },
  { field: "use_sliding_window", only: [false], why: "there are no windows" },
  { field: "is_causal", only: [true], why: "attention sees no later tokens" },
  ...["num_nextn_predict_layers", "mtp_num_hidden_layers"].map((field) => ({
    field,
    only: [0, 1],
    why: "a head for multi-token prediction has one layer",
  })),
  { field: "mtp_use_dedicated_embeddings", only: [false], why: "a head shares the model's embedding" },
  { field: "quantization_config", only: [null], why: "q3c loads no quantised checkpoints" },
];

/** The model_type of an architecture: its file's name with underscores. */
export const modelTypeOf = (archFile: string): string => basename(archFile, ".arch").replaceAll("-", "_");
