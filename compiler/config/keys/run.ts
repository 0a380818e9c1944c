// Keys of a run: what it is called, which model, where its output and checkpoints go, what it logs.

import {
  bool,
  inert,
  int,
  key,
  later,
  limited,
  natural,
  oneOf,
  orNull,
  positive,
  text,
  unmet,
} from "../key.ts";

const storage = inert("it tunes how fast checkpoint files are written, not what is in them");
const cloud = inert("q3c writes local files and uses no cloud service");
const pathways = inert("q3c runs in one process");
const periodic = "q3c saves every checkpoint_period steps, and at the end";
const adapters = limited("q3c loads no LoRA adapters");

export const run = {
  run_name: key(text, "", "Names the run and its output folder; empty means model and time."),
  model_name: key(text, "default", "A models/NAME.yml, or a folder with a Hugging Face config.json."),
  override_model_config: key(bool, false, "Lets the command line and environment override the model's keys."),
  override_logical_axis_rules: later("it is for splitting work over devices")(
    bool,
    false,
    "Replaces all logical_axis_rules instead of merging by name.",
  ),
  base_output_directory: key(text, "", "Root of the folders that runs write; empty is maxtext_output."),
  engine: key(
    oneOf("auto", "tfjs", "native", "xla"),
    "auto",
    "Which engine executes the graph; auto takes the fastest that works here. (q3c only)",
  ),
  log_config: unmet("q3c prints a short summary of the run", [false])(
    bool,
    true,
    "Prints every key when a run starts.",
  ),
  debug_sharding: limited("q3c runs on one device")(bool, false, "Prints the sharding of every parameter."),
  metrics_file: key(text, "", "A JSON Lines file for the scalar metrics of every step."),
  enable_tensorboard: unmet("metrics_file is where q3c writes metrics", [false])(
    bool,
    true,
    "Writes TensorBoard event files.",
  ),
  use_vertex_tensorboard: cloud(bool, false, "Uploads TensorBoard events to Vertex AI."),
  vertex_tensorboard_project: cloud(orNull(text), "", "The project of TensorBoard on Vertex AI."),
  vertex_tensorboard_region: cloud(orNull(text), "", "The region of TensorBoard on Vertex AI."),
  gcs_metrics: cloud(bool, false, "Uploads metrics in batches of steps."),
  save_config_to_gcs: cloud(bool, false, "Uploads the configuration."),
  enable_wandb: cloud(bool, false, "Logs to Weights & Biases."),
  wandb_project_name: cloud(text, "maxtext", "The project at Weights & Biases."),
  wandb_run_name: cloud(text, "", "The run at Weights & Biases."),
  hf_access_token: inert("q3c downloads nothing")(
    orNull(text),
    "",
    "Hugging Face token; HF_TOKEN in the environment is better.",
  ),
  hardware: inert("the engine decides where a graph runs")(
    oneOf("tpu", "gpu", "gpu_multiprocess", "cpu"),
    "tpu",
    "The family of hardware that JAX runs on.",
  ),
  jax_cache_dir: inert("it only tunes JAX")(
    orNull(text),
    "~/jax_cache",
    "The folder of JAX's compile cache.",
  ),
} as const;

