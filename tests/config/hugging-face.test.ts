import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { toHuggingFaceConfig } from "../../compiler/config/hugging-face/write.ts";
import { formatPlace } from "../../compiler/diag.ts";
import { fixture } from "./fixture.ts";

const qwen3Next = {
  architectures: ["Qwen3NextForCausalLM"],
  bos_token_id: null,
  dtype: "float32",
  eos_token_id: 7,
  head_dim: 32,
  hidden_act: "silu",
  hidden_size: 64,
  intermediate_size: 96,
  layer_types: ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
  linear_key_head_dim: 16,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_value_head_dim: 16,
  max_position_embeddings: 4096,
  model_type: "qwen3_next",
  moe_intermediate_size: 32,
  num_attention_heads: 4,
  num_experts: 8,
  num_experts_per_tok: 2,
  num_hidden_layers: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_parameters: { partial_rotary_factor: 0.25, rope_theta: 10000000.0, rope_type: "default" },
  shared_expert_intermediate_size: 48,
  vocab_size: 256,
};

const dense = {
  model_type: "qwen3",
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rope_theta: 1000000,
  rope_scaling: null,
  tie_word_embeddings: true,
  torch_dtype: "bfloat16",
  vocab_size: 256,
};

const write = (config: object) => fixture({ "m/config.json": JSON.stringify(config, null, 2) });
const load = (config: object, ...args: string[]) => write(config).load(["base", "model_name=m", ...args]);
const problem = (config: object, ...args: string[]) =>
  write(config).problem(["base", "model_name=m", ...args]);

test("a folder with a config.json is a model, and its weights are the checkpoint", () => {
  const f = write(qwen3Next);
  const { values } = f.load(["base", "model_name=m"]);
  expect(values).toMatchObject({
    decoder_block: "qwen3_next",
    emb_dim: 64,
    mlp_dim: 96,
    num_decoder_layers: 4,
    num_query_heads: 4,
    num_kv_heads: 2,
    head_dim: 32,
    inhomogeneous_layer_cycle_interval: 4,
    layer_types: qwen3Next.layer_types,
    rope_max_timescale: 1e7,
    partial_rotary_factor: 0.25,
    gdn_conv_kernel_dim: 4,
    gdn_num_value_heads: 4,
    num_experts: 8,
    num_experts_per_tok: 2,
    moe_mlp_dim: 32,
    shared_experts: 1,
    shared_expert_mlp_dim: 48,
    norm_topk_prob: true,
    normalization_layer_epsilon: 1e-6,
    logits_via_embedding: false,
    max_position_embeddings: 4096,
    dtype: "float32",
    weight_dtype: "float32",
    hf_checkpoint: join(f.cwd, "m"),
    weights_path: join(f.cwd, "m"),
  });
  expect(f.load(["base", "model_name=m", "load_parameters_path=/w"]).values.weights_path).toBe("/w");
});

test("both spellings of the rhythm and of the rotary base are read", () => {
  const { layer_types: _, rope_parameters: __, ...rest } = qwen3Next;
  const old = { ...rest, full_attention_interval: 2, rope_theta: 5000, partial_rotary_factor: 0.5 };
  expect(load(old).values).toMatchObject({
    layer_types: ["linear_attention", "full_attention", "linear_attention", "full_attention"],
    rope_max_timescale: 5000,
    partial_rotary_factor: 0.5,
  });
  expect(load(rest).values).toMatchObject({ layer_types: qwen3Next.layer_types, rope_max_timescale: 10_000 });
});

test("a rope_scaling takes the place of rope_parameters, as in transformers", () => {
  const scaled = { rope_scaling: { rope_type: "default", rope_theta: 100 }, partial_rotary_factor: 0.5 };
  expect(load({ ...qwen3Next, ...scaled }).values).toMatchObject({
    rope_max_timescale: 100,
    partial_rotary_factor: 0.5,
  });
  expect(load({ ...qwen3Next, rope_scaling: {} }).values.rope_max_timescale).toBe(1e7);
});

test("layers without a rhythm, layers without experts and fields left out", () => {
  const types = ["full_attention", "linear_attention", "linear_attention", "full_attention"];
  const { values } = load({ ...qwen3Next, layer_types: types, mlp_only_layers: [1], decoder_sparse_step: 2 });
  expect(values.layer_types).toEqual(types);
  expect(values.mlp_layer_types).toEqual(["dense", "dense", "dense", "sparse"]);
  const { num_experts: _, ...rest } = qwen3Next;
  expect(load({ ...rest, num_experts: 0 }).values.mlp_layer_types).toEqual([
    "dense",
    "dense",
    "dense",
    "dense",
  ]);
  expect(load(rest).values.num_experts).toBe(512);
});

