// Keys of training: steps, learning rate, optimiser, evaluation; and the trainers q3c does not have.

import {
  bool,
  float,
  inert,
  int,
  key,
  limited,
  listOf,
  mapping,
  natural,
  nonNegative,
  oneOf,
  orNull,
  positive,
  text,
  texts,
} from "../key.ts";

const muon = inert("muon is refused");
const preference = inert("preference training is refused");
const diffusion = inert("block diffusion is refused");
const lora = limited("q3c trains whole parameters");
const unusedLora = inert("LoRA is refused");
const teacher = inert("q3c has no distillation trainer");

export const training = {
  steps: key(int, 150_001, "Training steps; -1 means learning_rate_schedule_steps."),
  log_period: inert("every step is written at once")(
    positive,
    100,
    "Steps between writes of metrics to disk.",
  ),
  init_weights_seed: key(int, 0, "Seed of new weights."),
  gradient_accumulation_steps: key(positive, 1, "Micro batches per step."),
  gradient_clipping_threshold: key(nonNegative, 1.0, "Largest global norm of the gradient; 0 never clips."),
  z_loss_multiplier: key(nonNegative, 0.0, "Weight of the squared log of softmax's denominator."),
  abort_on_nan_loss: key(bool, true, "Stops when the loss is not a number."),
  abort_on_inf_loss: key(bool, true, "Stops when the loss is infinite."),
  trainable_parameters_mask: key(texts, [], "Patterns of parameters to train; empty means all."),
  training_objective: limited("q3c predicts the next token")(
    oneOf("causal_lm", "block_diffusion"),
    "causal_lm",
    "What the model learns to predict.",
  ),
  block_diffusion_mask_id: diffusion(int, -1, "The mask token of block diffusion."),
  block_diffusion_min_noise: diffusion(
    nonNegative,
    0.001,
    "Least share of a block that block diffusion masks.",
  ),
  block_diffusion_logit_alignment: diffusion(
    oneOf("same_position", "shifted"),
    "same_position",
    "Which logits predict a masked token in block diffusion.",
  ),
  block_diffusion_canvas_policy: diffusion(
    oneOf("all_masked", "seed_and_mask"),
    "all_masked",
    "How a block of block diffusion starts.",
  ),
  skip_step_on_spikes: limited("q3c takes every step")(bool, false, "Skips a step when the loss jumps."),
  skip_step_interval: inert("q3c takes every step")(positive, 128, "Steps that tell what loss is usual."),
  skip_step_scaling_factor: inert("q3c takes every step")(
    float,
    6.0,
    "Standard deviations above the usual loss that are a jump.",
  ),
  record_internal_nn_metrics: inert("it only adds metrics, which q3c does not have")(
    int,
    0,
    "Records metrics inside the layers.",
  ),
  max_inflight_computations: inert("q3c runs a step at a time")(positive, 2, "Steps that may be in flight."),
  max_checkify: inert("q3c always checks")(bool, false, "Runs JAX's extra checks."),
} as const;

export const learningRate = {
  learning_rate: key(nonNegative, 3e-5, "The highest learning rate."),
  lr_schedule_type: key(
    oneOf("cosine", "wsd"),
    "cosine",
    "The learning rate's course after warm-up: cosine, or constant then decay.",
  ),
  learning_rate_schedule_steps: key(int, -1, "Steps of the schedule; -1 means steps."),
  warmup_steps_fraction: key(nonNegative, 0.1, "Share of the schedule that warms up."),
  learning_rate_final_fraction: key(nonNegative, 0.1, "The last learning rate, as a share of the highest."),
  wsd_decay_steps_fraction: key(nonNegative, 0.1, "Share of the schedule that decays, for wsd."),
  wsd_decay_style: key(oneOf("linear", "cosine"), "linear", "How the learning rate decays, for wsd."),
} as const;

export const optimizer = {
  opt_type: limited("q3c has AdamW only")(
    oneOf("adamw", "adam_pax", "sgd", "muon"),
    "adamw",
    "The optimiser.",
  ),
  adam_b1: key(nonNegative, 0.9, "How slowly the mean of gradients moves."),
  adam_b2: key(nonNegative, 0.95, "How slowly the mean of their squares moves."),
  adam_eps: key(nonNegative, 1e-8, "Added to Adam's denominator outside the square root."),
  adam_eps_root: key(nonNegative, 0.0, "Added to Adam's denominator inside the square root."),
  adam_weight_decay: key(nonNegative, 0.1, "Decay of weights, times the learning rate."),
  adamw_mask: key(texts, [], "Patterns of parameters that do not decay."),
  muon_beta: muon(nonNegative, 0.95, "How slowly Muon's mean of gradients moves."),
  muon_weight_decay: muon(nonNegative, 0, "Muon's decay of weights."),
  muon_consistent_rms: muon(orNull(float), null, "Scale of Muon's updates."),
  use_qk_clip: limited("q3c has no QK-clip")(
    bool,
    false,
    "Scales down queries and keys whose product is large.",
  ),
  qk_clip_threshold: inert("QK-clip is refused")(
    float,
    100.0,
    "The product of queries and keys that is large.",
  ),
} as const;

