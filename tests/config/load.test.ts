// biome-ignore-all lint/suspicious/noTemplateCurlyInString: expressions are part of the subject.

import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { remotePath, requireLocal } from "../../compiler/config/remote.ts";
import { formatDiagnostic, formatPlace } from "../../compiler/diag.ts";
import { fixture, tiny } from "./fixture.ts";

test("the later source wins: base, model, command line, environment", () => {
  const { load } = fixture({
    "train.yml":
      "base_config: base.yml\nmodel_name: qwen3-next-tiny\nsteps: 7\nvocab_size: 99\nlog_period: 3\n",
  });
  const config = load(["train.yml", "log_period=5"], { M_LEARNING_RATE: "1e-2", M_PACKING: "no" });
  const { steps, vocab_size, log_period, learning_rate, packing, checkpoint_period } = config.values;
  expect({ steps, vocab_size, log_period, learning_rate, packing, checkpoint_period }).toEqual({
    steps: 7,
    vocab_size: 256,
    log_period: 5,
    learning_rate: 0.01,
    packing: false,
    checkpoint_period: 10_000,
  });
  const places = (
    ["steps", "vocab_size", "log_period", "learning_rate", "checkpoint_period", "emb_dim"] as const
  ).map((name) => {
    const { from, at } = config.origin(name);
    return `${from}${at && from !== "default" ? ` ${formatPlace(at)}` : ""}`;
  });
  expect(places).toEqual([
    "file train.yml:3:8",
    "model models/qwen3-next-tiny.yml:30:13",
    "command line command line:1:12",
    "environment environment:1:17",
    "default",
    "computed",
  ]);
  expect(config.warnings.map(formatDiagnostic)).toEqual([
    [
      "train.yml:4:13: overridden-by-model: `vocab_size` is 99 in the configuration, 256 in the model",
      "  vocab_size: 99",
      "              ^^",
      "models/qwen3-next-tiny.yml:30:13: note: the model says",
      "  vocab_size: 256",
      "              ^^^",
      "help: the model wins; set the key on the command line with override_model_config=true",
    ].join("\n"),
    expect.stringMatching(
      /^no-output-directory: `base_output_directory` is not set; output goes to .*maxtext_output$/,
    ),
  ]);
});

test("base_config chains from file to file, and a YAML without it stands on the defaults alone", () => {
  const { load } = fixture({
    "a/grand.yml": "base_config: base.yml\nsteps: 1\nlog_period: 1\n",
    "parent.yml": "base_config: a/grand.yml\nsteps: 2\nmodel_name: qwen3-next-tiny\n",
    "child.yml": "base_config: parent.yml\npacking: false\n",
    "alone.yml": "decoder_block: qwen3_next\nsteps: 4\n",
  });
  expect(load(["child.yml"]).values).toMatchObject({ steps: 2, log_period: 1, packing: false, emb_dim: 64 });
  expect(load(["alone.yml"]).values).toMatchObject({ steps: 4, emb_dim: 2048, log_period: 100 });
});

test("the first argument finds the packaged base in all its spellings, or may be left out", () => {
  const { load } = fixture();
  for (const first of [["base"], ["base.yml"], ["src/maxtext/configs/base.yml"], ["configs/base.yml"], []]) {
    expect(load([...first, "model_name=qwen3-next-tiny"]).values.emb_dim).toBe(64);
  }
});

test("a tied head may be divided by sqrt(emb_dim), which a saved config.json cannot say", () => {
  const { load } = fixture();
  const tied = load([...tiny, "logits_via_embedding=true", "base_output_directory=out"]);
  expect(tied.values.normalize_embedding_logits).toBe(true);
  expect(tied.warnings.map(formatDiagnostic)).toEqual([
    [
      "command line:1:22: tied-logits: a config.json cannot say that the logits of a tied head are divided by sqrt(emb_dim)",
      "  logits_via_embedding=true",
      "                       ^^^^",
      "help: set normalize_embedding_logits=false for a model that transformers is to open",
    ].join("\n"),
  ]);
});

