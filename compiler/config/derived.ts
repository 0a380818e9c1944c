// The values a configuration computes: their names, meanings and types. rules.ts says how.

import type { KeyValues } from "./keys.ts";

/** The element types a key may name. */
export type DTypeName = KeyValues["dtype"];

/** Whether a layer's MLP is one dense MLP or a choice of experts. */
export type MlpLayerType = "dense" | "sparse";

/** How experts are computed: moe.ts says what each means. */
export type MoeStrategy = "dropless" | "dropping" | "dense";

/** Computed values that are not keys. */
export type Derived = {
  readonly emb_dim: number;
  readonly num_query_heads: number;
  readonly num_kv_heads: number;
  readonly mlp_dim: number;
  readonly moe_mlp_dim: number;
  readonly num_decoder_layers: number;
  readonly mlp_layer_types: readonly MlpLayerType[];
  readonly moe_strategy: MoeStrategy;
  readonly num_target_devices: number;
  readonly devices_per_slice: number;
  readonly ici_parallelism: readonly number[];
  readonly dcn_parallelism: readonly number[];
  readonly mesh_shape: readonly number[];
  readonly context_parallel_size: number;
  readonly micro_batch_size_to_train_on: number;
  readonly global_batch_size_to_train_on: number;
  readonly global_batch_size_to_load: number;
  readonly micro_batch_size_to_eval_on: number;
  readonly global_batch_size_to_eval_on: number;
  readonly global_batch_size_to_load_eval: number;
  readonly tensors_on_device: readonly string[];
  readonly tensors_to_offload: readonly string[];
  readonly checkpoint_dir: string;
  readonly metrics_dir: string;
  readonly tensorboard_dir: string;
  readonly hf_checkpoint: string | null;
  readonly weights_path: string | null;
  readonly arch_file: string;
};

/** What each computed value is. */
export const derivedDocs: { readonly [K in keyof Derived]: string } = {
  emb_dim: "base_emb_dim, grown by its share of global_parameter_scale",
  num_query_heads: "base_num_query_heads, grown by its share of global_parameter_scale",
  num_kv_heads: "base_num_kv_heads, grown by its share of global_parameter_scale",
  mlp_dim: "base_mlp_dim, grown by its share of global_parameter_scale",
  moe_mlp_dim: "base_moe_mlp_dim, grown by its share of global_parameter_scale",
  num_decoder_layers: "base_num_decoder_layers, grown by its share of global_parameter_scale",
  mlp_layer_types: "dense or sparse for each layer, by num_experts, mlp_only_layers and decoder_sparse_step",
  moe_strategy: "dropless, dropping or dense, by sparse_matmul and capacity_factor (`q3c explain moe`)",
  num_target_devices: "how many devices the graph is planned for: 1 unless compile_topology says otherwise",
  devices_per_slice: "num_target_devices by num_slices",
  ici_parallelism: "the ici_* sizes in the order of mesh_axes, -1 filled in",
  dcn_parallelism: "the dcn_* sizes in the order of mesh_axes, -1 filled in",
  mesh_shape: "ici_parallelism times dcn_parallelism, axis by axis",
  context_parallel_size: "devices that share a sequence",
  micro_batch_size_to_train_on: "sequences per forward pass on all devices",
  global_batch_size_to_train_on: "sequences per step: micro batches times gradient_accumulation_steps",
  global_batch_size_to_load: "sequences read per step",
  micro_batch_size_to_eval_on: "sequences per forward pass of evaluation",
  global_batch_size_to_eval_on: "sequences per batch of evaluation",
  global_batch_size_to_load_eval: "sequences read per batch of evaluation",
  tensors_on_device: "the tensors that remat_policy=custom keeps on the device",
  tensors_to_offload: "the tensors that remat_policy=custom keeps on the host",
  checkpoint_dir: "base_output_directory/run_name/checkpoints/",
  metrics_dir: "base_output_directory/run_name/metrics/",
  tensorboard_dir: "base_output_directory/run_name/tensorboard/",
  hf_checkpoint: "the folder that model_name names, or null",
  weights_path: "where initial weights come from: load_parameters_path, else hf_checkpoint, else null",
  arch_file: "the .arch file that decoder_block means",
};

/** A value that is not a key. */
export type DerivedName = keyof Derived;

/** The names of the computed values. */
export const derivedNames = Object.keys(derivedDocs) as readonly DerivedName[];

/** Keys whose final value has another type than what is written. */
type Settled = {
  readonly mu_dtype: DTypeName;
};

/** Every key's final value and every computed one. */
export type Values = Omit<KeyValues, keyof Settled> & Settled & Derived;

/** The name of a key or of a computed value. */
export type ValueName = keyof Values;