test("a dense family needs no more than its architecture", () => {
  const { values, warnings } = load(dense);
  expect(values).toMatchObject({
    decoder_block: "qwen3",
    head_dim: 128,
    layer_types: ["full_attention", "full_attention"],
    mlp_layer_types: ["dense", "dense"],
    logits_via_embedding: true,
    normalize_embedding_logits: false,
    use_qk_norm: true,
    rope_max_timescale: 1e6,
    dtype: "bfloat16",
    weight_dtype: "bfloat16",
    mu_dtype: "bfloat16",
  });
  expect(warnings.map(({ code }) => code)).toEqual(["no-output-directory"]);
});

test("the checkpoint's element type gives way to the command line and to a YAML, the rest is the model's", () => {
  expect(load(dense, "weight_dtype=float32").values).toMatchObject({
    dtype: "bfloat16",
    weight_dtype: "float32",
  });
  const f = fixture({
    "sub/m/config.json": JSON.stringify(dense),
    "sub/train.yml": "base_config: base.yml\nmodel_name: m\ndtype: float32\n",
  });
  expect(f.load(["sub/train.yml"]).values).toMatchObject({ dtype: "float32", weight_dtype: "bfloat16" });
  expect(problem(dense, "vocab_size=300")).toBe(
    [
      "command line:1:12: model-conflict: `vocab_size` is 300 on the command line, 256 in the model",
      "  vocab_size=300",
      "             ^^^",
      "m/config.json:12:17: note: the model says",
      '    "vocab_size": 256',
      "                  ^^^",
      "help: set override_model_config=true to override the model",
    ].join("\n"),
  );
});

test.each([
  ["attention_bias", true, "no architecture has biases", "false"],
  ["is_causal", false, "attention sees no later tokens", "true"],
  ["hidden_act", "gelu", "the architectures use silu", '"silu"'],
  ["use_sliding_window", true, "there are no windows", "false"],
  ["num_nextn_predict_layers", 2, "a head for multi-token prediction has one layer", "0, 1"],
  ["mtp_num_hidden_layers", 2, "a head for multi-token prediction has one layer", "0, 1"],
  ["mtp_use_dedicated_embeddings", true, "a head shares the model's embedding", "false"],
  ["num_experts", 1, "one expert is a dense MLP here", "0, 2, 3"],
])("%s=%j is refused at its place", (field, value, why, supported) => {
  expect(problem({ [field]: value, ...dense })).toBe(
    [
      `m/config.json:2:${field.length + 7}: hugging-face-field: q3c does not support this \`${field}\`: ${why}`,
      `    "${field}": ${JSON.stringify(value)},`,
      `  ${" ".repeat(field.length + 6)}${"^".repeat(JSON.stringify(value).length)}`,
      `help: supported: ${supported}`,
    ].join("\n"),
  );
});

test("other rotary embeddings, layers and families are refused", () => {
  expect(problem({ ...dense, rope_scaling: { rope_type: "yarn", factor: 4 } })).toMatch(
    /^m\/config\.json:10:18: hugging-face-field: q3c does not support this rope type/,
  );
  expect(problem({ ...dense, layer_types: ["full_attention", "sliding_attention"] })).toMatch(
    /^m\/config\.json:\d+:18: wrong-type: `layer_types` takes a list of linear_attention or full_attention/,
  );
  expect(problem({ ...dense, layer_types: ["linear_attention", "full_attention"] })).toMatch(
    /^m\/config\.json:\d+:18: hugging-face-field: q3c does not support this `layer_types`: qwen3 has no linear attention/,
  );
  for (const layer_types of [
    qwen3Next.layer_types.slice(0, 3),
    [...qwen3Next.layer_types, "linear_attention"],
  ])
    expect(problem({ ...qwen3Next, layer_types })).toMatch(
      /^m\/config\.json:\d+:18: bad-value: `layer_types` names [35] layers, the model has 4/,
    );
  for (const config of [{ model_type: "llama" }, { ...{ model_type: "" }, ...dense, model_type: "llama" }])
    expect(problem(config)).toBe(
      [
        "m/config.json:2:17: hugging-face-field: q3c has no architecture for the model_type `llama`",
        `    "model_type": "llama"${Object.keys(config).length > 1 ? "," : ""}`,
        "                  ^^^^^^^",
        "help: supported: qwen3, qwen3_next",
      ].join("\n"),
    );
});

test("what a config.json leaves out is no place for an error while it has another", () => {
  const { num_experts_per_tok: _, ...left } = qwen3Next;
  expect(problem(left)).toMatch(
    /^m\/config\.json:\d+:18: bad-value: each token goes to 10 experts, there are 8\n.*\n.*\nmodels\/hugging-face\/qwen3_next\.yml:\d+:\d+: note: config\.json leaves `num_experts_per_tok` out, and this is assumed/,
  );
});

