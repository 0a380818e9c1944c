// The five command lines of MaxText's Qwen3-Next guide, as printed there.

import { expect, test } from "@jest/globals";
import { fixture } from "./fixture.ts";

const commands = {
  "pre-training": String.raw`
python3 -m maxtext.trainers.pre_train.train src/maxtext/configs/base.yml \
    base_output_directory=${"$"}{BASE_OUTPUT_DIRECTORY} \
    run_name=q3_next_pre_training \
    per_device_batch_size=1 \
    enable_checkpointing=false \
    model_name=qwen3-next-80b-a3b \
    ici_fsdp_parallelism=-1 \
    steps=5 \
    max_target_length=1024 \
    async_checkpointing=false \
    tokenizer_type=huggingface \
    tokenizer_path=src/maxtext/assets/tokenizers/qwen3-tokenizer \
    attention=flash \
    dtype=bfloat16 \
    weight_dtype=bfloat16 \
    megablox=False \
    sparse_matmul=False \
    dataset_type=synthetic`,
  conversion: String.raw`
    JAX_PLATFORMS=cpu python3 -m maxtext.checkpoint_conversion.to_maxtext src/maxtext/configs/base.yml \
        model_name=qwen3-next-80b-a3b \
        base_output_directory=gs://your-gcs-bucket/qwen3_next_maxtext_ckpt \
        hf_access_token=${"$"}{HF_TOKEN} \
        scan_layers=true \ # Set to false for unscanned checkpoint
        use_multimodal=false
    `,
  "fine-tuning": String.raw`
python3 -m maxtext.trainers.pre_train.train src/maxtext/configs/base.yml \
    base_output_directory=${"$"}{BASE_OUTPUT_DIRECTORY} \
    dataset_path=${"$"}{DATASET_PATH} \
    load_parameters_path=gs://your-gcs-bucket/qwen3_next_maxtext_ckpt/0/items \
    run_name=qwen3_next_finetuning \
    per_device_batch_size=1 \
    model_name=qwen3-next-80b-a3b \
    steps=30 \
    max_target_length=4096 \
    ici_fsdp_parallelism=-1 \
    tokenizer_type=huggingface \
    tokenizer_path=src/maxtext/assets/tokenizers/qwen3-tokenizer`,
  decoding: String.raw`
python3 -m maxtext.inference.decode src/maxtext/configs/base.yml \
    base_output_directory=${"$"}{BASE_OUTPUT_DIRECTORY} \
    load_parameters_path=${"$"}{CONVERTED_CHECKPOINT} \
    run_name=q3-next-decode \
    per_device_batch_size=1 \
    enable_checkpointing=false \
    model_name=qwen3-next-80b-a3b \
    max_prefill_predict_length=64 \
    max_target_length=1024 \
    tokenizer_type=huggingface \
    tokenizer_path=src/maxtext/assets/tokenizers/qwen3-tokenizer \
    attention=dot_product \
    dtype=bfloat16 \
    weight_dtype=bfloat16 \
    megablox=False \
    sparse_matmul=False \
    ici_tensor_parallelism=1 \
    ici_fsdp_parallelism=1 \
    ici_expert_parallelism=-1 \
    prompt="An attention function can be described as mapping a query and a set of key-value pairs to an output, where the query, keys, values, and outputs are all vectors. The output is " \
    scan_layers=False`,
  "logit check": String.raw`
python3 -m tests.utils.forward_pass_logit_checker \
    src/maxtext/configs/base.yml \
    tokenizer_type=huggingface \
    tokenizer_path=Qwen/Qwen3-Next-80B-A3B-Instruct \
    load_parameters_path=${"$"}{CONVERTED_CHECKPOINT} \
    run_name=forward_pass_test_qwen3_next \
    per_device_batch_size=1 \
    model_name=qwen3-next-80b-a3b \
    max_prefill_predict_length=4 \
    max_target_length=4 \
    scan_layers=false \
    sparse_matmul=False \
    dtype=float32 \
    activations_in_float32=true \
    matmul_precision=high \
    --max_kl_div=2e-4 \
    --golden_logits_path=${"$"}{PWD}/golden_Qwen3_Next.jsonl`,
} as const;