test("paths of other machines are accepted, warned of, and refused by those who use them", () => {
  const config = fixture().load([
    ...tiny,
    "base_output_directory=gs://bucket/out",
    "load_parameters_path=s3://bucket/0/items",
    "dataset_path=C:/data",
  ]);
  expect(config.warnings.map(({ code, at }) => `${code} ${at && formatPlace(at)}`)).toEqual([
    "remote-path command line:1:23",
    "remote-path command line:1:22",
  ]);
  expect(["gs://a", "hf://a/b", "/a://b", "a/b", "gs:/a", ""].map(remotePath)).toEqual([
    "gs://",
    "hf://",
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  expect(() => requireLocal(config, "dataset_path", "metrics_file")).not.toThrow();
  expect(() => requireLocal(config, "dataset_path", "load_parameters_path")).toThrow(
    "command line:1:22: remote-path: `load_parameters_path` starts with s3://, and q3c reads and writes local files only",
  );
});

test("words are typed by their key", () => {
  const { values } = fixture().load([
    ...tiny,
    "steps=1_000",
    "learning_rate=1",
    "rope_theta_for_vit=1e4",
    "packing=y",
    "run_name=007",
    "prompt=Note: 5 # of {these}",
    'chat_template="a b"',
    "max_num_checkpoints_to_keep=None",
    "adamw_mask=['norm', \"bias\"]",
    "train_data_columns=\"['a']\"",
    "mlp_only_layers=[0, 2]",
    "data_sharding=[data, fsdp]",
    "hf_access_token=",
    "chat_template_path=",
    "lora.lora_rank=8",
    "remat_policy=none",
    "dtype=float16",
  ]);
  expect(values).toMatchObject({
    steps: 1000,
    learning_rate: 1,
    rope_theta_for_vit: 10_000,
    packing: true,
    run_name: "007",
    prompt: "Note: 5 # of {these}",
    chat_template: "a b",
    max_num_checkpoints_to_keep: null,
    adamw_mask: ["norm", "bias"],
    train_data_columns: ["a"],
    mlp_only_layers: [0, 2],
    data_sharding: [["data", "fsdp"]],
    hf_access_token: null,
    chat_template_path: "",
    "lora.lora_rank": 8,
    remat_policy: "none",
    dtype: "float16",
    mlp_layer_types: ["dense", "sparse", "dense", "sparse"],
  });
});

test("expressions refer to any key, computed ones too, and fill text", () => {
  const { load } = fixture({
    "train.yml": [
      "base_config: base.yml",
      "decoder_block: qwen3_next",
      "base_mlp_dim: ${4 * base_emb_dim}",
      "base_emb_dim: ${base_num_query_heads * head_dim // 2}",
      "head_dim: 32",
      "warmup_steps_fraction: ${10 / steps}",
      "run_name: w${emb_dim}-${dtype}-$${kept}",
      'mlp_only_layers: ["${num_decoder_layers - 1}"]',
      "packing: ${max_target_length > 1024 and dtype in ['bfloat16']}",
    ].join("\n"),
  });
  expect(load(["train.yml", "steps=${2 * log_period}"]).values).toMatchObject({
    base_mlp_dim: 1024,
    base_emb_dim: 256,
    steps: 200,
    warmup_steps_fraction: 0.05,
    run_name: "w256-bfloat16-${kept}",
    mlp_only_layers: [15],
    packing: true,
  });
});

test("the same value as the model's is no conflict, and override_model_config lets the command line win", () => {
  const { load } = fixture();
  expect(load([...tiny, "base_emb_dim=${32 * 2}"]).values.emb_dim).toBe(64);
  const over = load([...tiny, "base_emb_dim=128", "override_model_config=true"], { M_VOCAB_SIZE: "512" });
  expect(over.values).toMatchObject({ emb_dim: 128, vocab_size: 512, head_dim: 32 });
});

test.each([
  [1, { emb: 1, heads: 1, mlp: 1, layers: 1 }],
  [2, { emb: 1, heads: 2, mlp: 2, layers: 1 }],
  [4, { emb: 2, heads: 2, mlp: 2, layers: 1 }],
  [8, { emb: 2, heads: 2, mlp: 2, layers: 2 }],
  [64, { emb: 4, heads: 4, mlp: 4, layers: 4 }],
])("global_parameter_scale=%i deals its factors out as MaxText does", (scale, factor) => {
  const { values } = fixture().load([...tiny, `global_parameter_scale=${scale}`]);
  expect(values).toMatchObject({
    emb_dim: 64 * factor.emb,
    num_query_heads: 4 * factor.heads,
    num_kv_heads: 2 * factor.heads,
    mlp_dim: 64 * factor.mlp,
    moe_mlp_dim: 32 * factor.mlp,
    shared_expert_mlp_dim: 32 * factor.mlp,
    num_decoder_layers: 4 * factor.layers,
  });
});

test("a topology gives devices; -1 takes what is left in a slice and across slices", () => {
  const { load } = fixture();
  const { values } = load([
    ...tiny,
    "compile_topology=v5p-64",
    "compile_topology_num_slices=2",
    "ici_tensor_parallelism=4",
    "per_device_batch_size=0.5",
    "gradient_accumulation_steps=3",
  ]);
  const sizes = Object.fromEntries(values.mesh_axes.map((axis, i) => [axis, values.mesh_shape[i]]));
  expect(sizes).toMatchObject({ data: 2, fsdp: 8, tensor: 4, expert: 1 });
  expect(values).toMatchObject({
    num_target_devices: 64,
    devices_per_slice: 32,
    num_slices: 2,
    micro_batch_size_to_train_on: 32,
    global_batch_size_to_train_on: 96,
    global_batch_size_to_load: 192,
  });
  const devices = (topology: string) =>
    load([...tiny, `compile_topology=${topology}`]).values.num_target_devices;
  expect(["v4-8", "v5e-16", "v6e-256", "tpu7x-16"].map(devices)).toEqual([4, 16, 256, 16]);
});

test("the rest of the computed values", () => {
  const { load, cwd, modelsDir } = fixture();
  const { values } = load([
    ...tiny,
    "query_proj=device",
    "mlpwo=offload",
    "steps=-1",
    "learning_rate_schedule_steps=9",
  ]);
  expect(values).toMatchObject({
    run_name: "qwen3-next-tiny_2026-03-05-07-09",
    base_output_directory: join(cwd, "maxtext_output"),
    tensors_on_device: ["decoder_layer_input", "query_proj"],
    tensors_to_offload: ["mlpwo"],
    steps: 9,
    layer_types: ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    eval_per_device_batch_size: 12,
    hf_checkpoint: null,
    weights_path: null,
    arch_file: join(modelsDir, "qwen3-next.arch"),
  });
  expect(load(tiny, { JOBSET_NAME: "job-3", HF_TOKEN: "hf_x" }).values).toMatchObject({
    run_name: "job-3",
    hf_access_token: "hf_x",
  });
  expect(new Set(load(["base", "model_name=qwen3-0.6b"]).values.layer_types)).toEqual(
    new Set(["full_attention"]),
  );
});

test("logical axis rules are merged by name at the end of the list, or replace it", () => {
  const { load } = fixture();
  const rules = "logical_axis_rules=[[embed, [tensor]], [mlp, data]]";
  const merged = load([...tiny, rules]).values.logical_axis_rules;
  expect(merged.filter(([name]) => name === "embed")).toEqual([["embed", ["tensor"]]]);
  expect(merged.slice(-2)).toEqual([
    ["embed", ["tensor"]],
    ["mlp", ["data"]],
  ]);
  expect(merged.length).toBe(75);
  const replaced = load([...tiny, rules, "override_logical_axis_rules=true"]).values.logical_axis_rules;
  expect(replaced.length).toBe(2);
});

test("custom_mesh_and_rule replaces mesh and rules, after everything else", () => {
  const { load } = fixture({
    "custom_mesh_and_rule/two.yml": "mesh_axes: [data, fsdp]\nlogical_axis_rules: [[embed, fsdp]]\n",
    "train.yml": "base_config: base.yml\nmodel_name: qwen3-next-tiny\n",
  });
  const { values } = load(["train.yml", "custom_mesh_and_rule=two", "logical_axis_rules=[[mlp, data]]"]);
  expect(values).toMatchObject({
    mesh_axes: ["data", "fsdp"],
    mesh_shape: [1, 1],
    logical_axis_rules: [["embed", ["fsdp"]]],
  });
});

test("decoder_block may be an .arch beside the YAML that names it, and models beside a configuration are found", () => {
  const { load, cwd } = fixture({
    "sub/own.yml": "base_config: base.yml\ndecoder_block: own.arch\n",
    "sub/own.arch": "",
    "sub/models/small.yml": "decoder_block: ../own.arch\nbase_emb_dim: 8\n",
  });
  expect(load(["sub/own.yml"]).values.arch_file).toBe(join(cwd, "sub/own.arch"));
  expect(load(["sub/own.yml", "model_name=small-Instruct"]).values.emb_dim).toBe(8);
});