test("what is no config.json is said so", () => {
  expect(problem({ hidden_size: 3 })).toMatch(/expected a `model_type`, found nothing/);
  const broken = '{\n  "model_type": "qwen3",\n';
  expect(fixture({ "m/config.json": broken }).problem(["base", "model_name=m"])).toBe(
    [
      "m/config.json:2:25: json-syntax: malformed JSON: expected a key in double quotes, found the end of the file",
      '    "model_type": "qwen3",',
      "                          ^",
    ].join("\n"),
  );
  expect(fixture({ "m/x": "" }).problem(["base", "model_name=m"])).toBe(
    [
      "command line:1:12: not-a-model: the folder `m` has no config.json",
      "  model_name=m",
      "             ^",
      "help: a model's folder has config.json and safetensors, and a tokenizer.json if text is to be read, as transformers saves them",
    ].join("\n"),
  );
});

test("a config.json is written back: what q3c knows from the values, the rest from the original", () => {
  const written = toHuggingFaceConfig(load(qwen3Next, "weight_dtype=bfloat16"));
  expect(written).toMatchObject({ ...qwen3Next, dtype: "bfloat16" });
  expect(written).toMatchObject({
    decoder_sparse_step: 1,
    linear_conv_kernel_dim: 4,
    router_aux_loss_coef: 0.001,
  });
  expect(Object.keys(written)).toEqual(Object.keys(written).toSorted());
  const again = load(written).values;
  const first = load(qwen3Next, "weight_dtype=bfloat16", "dtype=bfloat16").values;
  const { arch_file: _, hf_checkpoint: __, ...same } = first;
  const folders = [
    "weights_path",
    "base_output_directory",
    "checkpoint_dir",
    "metrics_dir",
    "tensorboard_dir",
  ];
  for (const [name, value] of Object.entries(same)) {
    if (!folders.includes(name)) expect([name, again[name as keyof typeof same]]).toEqual([name, value]);
  }
});

test("the weight of the load-balance loss is written when there is such a loss", () => {
  const written = (...args: string[]) =>
    toHuggingFaceConfig(load(qwen3Next, ...args))["router_aux_loss_coef"];
  expect(written()).toBe(0.001);
  expect(written("load_balance_loss_weight=0.02")).toBe(0.02);
  const packaged = fixture().load(["base", "model_name=qwen3-0.6b", "load_balance_loss_weight=0.02"]);
  expect(toHuggingFaceConfig(packaged)).not.toHaveProperty("router_aux_loss_coef");
});

test("the tokenizer beside the weights is used, and its kind; without one the keys' places are known", () => {
  const f = fixture({ "m/config.json": JSON.stringify(dense), "m/tokenizer.json": "{}" });
  const own = join(f.cwd, "m");
  const chosen = (...args: string[]) => {
    const { tokenizer_type, tokenizer_path } = f.load(["base", "model_name=m", ...args]).values;
    return [tokenizer_type, tokenizer_path];
  };
  expect(chosen()).toEqual(["huggingface", own]);
  expect(chosen("tokenizer_type=byte")).toEqual(["byte", own]);
  expect(chosen("tokenizer_path=t")).toEqual(["sentencepiece", "t"]);
  // Weights of a folder of their own have their tokenizer there, whatever model they are of.
  const tuned = join(f.cwd, "tuned");
  mkdirSync(tuned);
  expect(chosen("load_parameters_path=tuned")).toEqual(["huggingface", own]);
  writeFileSync(join(tuned, "tokenizer.json"), "{}");
  expect(chosen("load_parameters_path=tuned")).toEqual(["huggingface", tuned]);
  // Beside MaxText's items, those of the weights lie in a folder of the step.
  for (const step of [9, 10]) {
    const side = join(f.cwd, "steps", String(step), "hugging_face");
    mkdirSync(side, { recursive: true });
    writeFileSync(join(side, "tokenizer.json"), "{}");
    for (const path of ["", "/items", "/hugging_face"])
      expect(chosen(`load_parameters_path=steps/${step}${path}`)).toEqual(["huggingface", side]);
    expect(chosen("load_parameters_path=steps")).toEqual(["huggingface", side]);
  }
  const packaged = f.load(["base", "model_name=qwen3-next-tiny", "load_parameters_path=tuned"]).values;
  expect(packaged).toMatchObject({ tokenizer_type: "huggingface", tokenizer_path: tuned });
  const without = load(dense);
  expect(without.values).toMatchObject({ tokenizer_type: "sentencepiece", tokenizer_path: null });
  expect(without.spanOf("tokenizer_type")).toBeUndefined();
  const nearest = without.spanOf("tokenizer_type", "tokenizer_path", "model_name");
  expect(nearest && formatPlace(nearest)).toBe("command line:1:12");
});

test("a packaged dense model is written without the fields of other families", () => {
  const written = toHuggingFaceConfig(fixture().load(["base", "model_name=qwen3-0.6b"]));
  expect(written).toMatchObject({
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    hidden_size: 1024,
    tie_word_embeddings: true,
    rope_theta: 1e6,
    num_hidden_layers: 28,
  });
  expect(Object.keys(written).filter((field) => /linear_|expert|sparse/.test(field))).toEqual([]);
});