const variables: Record<string, string> = {
  BASE_OUTPUT_DIRECTORY: "/tmp/out",
  DATASET_PATH: "/data",
  CONVERTED_CHECKPOINT: "/ckpt/0/items",
  PWD: "/work",
  HF_TOKEN: "",
};

/** What a shell passes on: no comments, variables and quotes gone, the program and its module dropped. */
function shellWords(command: string): string[] {
  const line = command
    .replace(/\\ #.*$/gm, "\\")
    .replace(/\\\n/g, " ")
    .replace(/\$\{(\w+)\}/g, (_, name: string) => variables[name] ?? "");
  const words: readonly string[] = line.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  return words.map((word) => word.replaceAll('"', "")).slice(words.indexOf("-m") + 2);
}

/** `--flag=value` apart from what the configuration takes. */
function splitFlags(words: readonly string[]) {
  const isFlag = (word: string) => word.startsWith("--");
  const flags = words.filter(isFlag).map((word) => word.slice(2).split("=") as [string, string]);
  return { flags: Object.fromEntries(flags), overrides: words.filter((word) => !isFlag(word)) };
}

function parse(name: keyof typeof commands) {
  const { flags, overrides } = splitFlags(shellWords(commands[name]));
  return { flags, ...fixture().load(overrides) };
}

test("pre-training", () => {
  const { values, flags } = parse("pre-training");
  expect(flags).toEqual({});
  expect(values).toMatchObject({
    base_output_directory: "/tmp/out",
    checkpoint_dir: "/tmp/out/q3_next_pre_training/checkpoints/",
    per_device_batch_size: 1,
    enable_checkpointing: false,
    steps: 5,
    learning_rate_schedule_steps: 5,
    max_target_length: 1024,
    tokenizer_path: "src/maxtext/assets/tokenizers/qwen3-tokenizer",
    attention: "flash",
    dtype: "bfloat16",
    weight_dtype: "bfloat16",
    mu_dtype: "bfloat16",
    megablox: false,
    sparse_matmul: false,
    dataset_type: "synthetic",
    global_batch_size_to_train_on: 1,
    emb_dim: 2048,
    num_decoder_layers: 48,
    num_experts: 512,
  });
  expect(values.ici_parallelism).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
});

test("conversion", () => {
  const { values, warnings, spanOf } = parse("conversion");
  expect(values).toMatchObject({
    checkpoint_dir: expect.stringMatching(
      /^gs:\/\/your-gcs-bucket\/qwen3_next_maxtext_ckpt\/qwen3-next-80b-a3b_2026-03-05-07-09\/checkpoints\/$/,
    ),
    hf_access_token: null,
    scan_layers: true,
    use_multimodal: false,
  });
  expect(warnings).toEqual([
    {
      code: "remote-path",
      message: "`base_output_directory` starts with gs://, and q3c reads and writes local files only",
      at: spanOf("base_output_directory"),
      help: "copy or mount it, and give the local path",
    },
  ]);
});

test("fine-tuning", () => {
  expect(parse("fine-tuning").values).toMatchObject({
    dataset_path: "/data",
    dataset_type: "tfds",
    load_parameters_path: "gs://your-gcs-bucket/qwen3_next_maxtext_ckpt/0/items",
    weights_path: "gs://your-gcs-bucket/qwen3_next_maxtext_ckpt/0/items",
    steps: 30,
    max_target_length: 4096,
    weight_dtype: "float32",
  });
});

test("decoding", () => {
  expect(parse("decoding").values).toMatchObject({
    prompt:
      "An attention function can be described as mapping a query and a set of key-value pairs to an output, where the query, keys, values, and outputs are all vectors. The output is ",
    max_prefill_predict_length: 64,
    scan_layers: false,
    ici_parallelism: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    decode_sampling_strategy: "greedy",
  });
});

test("logit check", () => {
  const { values, flags } = parse("logit check");
  expect(flags).toEqual({ max_kl_div: "2e-4", golden_logits_path: "/work/golden_Qwen3_Next.jsonl" });
  expect(values).toMatchObject({
    tokenizer_path: "Qwen/Qwen3-Next-80B-A3B-Instruct",
    max_prefill_predict_length: 4,
    max_target_length: 4,
    dtype: "float32",
    activations_in_float32: true,
    matmul_precision: "high",
  });
});