export const evaluation = {
  eval_interval: limited("q3c does not evaluate while training")(
    int,
    -1,
    "Steps between evaluations; -1 never evaluates.",
  ),
  eval_steps: inert("eval_interval is refused")(int, -1, "Batches per evaluation; -1 takes all there are."),
  eval_start_step: inert("eval_interval is refused")(natural, 0, "First step that may evaluate."),
  target_eval_loss: limited("q3c does not evaluate while training")(
    nonNegative,
    0.0,
    "Stops when the evaluation loss is this low; 0 never does.",
  ),
} as const;

export const fineTuning = {
  use_sft: limited("q3c fine-tunes on plain sequences")(bool, false, "Trains on conversations."),
  sft_train_on_completion_only: inert("use_sft is refused")(
    bool,
    false,
    "Trains conversations on answers only.",
  ),
  formatting_func_path: inert("use_sft is refused")(
    text,
    "",
    "A Python function that formats records for use_sft.",
  ),
  formatting_func_kwargs: inert("use_sft is refused")(mapping, {}, "Arguments of formatting_func_path."),
  use_tunix_gradient_accumulation: inert("Tunix is not used")(bool, false, "Accumulates gradients in Tunix."),
  use_dpo: limited("q3c has no preference training")(bool, false, "Trains on preferences."),
  use_grpo: limited("q3c has no reinforcement learning")(orNull(bool), null, "Trains on rewards."),
  "dpo.algo": preference(oneOf("dpo", "orpo"), "dpo", "The method of preference training."),
  "dpo.dpo_beta": preference(float, 0.1, "Strength of the preference in DPO."),
  "dpo.orpo_lambda": preference(float, 0.1, "Weight of the preference in ORPO."),
  "dpo.dpo_label_smoothing": preference(float, 0.0, "Smoothing of preferences in DPO."),
  "dpo.max_prompt_length": preference(orNull(positive), null, "Longest prompt of preference training."),
  "lora.enable_lora": lora(bool, false, "Trains low-rank adapters instead of the weights."),
  "lora.lora_rank": unusedLora(natural, 0, "Rank of low-rank adapters."),
  "lora.lora_alpha": unusedLora(nonNegative, 0.0, "Scale of low-rank adapters."),
  "lora.lora_module_path": unusedLora(text, "", "Pattern of the modules that get low-rank adapters."),
  "lora.lora_weight_qtype": unusedLora(orNull(text), null, "Quantises the weights under low-rank adapters."),
  "lora.lora_tile_size": unusedLora(orNull(natural), null, "Tile of that quantisation of weights."),
  "lora.lora_restore_path": unusedLora(text, "", "Low-rank adapters to start from."),
  distill_alpha: teacher(float, 0.5, "Weight of the teacher's predictions."),
  distill_alpha_end: teacher(orNull(float), null, "The last distill_alpha."),
  distill_alpha_schedule: teacher(
    oneOf("constant", "linear", "cosine"),
    "constant",
    "The course of distill_alpha.",
  ),
  distill_temperature: teacher(float, 1.0, "Softens the teacher's predictions."),
  distill_temperature_end: teacher(orNull(float), null, "The last distill_temperature."),
  distill_temperature_schedule: teacher(
    oneOf("constant", "linear", "cosine"),
    "constant",
    "The course of distill_temperature.",
  ),
  distill_beta: teacher(float, 0.0, "Weight of the teacher's features."),
  distill_beta_end: teacher(orNull(float), null, "The last distill_beta."),
  distill_beta_schedule: teacher(
    oneOf("constant", "linear", "cosine"),
    "constant",
    "The course of distill_beta.",
  ),
  distill_feature_loss_type: teacher(
    oneOf("cosine", "l2"),
    "cosine",
    "Distance between a teacher's and a student's features.",
  ),
  distill_layer_indices: teacher(
    orNull(listOf(int, "integers")),
    null,
    "Layers whose features are compared.",
  ),
} as const;