export const checkpoint = {
  load_parameters_path: key(text, "", "Loads parameters only, from this checkpoint item."),
  load_full_state_path: key(text, "", "Loads parameters, optimiser state and step."),
  enable_checkpointing: key(bool, true, "Saves checkpoints and goes on from the latest; saves the model."),
  save_checkpoint_on_start: key(bool, true, "Saves step 0 too."),
  save_checkpoint_on_completion: key(bool, true, "Saves the last step, whatever the period."),
  async_checkpointing: key(bool, true, "Saves beside the training loop instead of stopping it."),
  checkpoint_period: key(positive, 10_000, "Steps between checkpoints."),
  max_num_checkpoints_to_keep: key(orNull(positive), null, "Keeps only the latest so many."),
  enable_continuous_checkpointing: limited(periodic)(
    bool,
    false,
    "Saves again as soon as the last save is done.",
  ),
  enable_autocheckpoint: limited(periodic)(bool, false, "Saves when the process is told to stop."),
  force_unroll: inert("q3c always writes each layer by itself")(
    bool,
    false,
    "Unstacks layers when only parameters are written.",
  ),
  source_checkpoint_layout: limited("q3c reads safetensors and refuses what is not", [
    "safetensors",
    "safetensors_dynamic",
  ])(oneOf("orbax", "safetensors", "safetensors_dynamic"), "orbax", "The format of the loaded checkpoint."),
  checkpoint_conversion_fn: limited("a function cannot be named from outside")(
    orNull(text),
    null,
    "A function that changes the loaded checkpoint.",
  ),
  checkpoint_is_quantized: limited("q3c loads no quantised checkpoints")(
    bool,
    false,
    "Says that the loaded weights are quantised.",
  ),
  checkpoint_storage_use_ocdbt: key(bool, true, "Writes one OCDBT database instead of a folder per array."),
  checkpoint_storage_use_zarr3: key(bool, true, "Writes zarr 3 metadata instead of zarr 2."),
  checkpoint_storage_target_data_file_size_bytes: storage(
    positive,
    2_147_483_648,
    "Size of data files to aim at.",
  ),
  checkpoint_storage_concurrent_gb: storage(positive, 96, "Bytes of a checkpoint in flight, in GB."),
  enable_orbax_v1: storage(bool, false, "Uses Orbax's newer interface."),
  enable_single_replica_ckpt_restoring: storage(bool, false, "Lets one replica read a checkpoint for all."),
  checkpoint_todelete_subdir: storage(
    orNull(text),
    null,
    "A folder for old checkpoints instead of deleting them.",
  ),
  checkpoint_todelete_full_path: storage(
    orNull(text),
    null,
    "A full path for old checkpoints instead of deleting them.",
  ),
  load_checkpoint_only_once: storage(bool, false, "Loads the base checkpoint once per cluster."),
  convert_checkpoint_if_possible: limited("q3c reads safetensors as they are")(
    bool,
    false,
    "Converts the checkpoint when a run starts.",
  ),
  colocated_python_checkpointing: pathways(bool, false, "Saves checkpoints from the accelerator's hosts."),
  enable_single_controller: pathways(bool, false, "Runs one controller for all hosts."),
  enable_checkpoint_cloud_logger: cloud(bool, false, "Logs checkpoints to the cloud."),
  enable_multi_tier_checkpointing: storage(bool, false, "Saves checkpoints to local disks first."),
  multi_tier_checkpointing_backup_interval_minutes: storage(
    orNull(positive),
    null,
    "Minutes between backups of local checkpoints.",
  ),
  multi_tier_checkpointing_backup_interval_steps: storage(
    orNull(positive),
    null,
    "Steps between backups of local checkpoints.",
  ),
  mtc_data_parallelism: storage(natural, 0, "Identical copies of a job with local checkpoints."),
  enable_emergency_checkpoint: storage(bool, false, "The older name of saving to local disks first."),
  local_checkpoint_directory: storage(text, "", "Where local checkpoints go."),
  local_checkpoint_period: storage(natural, 0, "Steps between local checkpoints."),
  use_replicator_service: storage(bool, false, "Copies local checkpoints between hosts."),
  replicator_backup_interval_minutes: storage(natural, 0, "Minutes between copies of local checkpoints."),
  lora_input_adapters_path: adapters(text, "", "LoRA adapters for serving."),
  hf_lora_adapter_path: adapters(text, "", "A LoRA adapter of Hugging Face."),
  reuse_example_batch: limited("every step has a batch of its own")(
    int,
    0,
    "Trains on the first batch again and again when 1.",
  ),
} as const;
