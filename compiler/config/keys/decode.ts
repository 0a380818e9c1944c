// Keys of decoding: the prompt, sampling, and the servers and caches q3c does not have.

import {
  bool,
  float,
  inert,
  ints,
  key,
  limited,
  mapping,
  natural,
  nonNegative,
  oneOf,
  positive,
  text,
} from "../key.ts";

const layout = inert("it only arranges the cache in memory");
const server = inert("it belongs to MaxText's servers");
const benchmark = inert("it belongs to MaxText's microbenchmark");

export const decoding = {
  prompt: key(text, "I love to", "The text to continue."),
  max_prefill_predict_length: key(
    positive,
    64,
    "Longest prompt of `q3c decode`, in tokens; max_target_length counts from there.",
  ),
  decode_sampling_strategy: key(
    oneOf("greedy", "weighted", "nucleus", "topk", "composite"),
    "greedy",
    "How a token is chosen: the best, by weight, or by weight among the best.",
  ),
  decode_sampling_nucleus_p: key(float, -1, "Probability that nucleus and composite keep."),
  decode_sampling_top_k: key(natural, 0, "Tokens that topk and composite keep."),
  decode_sampling_temperature: key(nonNegative, 1.0, "Divides the logits; 0 is greedy."),
  autoregressive_decode_assert: key(text, "", "Fails unless the answer begins with this."),
  return_log_prob: key(bool, false, "Gives the log probability of every token, with --json."),
  multi_sampling: limited("q3c samples each prompt once")(bool, false, "Samples several answers per prompt."),
  use_chunked_prefill: key(
    bool,
    false,
    "Reads long prompts in chunks of prefill_chunk_size; else q3c chooses the size.",
  ),
  prefill_chunk_size: key(positive, 256, "Tokens per chunk with use_chunked_prefill."),
  system_prompt: key(text, "", "What a chat begins with."),
  sample_prompt: key(text, "", "A text to continue greedily when `q3c run` is done. (q3c only)"),
  sample_tokens: key(natural, 64, "How many tokens continue sample_prompt. (q3c only)"),
  num_speculative_tokens: key(
    natural,
    0,
    "Tokens that a multi-token prediction head drafts at a time when decoding greedily, vLLM's name. (q3c only)",
  ),
} as const;

export const serving = {
  load_from_prefill_dir: limited("q3c always reads the prompt itself")(
    bool,
    false,
    "Starts from a cache saved in prefill_cache_dir.",
  ),
  prefill_cache_dir: inert("no cache is loaded")(text, "", "Where caches of prompts are saved."),
  prefill_cache_axis_order: layout(text, "1,2,0,3", "Order of axes in the prompt's cache."),
  ar_cache_axis_order: layout(text, "1,2,0,3", "Order of axes in the answer's cache."),
  compute_axis_order: layout(text, "0,1,2,3", "Order of axes when attention is computed."),
  reshape_q: layout(bool, false, "Reshapes queries for attention."),
  stack_prefill_result_cache: layout(bool, false, "Stacks the layers' caches of a prompt."),
  enable_prefix_caching: layout(bool, false, "Keeps the caches of common beginnings of prompts."),
  prefix_caching_hbm_byte: layout(
    natural,
    10_000_000_000,
    "Bytes on the device for the caches of common beginnings.",
  ),
  prefix_caching_dram_byte: layout(
    natural,
    100_000_000_000,
    "Bytes on the host for the caches of common beginnings.",
  ),
  inference_server: server(text, "MaxtextInterleavedServer", "Which of MaxText's servers to start."),
  prefill_slice: server(text, "v5e-16", "The slice where a server reads prompts."),
  generate_slice: server(text, "v5e-16", "The slice where a server writes answers."),
  enable_model_warmup: server(bool, false, "Compiles before serving."),
  enable_llm_inference_pool: server(bool, false, "Serves behind an inference gateway."),
  prometheus_port: server(natural, 0, "Port of a server's metrics; 0 is none."),
  inference_metadata_file: server(text, "", "A JSON file with facts about a server."),
  inference_benchmark_test: server(bool, false, "Marks a server's run as a benchmark."),
  vllm_hf_config_path: server(text, "", "A Hugging Face config for vLLM."),
  vllm_hf_overrides: server(mapping, {}, "What overrides that config in vLLM."),
  vllm_additional_config: server(mapping, {}, "Further options of vLLM."),
  inference_microbenchmark_prefill_lengths: benchmark(
    text,
    "64,128,256,512,1024",
    "Prompt lengths that the microbenchmark measures.",
  ),
  inference_microbenchmark_stages: benchmark(
    text,
    "prefill,generate",
    "Stages that the microbenchmark measures.",
  ),
  inference_microbenchmark_loop_iters: benchmark(positive, 10, "How often the microbenchmark measures each."),
  inference_microbenchmark_log_file_path: benchmark(text, "", "Where the microbenchmark's results go."),
  inference_microbenchmark_num_samples: benchmark(
    ints,
    [1, 2, 3, 4, 5],
    "Numbers of answers that the microbenchmark measures.",
  ),
} as const;

export const ahead = {
  compiled_trainstep_file: limited("q3c compiles for each run")(
    text,
    "",
    "A compiled training step to load.",
  ),
  compile_xla_flags: inert("it only tunes XLA")(text, "", "Options of XLA when compiling ahead."),
  write_estimator_result: inert("it belongs to MaxText's estimator")(
    bool,
    false,
    "Writes the result of MaxText's batch-size estimator.",
  ),
} as const;
