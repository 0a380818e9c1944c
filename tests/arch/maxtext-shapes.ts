// MaxText's parameters of qwen3-next-80b-a3b, layers single: what both the architecture and the checkpoints are held to.

const every = {
  "input_layernorm.scale": [2048],
  "post_attention_layernorm.scale": [2048],
  "mlp.routed_experts.gate.kernel": [2048, 512],
  "mlp.routed_experts.wi_0": [512, 2048, 512],
  "mlp.routed_experts.wi_1": [512, 2048, 512],
  "mlp.routed_experts.wo": [512, 512, 2048],
  "mlp.shared_expert.wi_0.kernel": [2048, 512],
  "mlp.shared_expert.wi_1.kernel": [2048, 512],
  "mlp.shared_expert.wo.kernel": [512, 2048],
  "mlp.shared_expert_gate.kernel": [2048, 1],
};
const linear = {
  "attention.in_proj_qkvz.kernel": [2048, 12288],
  "attention.in_proj_ba.kernel": [2048, 64],
  "attention.conv1d.kernel": [4, 1, 8192],
  "attention.A_log": [32],
  "attention.dt_bias": [32],
  "attention.norm.rms_norm.scale": [128],
  "attention.out_proj.kernel": [4096, 2048],
};
const full = {
  "attention.attention.query.kernel": [2048, 16, 512],
  "attention.attention.key.kernel": [2048, 2, 256],
  "attention.attention.value.kernel": [2048, 2, 256],
  "attention.attention.out.kernel": [4096, 2048],
  "attention.attention.query_norm.scale": [256],
  "attention.attention.key_norm.scale": [256],
};

/** Outside the layers. */
export const maxTextTop = {
  "token_embedder.embedding": [151936, 2048],
  "decoder.decoder_norm.scale": [2048],
  "decoder.logits_dense.kernel": [2048, 151936],
};

/** Of a layer, by its place: every fourth attends, the others are Gated DeltaNet. */
export const maxTextLayer = (i: number): Readonly<Record<string, number[]>> => ({
  ...every,
  ...(i % 4 === 3 ? full : linear),
});
