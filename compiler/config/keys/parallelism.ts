// Keys of parallelism: the mesh, the rules that split axes over it, and the kinds of parallelism q3c does not have.

import {
  axisGroups,
  axisRules,
  bool,
  float,
  inert,
  int,
  key,
  later,
  limited,
  natural,
  nonNegative,
  oneOf,
  orNull,
  positive,
  size,
  text,
  texts,
} from "../key.ts";
import { defaultAxisRules, meshAxes } from "./axis-rules.ts";

const sharding = later("it is for splitting work over devices, and q3c runs on one");
const stages = limited("q3c has no pipeline stages");
const stageOrder = inert("there are no pipeline stages");
const diloco = limited("q3c has no DiLoCo");
const unusedDiloco = inert("DiLoCo is refused");
const schedule = inert("it only orders work between devices");
const jax = inert("it only concerns how JAX builds its mesh");
const elastic = inert("q3c runs in one process");
const network = inert("it shapes the network of a pod");

export const mesh = {
  mesh_axes: sharding(texts, meshAxes, "The axes of the device mesh, outermost first."),
  logical_axis_rules: sharding(
    axisRules,
    defaultAxisRules,
    "Which mesh axes may split each logical axis, by priority; overrides are merged by name.",
  ),
  data_sharding: sharding(
    axisGroups,
    [meshAxes.filter((axis) => axis !== "diloco")],
    "The mesh axes over which hosts divide the data.",
  ),
  input_data_sharding_logical_axes: sharding(
    texts,
    ["activation_embed_and_logits_batch", "activation_norm_length"],
    "The logical axes of a batch of tokens.",
  ),
  custom_mesh_and_rule: sharding(
    text,
    "",
    "A YAML in custom_mesh_and_rule/ that replaces mesh, rules and data_sharding.",
  ),
  custom_mesh_and_rule_for_eval: limited("evaluation uses the mesh of training")(
    text,
    "",
    "A custom_mesh_and_rule for evaluation.",
  ),
  logical_axis_rules_for_eval: limited("evaluation uses the rules of training")(
    axisRules,
    [],
    "The logical_axis_rules for evaluation.",
  ),
  context_sharding: sharding(text, "context", "The mesh axis that splits the sequence."),
  ulysses_context_sharding: sharding(
    text,
    "context_usp_ulysses",
    "The mesh axis that exchanges heads for sequence.",
  ),
  sharding_tolerance: sharding(nonNegative, 0.02, "Share of parameters that may stay whole on every device."),
  shard_optimizer_over_data: sharding(bool, false, "Splits optimiser state over the data axis too."),
  shard_mode: limited("q3c runs on one device")(
    oneOf("auto", "explicit"),
    "auto",
    "Who propagates shardings.",
  ),
  num_slices: sharding(size, -1, "Slices of the pod; -1 follows compile_topology_num_slices."),
  subslice_shape: limited("q3c plans for whole slices")(text, "", "The part of a slice to use, as x,y,z."),
} as const;

export const axisSizes = {
  ici_diloco_parallelism: diloco(size, 1, "DiLoCo replicas in a slice."),
  ici_data_parallelism: sharding(size, 1, "Data parallelism in a slice; -1 takes what is left."),
  ici_fsdp_parallelism: sharding(size, -1, "Fully sharded data parallelism in a slice."),
  ici_fsdp_transpose_parallelism: sharding(size, 1, "FSDP over the other axis of a weight, in a slice."),
  ici_sequence_parallelism: sharding(size, 1, "Sequence parallelism in a slice."),
  ici_context_parallelism: sharding(size, 1, "Context parallelism in a slice."),
  ici_context_usp_ulysses_parallelism: sharding(
    size,
    1,
    "Context parallelism by exchanging heads, in a slice.",
  ),
  ici_context_autoregressive_parallelism: sharding(size, 1, "Context parallelism of decoding, in a slice."),
  ici_tensor_parallelism: sharding(size, 1, "Tensor parallelism in a slice."),
  ici_tensor_sequence_parallelism: sharding(
    size,
    1,
    "Tensor parallelism with split sequence between blocks, in a slice.",
  ),
  ici_autoregressive_parallelism: sharding(size, 1, "Parallelism of decoding in a slice."),
  ici_pipeline_parallelism: stages(size, 1, "Pipeline stages in a slice."),
  ici_expert_parallelism: sharding(size, 1, "Expert parallelism in a slice."),
  dcn_diloco_parallelism: diloco(size, 1, "DiLoCo replicas across slices."),
  dcn_data_parallelism: sharding(size, -1, "Data parallelism across slices; -1 takes what is left."),
  dcn_fsdp_parallelism: sharding(size, 1, "Fully sharded data parallelism across slices."),
  dcn_fsdp_transpose_parallelism: sharding(size, 1, "FSDP over the other axis of a weight, across slices."),
  dcn_sequence_parallelism: sharding(size, 1, "Sequence parallelism across slices."),
  dcn_context_parallelism: sharding(size, 1, "Context parallelism across slices."),
  dcn_context_usp_ulysses_parallelism: sharding(
    size,
    1,
    "Context parallelism by exchanging heads, across slices.",
  ),
  dcn_context_autoregressive_parallelism: sharding(
    size,
    1,
    "Context parallelism of decoding, across slices.",
  ),
  dcn_tensor_parallelism: sharding(size, 1, "Tensor parallelism across slices."),
  dcn_tensor_sequence_parallelism: sharding(
    size,
    1,
    "Tensor parallelism with split sequence, across slices.",
  ),
  dcn_autoregressive_parallelism: sharding(size, 1, "Parallelism of decoding across slices."),
  dcn_pipeline_parallelism: stages(size, 1, "Pipeline stages across slices."),
  dcn_expert_parallelism: sharding(size, 1, "Expert parallelism across slices."),
} as const;

