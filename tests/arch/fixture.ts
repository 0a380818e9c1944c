// The shipped architecture at sizes of a test's own.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Elaborated, ElaborateOptions } from "../../compiler/arch/context.ts";
import { elaborate } from "../../compiler/arch/elaborate.ts";
import { parseArchitecture } from "../../compiler/arch/syntax.ts";
import { loadConfig } from "../../compiler/config/load.ts";
import type { ConfigValue } from "../../compiler/config/value.ts";

const models = new URL("../../models/", import.meta.url);

export type Values = Readonly<Record<string, ConfigValue>>;

const defaults = loadConfig(["base", "model_name=qwen3-next-80b-a3b"], {
  env: {},
  cwd: fileURLToPath(models),
  modelsDir: fileURLToPath(models),
}).values as unknown as Values;

/** Qwen3-Next-80B-A3B as published (config.json), in MaxText's words; what config.json does not say is the default. */
export const published: Values = {
  ...defaults,
  micro_batch_size_to_train_on: 1,
  max_target_length: 4096,
  vocab_size: 151936,
  emb_dim: 2048,
  num_decoder_layers: 48,
  num_query_heads: 16,
  num_kv_heads: 2,
  head_dim: 256,
  partial_rotary_factor: 0.25,
  rope_max_timescale: 10000000,
  gdn_num_key_heads: 16,
  gdn_num_value_heads: 32,
  gdn_key_head_dim: 128,
  gdn_value_head_dim: 128,
  gdn_conv_kernel_dim: 4,
  gdn_chunk_size: 64,
  gated_delta_rule: "chunked",
  mlp_dim: 5120,
  num_experts: 512,
  num_experts_per_tok: 10,
  moe_mlp_dim: 512,
  shared_expert_mlp_dim: 512,
  norm_topk_prob: true,
  float32_gate_logits: false,
  sparse_matmul: true,
  normalization_layer_epsilon: 1e-6,
  logits_via_embedding: false,
  layer_types: Array.from({ length: 48 }, (_, i) => (i % 4 === 3 ? "full_attention" : "linear_attention")),
  mlp_layer_types: Array.from({ length: 48 }, () => "sparse"),
};

/** The same model small: four layers, a full cycle. */
export const tiny: Values = {
  ...published,
  max_target_length: 5,
  vocab_size: 11,
  emb_dim: 6,
  num_decoder_layers: 4,
  num_query_heads: 4,
  num_kv_heads: 2,
  head_dim: 8,
  gdn_num_key_heads: 2,
  gdn_num_value_heads: 4,
  gdn_key_head_dim: 3,
  gdn_value_head_dim: 5,
  gdn_chunk_size: 4,
  mlp_dim: 7,
  num_experts: 4,
  num_experts_per_tok: 2,
  moe_mlp_dim: 3,
  shared_expert_mlp_dim: 4,
};

export const archText = readFileSync(new URL("qwen3-next.arch", models), "utf8");

const optionsOf = (values: Values, taps: readonly string[] = []): ElaborateOptions => ({
  find: (name) => (Object.hasOwn(values, name) ? values[name] : undefined),
  keys: Object.keys(values),
  activationDType: "bf16",
  weightDType: "f32",
  taps,
});

/** Elaborates the model of an architecture's text over configuration values. */
export const elaborated = (
  text: string,
  values: Values,
  file = "test.arch",
  taps: readonly string[] = [],
): Elaborated => elaborate(parseArchitecture({ file, text }), optionsOf(values, taps));

/** The model and, if there is one, the draft; and both as they go on from earlier tokens. */
export function programs(text: string, values: Values, file = "test.arch"): readonly Elaborated[] {
  const arch = parseArchitecture({ file, text });
  const kinds = arch.draft ? (["model", "draft"] as const) : (["model"] as const);
  const options = [optionsOf(values), { ...optionsOf(values), isResumed: true }];
  return options.flatMap((each) => kinds.map((kind) => elaborate(arch, each, kind)));
}
