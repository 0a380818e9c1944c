// Keys of numerics: element types, and the quantisation and sparsity that q3c does not do.

import { bool, inert, int, key, limited, oneOf, orNull, positive, text } from "../key.ts";

const dtypes = ["bfloat16", "float32", "float16"] as const;
const exact = inert("q3c does this in float32 whatever it says");
const unquantised = limited("q3c computes in floating point only", [null]);
const unused = inert("it only matters with quantisation, which q3c refuses");
const dense = limited("q3c has no N:M sparsity");

export const numerics = {
  dtype: key(oneOf(...dtypes), "bfloat16", "Element type of activations."),
  weight_dtype: key(oneOf(...dtypes), "float32", "Element type in which parameters are kept."),
  grad_dtype: limited("gradients keep the element type of their weights")(
    oneOf(...dtypes),
    "float32",
    "Element type that float32 gradients are cast to.",
  ),
  mu_dtype: key(oneOf("", ...dtypes), "", "Element type of Adam's first moment; empty means weight_dtype."),
  matmul_precision: inert("products accumulate in float32 on every engine")(
    oneOf("default", "high", "highest", "bfloat16", "float32"),
    "default",
    "How many passes a TPU spends on a product.",
  ),
  activations_in_float32: key(bool, false, "Applies the MLP's nonlinearity in float32."),
  float32_qk_product: exact(bool, false, "Multiplies queries and keys in float32."),
  float32_logits: exact(bool, false, "Computes attention's softmax in float32."),
  float32_weight_sum: key(bool, true, "Sums the experts' outputs in float32."),
  float32_gate_logits: key(bool, false, "Multiplies by the router's weights in float32."),
  logits_dot_in_fp32: key(bool, false, "Multiplies by the output head in float32."),
  cast_logits_to_fp32: exact(bool, true, "Casts logits to float32 for the loss and sampling."),
} as const;

export const quantisation = {
  quantization: unquantised(
    orNull(
      oneOf(
        ...["", "fp4", "int4", "int8", "intmp", "fp8_e5m2", "fp8_e4m3", "fp8", "nanoo_fp8", "fp8_nanoo"],
        ...["fp8_gpu", "fp8_full", "te_fp8_delayedscaling", "te_fp8_currentscaling", "te_mxfp8"],
        ...["te_nvfp4", "te_nvfp4_no_rht"],
      ),
    ),
    "",
    "Quantises matrix products.",
  ),
  use_qwix_quantization: unquantised(bool, false, "Quantises with Qwix."),
  use_manual_quantization: unquantised(bool, false, "Quantises by hand in split batches."),
  quantize_kvcache: unquantised(bool, false, "Keeps the key-value cache in integers."),
  kv_quant_axis: unused(
    oneOf("", "dkv", "heads_and_dkv"),
    "heads_and_dkv",
    "Axes of the key-value cache that share a scale.",
  ),
  kv_quant_dtype: unused(oneOf("int8", "int4"), "int8", "Element type of a quantised key-value cache."),
  save_quantized_params_path: unquantised(text, "", "Saves parameters after quantising."),
  quant_cfg_path: unused(text, "", "A file that describes mixed precision quantisation."),
  weight_quantization_calibration_method: unused(text, "absmax", "How quantised weights are scaled."),
  act_quantization_calibration_method: unused(text, "absmax", "How quantised activations are scaled."),
  bwd_quantization_calibration_method: unused(text, "absmax", "How quantised gradients are scaled."),
  replicate_quant_scale: unused(bool, false, "Copies quantisation scales to every device."),
  constant_bound_config: unused(text, "", "Fixed bounds for quantisation scales."),
  quantization_local_shard_count: unused(int, -1, "Shards over which quantisation ranges are found."),
  weight_sparsity_n: dense(orNull(positive), null, "Weights kept in each group."),
  weight_sparsity_m: dense(orNull(positive), null, "Weights in each group."),
  weight_sparsity_update_step: inert("sparsity is refused")(
    positive,
    10,
    "Steps between new sparsity masks.",
  ),
  weight_sparsity_start_step: inert("sparsity is refused")(
    positive,
    50,
    "Steps before the first sparsity mask.",
  ),
  te_comm_gemm_overlap: inert("Transformer Engine is not used")(
    text,
    "disabled",
    "Overlaps communication with Transformer Engine's products.",
  ),
} as const;