export const distribution = {
  compile_topology: key(text, "", "The TPU to plan for, as v5p-64; empty is this machine."),
  compile_topology_num_slices: key(size, -1, "Slices of that TPU; -1 is one."),
  internal_compile: key(bool, false, "Plans for internal_compile_num_devices devices of no named kind."),
  internal_compile_num_devices: key(size, -1, "How many devices internal_compile plans for."),
  num_vocab_tiling: schedule(positive, 1, "Pieces in which the loss sees the vocabulary."),
  vocab_tiling_ag_once: schedule(
    bool,
    false,
    "Gathers the output head once for all pieces of num_vocab_tiling.",
  ),
  dense_fsdp_use_two_stage_all_gather: schedule(bool, false, "Gathers dense weights in two steps."),
  optimizer_memory_host_offload: schedule(bool, false, "Keeps optimiser state in the host's memory."),
  parameter_memory_host_offload: schedule(bool, false, "Keeps parameters in the host's memory."),
  check_vma: jax(bool, false, "Checks the types of JAX's shard_map."),
  custom_mesh: jax(text, "", "A named arrangement of devices."),
  allow_split_physical_axes: jax(bool, false, "Lets a mesh axis use part of a physical one."),
  optimize_mesh_for_tpu_v6e: jax(bool, false, "Rearranges the mesh for TPU v6e."),
  shardy: jax(bool, true, "Uses Shardy instead of GSPMD."),
  remove_size_one_mesh_axis_from_type: jax(bool, true, "Forgets mesh axes of one device in JAX's types."),
  num_layers_per_pipeline_stage: stageOrder(positive, 1, "Layers of a pipeline stage."),
  num_pipeline_repeats: stageOrder(int, -1, "Rounds through the pipeline stages."),
  pipeline_parallel_layers: stageOrder(int, -1, "Layers that are pipelined; -1 is all."),
  num_pipeline_microbatches: stageOrder(int, -1, "Pieces of a batch in the pipeline; -1 is one per stage."),
  pipeline_delay_activation_forwarding: stageOrder(
    bool,
    false,
    "Hands activations to the next stage a step later.",
  ),
  pipeline_fsdp_ag_once: stageOrder(bool, false, "Gathers a pipeline's weights once."),
  pipeline_fsdp_ag_per_repeat: stageOrder(bool, false, "Gathers a pipeline's weights once a round."),
  scan_pipeline_iterations: stageOrder(bool, true, "Scans over the pipeline's iterations."),
  scan_pipeline_repeats: stageOrder(bool, false, "Scans over the pipeline's rounds."),
  scan_layers_per_stage: stageOrder(bool, false, "Scans over the layers of a pipeline stage."),
  set_remat_policy_on_pipeline_iterations: stageOrder(
    bool,
    true,
    "Rematerialises per iteration of the pipeline.",
  ),
  set_remat_policy_on_layers_per_stage: stageOrder(
    bool,
    false,
    "Rematerialises per layer of a pipeline stage.",
  ),
  enable_diloco: diloco(bool, false, "Trains replicas that synchronise now and then (DiLoCo)."),
  diloco_sync_period: unusedDiloco(positive, 36, "Steps between DiLoCo's synchronisations."),
  diloco_outer_lr: unusedDiloco(nonNegative, 0.3, "Learning rate of DiLoCo's synchronisations."),
  diloco_outer_momentum: unusedDiloco(nonNegative, 0.9, "Momentum of DiLoCo's synchronisations."),
  enable_streaming_diloco: diloco(bool, false, "Synchronises DiLoCo's replicas piece by piece."),
  num_diloco_fragments: unusedDiloco(orNull(positive), null, "Pieces that DiLoCo synchronises."),
  use_sequential_layers: unusedDiloco(bool, false, "Makes DiLoCo's pieces of neighbouring layers."),
  num_communication_overlapping_steps: unusedDiloco(
    natural,
    0,
    "Steps that a DiLoCo synchronisation may take.",
  ),
  communication_overlapping_alpha: unusedDiloco(float, 0.0, "How DiLoCo mixes weights before and after."),
  dcn_bandwidth_limit: network(text, "", "Limits what a host sends between slices."),
  dcn_bandwidth_burst: network(text, "10mb", "Size of a burst between slices."),
  dcn_bandwidth_latency: network(text, "50ms", "Longest wait between slices."),
  dcn_bandwidth_interface: network(text, "eth0", "The network interface between slices."),
  elastic_enabled: elastic(bool, false, "Goes on with fewer slices when some fail."),
  elastic_backup_kind: elastic(
    oneOf("snapshot", "checkpoint"),
    "snapshot",
    "What a run that lost slices goes on from.",
  ),
  elastic_timeout_seconds: elastic(positive, 300, "How long a run waits for slices to come back."),
  elastic_max_retries: elastic(natural, 10, "How often a run that lost slices tries again."),
  elastic_min_slice_count: elastic(int, -1, "Slices that a run needs at least."),
} as const;
