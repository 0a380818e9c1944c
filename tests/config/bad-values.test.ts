// biome-ignore-all lint/suspicious/noTemplateCurlyInString: expressions are part of the subject.
// What is said about configurations that can be read but not be meant, whole.

import { tellsErrors, tiny } from "./fixture.ts";

tellsErrors([
  {
    claim: "a conflict with the model",
    args: [...tiny, "base_emb_dim=128"],
    says: [
      "command line:1:14: model-conflict: `base_emb_dim` is 128 on the command line, 64 in the model",
      "  base_emb_dim=128",
      "               ^^^",
      "models/qwen3-next-tiny.yml:3:15: note: the model says",
      "  base_emb_dim: 64",
      "                ^^",
      "help: set override_model_config=true to override the model",
    ],
  },
  {
    claim: "part of a head rotated where transformers rotates all of it",
    args: ["base", "model_name=qwen3-0.6b", "partial_rotary_factor=0.5"],
    says: [
      "command line:1:23: bad-value: a qwen3 model rotates whole heads, `partial_rotary_factor` is 0.5",
      "  partial_rotary_factor=0.5",
      "                        ^^^",
      "help: leave partial_rotary_factor out, or set decoder_block to an architecture file of your own",
    ],
  },
  ...["../esc", "a/b", "a\\b", ".."].map((name) => ({
    claim: `a run's folder elsewhere, ${name}`,
    args: [...tiny, `run_name=${name}`],
    says: [
      `command line:1:10: bad-value: \`run_name\` is the name of a folder, without / and \\ and other than . and ..; found \`${name}\``,
      `  run_name=${name}`,
      `           ${"^".repeat(name.length)}`,
      "help: say in base_output_directory where the run's folder lies",
    ],
  })),
  {
    claim: "a capacity where nothing is dropped",
    args: [...tiny, "capacity_factor=1.25"],
    says: [
      "command line:1:17: bad-value: `capacity_factor=1.25` drops tokens, `sparse_matmul=true` drops none: set sparse_matmul=false, or capacity_factor=-1",
      "  capacity_factor=1.25",
      "                  ^^^^",
    ],
  },
  {
    claim: "a capacity without room for one token",
    args: [...tiny, "sparse_matmul=false", "capacity_factor=0.1", "max_target_length=6"],
    says: [
      "command line:1:17: bad-value: `capacity_factor=0.1` leaves every expert room for 0 of 6 tokens",
      "  capacity_factor=0.1",
      "                  ^^^",
    ],
  },
  {
    claim: "MaxText's other weights of dropping inference",
    args: [...tiny, "sparse_matmul=false", "capacity_factor=1", "model_call_mode=inference"],
    says: [
      "command line:1:17: bad-value: with `model_call_mode=inference` MaxText weighs experts otherwise when it drops tokens; q3c weighs them as in training: leave model_call_mode out",
      "  model_call_mode=inference",
      "                  ^^^^^^^^^",
    ],
  },
  {
    claim: "drafts for another way of choosing than the likeliest",
    args: [...tiny, "num_speculative_tokens=2", "decode_sampling_strategy=weighted"],
    says: [
      "command line:1:24: bad-value: `num_speculative_tokens` is for greedy decoding, and `decode_sampling_strategy=weighted`",
      "  num_speculative_tokens=2",
      "                         ^",
    ],
  },
  {
    claim: "drafts where experts drop tokens",
    args: [...tiny, "num_speculative_tokens=2", "sparse_matmul=false", "capacity_factor=2"],
    says: [
      "command line:1:24: bad-value: drafts are read together, and experts that drop tokens would give them other logits than one by one: set capacity_factor=-1",
      "  num_speculative_tokens=2",
      "                         ^",
    ],
  },
  {
    claim: "a kernel's second version without its first",
    args: [...tiny, "use_gmm_v2=true"],
    says: [
      "command line:1:12: bad-value: `use_gmm_v2` needs `use_tokamax_gmm=true`",
      "  use_gmm_v2=true",
      "             ^^^^",
    ],
  },
  {
    claim: "a kernel of grouped products without them",
    args: [...tiny, "sparse_matmul=false", "use_tokamax_gmm=true"],
    says: [
      "command line:1:17: bad-value: `use_tokamax_gmm` is a kernel of `sparse_matmul=true`, which is false",
      "  use_tokamax_gmm=true",
      "                  ^^^^",
    ],
  },
  {
    claim: "chunks of a ring that is none",
    args: [...tiny, "num_moe_token_chunks=2"],
    says: [
      "command line:1:22: bad-value: `num_moe_token_chunks` above 1 needs `use_ring_of_experts=true`",
      "  num_moe_token_chunks=2",
      "                       ^",
    ],
  },
  {
    claim: "a ring of experts on one device",
    args: [...tiny, "use_ring_of_experts=true"],
    says: [
      "command line:1:21: bad-value: `use_ring_of_experts=true` needs experts split over devices, and ici_expert_parallelism splits them over 1",
      "  use_ring_of_experts=true",
      "                      ^^^^",
    ],
  },
  {
    claim: "a conflict of the environment with the model",
    args: tiny,
    env: { M_HEAD_DIM: "64" },
    says: [
      "environment:1:12: model-conflict: `head_dim` is 64 in the environment, 32 in the model",
      "  M_HEAD_DIM=64",
      "             ^^",
      "models/qwen3-next-tiny.yml:10:11: note: the model says",
      "  head_dim: 32",
      "            ^^",
      "help: set override_model_config=true to override the model",
    ],
  },
  {
    claim: "the environment and the command line",
    args: [...tiny, "steps=5"],
    env: { M_STEPS: "5" },
    says: [
      "environment:1:1: environment-conflict: `steps` is set by the environment and on the command line",
      "  M_STEPS=5",
      "  ^^^^^^^",
      "command line:1:1: note: here too",
      "  steps=5",
      "  ^^^^^",
    ],
  },
  {
    claim: "a list in the environment",
    args: tiny,
    env: { M_ADAMW_MASK: "[a]" },
    says: [
      "environment:1:1: environment-type: `adamw_mask` takes a list of texts, which the environment cannot set",
      "  M_ADAMW_MASK=[a]",
      "  ^^^^^^^^^^^^",
      "help: set adamw_mask on the command line",
    ],
  },
  {
    claim: "a wrong type in the environment",
    args: tiny,
    env: { M_STEPS: "five" },
    says: [
      'environment:1:9: wrong-type: `steps` takes an integer, found the text "five"',
      "  M_STEPS=five",
      "          ^^^^",
    ],
  },
  {
    claim: "a model that does not exist",
    args: ["base", "model_name=qwen3-next-tony"],
    says: [
      "command line:1:12: unknown-model: there is no model `qwen3-next-tony`: neither models/qwen3-next-tony.yml nor a folder with a config.json; the packaged ones are qwen3-0.6b, qwen3-next-80b-a3b, qwen3-next-tiny",
      "  model_name=qwen3-next-tony",
      "             ^^^^^^^^^^^^^^^",
      "help: did you mean `qwen3-next-tiny`?",
    ],
  },
  {
    claim: "a folder that does not exist",
    args: ["base", "model_name=./weights"],
    says: [
      "command line:1:12: unknown-model: there is no folder `./weights`",
      "  model_name=./weights",
      "             ^^^^^^^^^",
    ],
  },
  {
    claim: "no model",
    args: ["base"],
    says: [
      "bad-value: no model is chosen",
      "help: set model_name to one of qwen3-0.6b, qwen3-next-80b-a3b, qwen3-next-tiny, or to a folder with a config.json",
    ],
  },
  {
    claim: "an architecture that does not exist",
    args: ["base", "decoder_block=llama2"],
    says: [
      "command line:1:15: bad-value: the architecture `models/llama2.arch` does not exist; the packaged ones are qwen3, qwen3-next",
      "  decoder_block=llama2",
      "                ^^^^^^",
    ],
  },
  {
    claim: "an own architecture that does not exist",
    files: { "a.yml": "base_config: base.yml\ndecoder_block: mine.arch\n" },
    args: ["a.yml"],
    says: [
      "a.yml:2:16: bad-value: the architecture `mine.arch` does not exist; the packaged ones are qwen3, qwen3-next",
      "  decoder_block: mine.arch",
      "                 ^^^^^^^^^",
    ],
  },
  {
    claim: "a configuration that does not exist",
    args: ["bse.yml"],
    says: [
      "missing-file: there is no `bse.yml`; the packaged ones are base, qwen3-0.6b, qwen3-next-80b-a3b, qwen3-next-tiny",
      "help: did you mean `base`?",
    ],
  },
  {
    claim: "a folder for a configuration",
    files: { "tiny/config.json": "{}" },
    args: ["tiny"],
    says: [
      "not-a-file: `tiny` is a folder, expected a YAML file",
      "help: to use the model in it, say `base model_name=tiny`",
    ],
  },
  {
    claim: "a base_config that does not exist",
    files: { "a.yml": "base_config: bas.yml\n" },
    args: ["a.yml"],
    says: [
      "a.yml:1:14: missing-file: there is no `bas.yml`; the packaged ones are base, qwen3-0.6b, qwen3-next-80b-a3b, qwen3-next-tiny",
      "  base_config: bas.yml",
      "               ^^^^^^^",
      "help: did you mean `base`?",
    ],
  },
  {
    claim: "base_config in a circle",
    files: { "a.yml": "base_config: b.yml\n", "b.yml": "base_config: a.yml\n" },
    args: ["a.yml"],
    says: [
      "b.yml:1:14: base-config-cycle: base_config goes in a circle: `a.yml` → `b.yml` → `a.yml`",
      "  base_config: a.yml",
      "               ^^^^^",
    ],
  },
  {
    claim: "a key set twice",
    files: { "a.yml": "base_config: base.yml\nsteps: 1\nlog_period: 1\nsteps: 2\n" },
    args: ["a.yml"],
    says: [
      "a.yml:4:1: duplicate-key: `steps` is set twice",
      "  steps: 2",
      "  ^^^^^",
      "a.yml:2:1: note: it was set here already",
      "  steps: 1",
      "  ^^^^^",
    ],
  },
  {
    claim: "malformed YAML",
    files: { "a.yml": "base_config: base.yml\nadamw_mask: [a, b\nsteps: 1\n" },
    args: ["a.yml"],
    says: [
      "a.yml:3:1: yaml-syntax: flow sequence in block collection must be sufficiently indented and end with a ]",
      "  steps: 1",
      "  ^",
    ],
  },
  {
    claim: "YAML that is a list",
    files: { "a.yml": "- steps: 1\n" },
    args: ["a.yml"],
    says: ["a.yml:1:1: not-a-mapping: expected `key: value` lines, found a list", "  - steps: 1", "  ^"],
  },
  {
    claim: "a value q3c does not support",
    args: [...tiny, "opt_type=muon", "quantization=int8", "attention_type=local_sliding"],
    says: [
      'command line:1:14: unsupported-value: q3c does not support quantization="int8": q3c computes in floating point only',
      "  quantization=int8",
      "               ^^^^",
      'help: supported: "", null',
      'command line:1:16: unsupported-value: q3c does not support attention_type="local_sliding": the architectures attend to all earlier tokens',
      "  attention_type=local_sliding",
      "                 ^^^^^^^^^^^^^",
      'help: supported: "global", "full"',
      'command line:1:10: unsupported-value: q3c does not support opt_type="muon": q3c has AdamW only',
      "  opt_type=muon",
      "           ^^^^",
      'help: supported: "adamw"',
    ],
  },
  {
    claim: "output that q3c does not produce",
    args: [...tiny, "eval_interval=10", "grad_dtype=bfloat16"],
    says: [
      'command line:1:12: unsupported-value: q3c does not support grad_dtype="bfloat16": gradients keep the element type of their weights',
      "  grad_dtype=bfloat16",
      "             ^^^^^^^^",
      'help: supported: "float32"',
      "command line:1:15: unsupported-value: q3c does not support eval_interval=10: q3c does not evaluate while training",
      "  eval_interval=10",
      "                ^^",
      "help: supported: -1",
    ],
  },
  {
    claim: "keys that do not fit together",
    args: [
      ...tiny,
      "override_model_config=true",
      "gdn_num_value_heads=3",
      "base_num_kv_heads=3",
      "num_experts_per_tok=9",
      "partial_rotary_factor=0.1",
    ],
    says: [
      "command line:1:21: bad-value: each token goes to 9 experts, there are 8",
      "  num_experts_per_tok=9",
      "                      ^",
      "command line:1:19: bad-value: 4 query heads do not share 3 key-value heads evenly",
      "  base_num_kv_heads=3",
      "                    ^",
      "command line:1:21: bad-value: 3 value heads do not share 2 key heads evenly",
      "  gdn_num_value_heads=3",
      "                      ^",
      "command line:1:23: bad-value: head_dim * partial_rotary_factor rotates 3 dimensions of 32, expected an even number from 2 to 32",
      "  partial_rotary_factor=0.1",
      "                        ^^^",
    ],
  },
  {
    claim: "a rotary embedding that rotates nothing",
    args: [...tiny, "override_model_config=true", "partial_rotary_factor=0"],
    says: [
      "command line:1:23: bad-value: head_dim * partial_rotary_factor rotates 0 dimensions of 32, expected an even number from 2 to 32",
      "  partial_rotary_factor=0",
      "                        ^",
    ],
  },
  {
    claim: "patterns that are none",
    args: [...tiny, "adamw_mask=['norm', '(']", 'trainable_parameters_mask=["*a"]'],
    says: [
      'command line:1:28: bad-value: `trainable_parameters_mask` takes regular expressions, "*a" is none: nothing to repeat',
      '  trainable_parameters_mask=["*a"]',
      "                             ^^^^",
      'command line:1:21: bad-value: `adamw_mask` takes regular expressions, "(" is none: unterminated group',
      "  adamw_mask=['norm', '(']",
      "                      ^^^",
    ],
  },
  {
    claim: "steps below zero",
    args: [...tiny, "steps=-5"],
    says: [
      "command line:1:7: bad-value: `steps` is an integer of at least 0, or -1 for `learning_rate_schedule_steps`",
      "  steps=-5",
      "        ^^",
    ],
  },
  {
    claim: "steps that follow a schedule that follows steps",
    args: [...tiny, "steps=-1"],
    says: [
      "command line:1:7: bad-value: `steps` and `learning_rate_schedule_steps` are both -1",
      "  steps=-1",
      "        ^^",
    ],
  },
  {
    claim: "a schedule below zero that steps follow",
    args: [...tiny, "steps=-1", "learning_rate_schedule_steps=-2"],
    says: [
      "command line:1:30: bad-value: `learning_rate_schedule_steps` is an integer of at least 0, or -1 for `steps`",
      "  learning_rate_schedule_steps=-2",
      "                               ^^",
    ],
  },
  {
    claim: "a wrong value in a YAML where the model's value wins",
    files: {
      "a.yml":
        "base_config: base.yml\nmodel_name: qwen3-next-tiny\nbase_mlp_dim: banana\nhead_dim: ${4 * base_embdim}\n",
    },
    args: ["a.yml"],
    says: [
      "a.yml:4:17: unknown-key: there is no key `base_embdim`",
      "  head_dim: ${4 * base_embdim}",
      "                  ^^^^^^^^^^^",
      "help: did you mean `base_emb_dim`?",
      'a.yml:3:15: wrong-type: `base_mlp_dim` takes an integer of at least 1, found the text "banana"',
      "  base_mlp_dim: banana",
      "                ^^^^^^",
    ],
  },
  {
    claim: "a wrong value in a model where the command line's value would win",
    files: {
      "models/own.yml": "decoder_block: qwen3_next\nbase_mlp_dim: banana\n",
      "a.yml": "base_config: base.yml\n",
    },
    args: ["a.yml", "model_name=own", "base_mlp_dim=64"],
    says: [
      'models/own.yml:2:15: wrong-type: `base_mlp_dim` takes an integer of at least 1, found the text "banana"',
      "  base_mlp_dim: banana",
      "                ^^^^^^",
    ],
  },
  {
    claim: "a list that contains itself",
    files: { "a.yml": "base_config: base.yml\nadamw_mask: &a [*a]\n" },
    args: ["a.yml"],
    says: [
      "a.yml:2:17: yaml-syntax: what this repeats contains it",
      "  adamw_mask: &a [*a]",
      "                  ^^",
    ],
  },
  {
    claim: "a list that grows beyond measure",
    files: {
      "a.yml": [
        "base_config: base.yml",
        "adamw_mask: &a0 [x, x, x, x, x, x, x, x, x, x]",
        ...[1, 2, 3, 4, 5, 6, 7].map(
          (i) =>
            `k${i}: &a${i} [${Array(10)
              .fill(`*a${i - 1}`)
              .join(", ")}]`,
        ),
      ].join("\n"),
    },
    args: ["a.yml"],
    says: [
      "a.yml:3:15: yaml-syntax: what is repeated here makes more than 100000 values",
      "  k1: &a1 [*a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0, *a0]",
      "                ^^^",
    ],
  },
  {
    claim: "more parallelism than devices",
    args: [...tiny, "ici_fsdp_parallelism=8"],
    says: [
      "command line:1:22: bad-value: ici_*_parallelism over the devices of a slice: the sizes multiply to 8, expected exactly 1",
      "  ici_fsdp_parallelism=8",
      "                       ^",
      "help: to plan for a machine that is not here, set compile_topology (v5p-64) or internal_compile and internal_compile_num_devices",
    ],
  },
  {
    claim: "a size that does not divide the devices",
    args: [...tiny, "compile_topology=v5p-64", "ici_tensor_parallelism=3"],
    says: [
      "command line:1:24: bad-value: ici_*_parallelism over the devices of a slice: the sizes multiply to 3, expected a divisor of 32",
      "  ici_tensor_parallelism=3",
      "                         ^",
    ],
  },
  {
    claim: "two sizes to fill",
    args: [...tiny, "compile_topology=v5p-64", "ici_tensor_parallelism=-1"],
    says: [
      "command line:1:24: bad-value: ici_*_parallelism over the devices of a slice: 2 sizes are -1, at most one can be",
      "  ici_tensor_parallelism=-1",
      "                         ^^",
    ],
  },
  {
    claim: "a topology that does not exist",
    args: [...tiny, "compile_topology=v5q-64"],
    says: [
      "command line:1:18: bad-value: there is no topology `v5q-64`; the topologies are v4-N, v5p-N, v5e-N, v6e-N, tpu7x-N",
      "  compile_topology=v5q-64",
      "                   ^^^^^^",
      "help: did you mean `v5p-64`?",
    ],
  },
  {
    claim: "a slice that does not exist",
    args: [...tiny, "compile_topology=v5e-12"],
    says: [
      "command line:1:18: bad-value: there is no slice `v5e-12`: no such v5e has 12 chips",
      "  compile_topology=v5e-12",
      "                   ^^^^^^",
    ],
  },
  {
    claim: "a scale that is no power of two",
    args: [...tiny, "global_parameter_scale=3"],
    says: [
      "command line:1:24: bad-value: `global_parameter_scale` is a power of two",
      "  global_parameter_scale=3",
      "                         ^",
    ],
  },
  {
    claim: "layers without end",
    args: ["base", "decoder_block=qwen3_next", "base_num_decoder_layers=2000000000"],
    says: [
      "command line:1:25: bad-value: 2000000000 layers are more than the 100000 q3c plans for",
      "  base_num_decoder_layers=2000000000",
      "                          ^^^^^^^^^^",
    ],
  },
  {
    claim: "layer_types of another length",
    args: [...tiny, "layer_types=[full_attention]"],
    says: [
      "command line:1:13: bad-value: `layer_types` names 1 layers, the model has 4",
      "  layer_types=[full_attention]",
      "              ^^^^^^^^^^^^^^^^",
    ],
  },
  {
    claim: "layer_types of another kind",
    args: [...tiny, "layer_types=[sliding_attention]"],
    says: [
      'command line:1:13: wrong-type: `layer_types` takes a list of linear_attention or full_attention, found the list ["sliding_attention"]',
      "  layer_types=[sliding_attention]",
      "              ^^^^^^^^^^^^^^^^^^^",
    ],
  },
  {
    claim: "a batch of nothing",
    args: [...tiny, "per_device_batch_size=0.5"],
    says: [
      "command line:1:23: bad-value: `per_device_batch_size` is less than one sequence on 1 device(s)",
      "  per_device_batch_size=0.5",
      "                        ^^^",
    ],
  },
  {
    claim: "data without a path",
    args: [...tiny, "dataset_type=text"],
    says: [
      "command line:1:14: bad-value: `dataset_type=text` needs `dataset_path`",
      "  dataset_type=text",
      "               ^^^^",
    ],
  },
  {
    claim: "sampling without its number",
    args: [...tiny, "decode_sampling_strategy=nucleus"],
    says: [
      "command line:1:26: bad-value: `decode_sampling_strategy=nucleus` needs `decode_sampling_nucleus_p` above 0, at most 1",
      "  decode_sampling_strategy=nucleus",
      "                           ^^^^^^^",
    ],
  },
  {
    claim: "a mesh that does not exist",
    args: [...tiny, "custom_mesh_and_rule=pure-fsdp"],
    says: [
      "command line:1:22: missing-file: there is no custom_mesh_and_rule/pure-fsdp.yml; the packaged ones are none",
      "  custom_mesh_and_rule=pure-fsdp",
      "                       ^^^^^^^^^",
    ],
  },
]);
