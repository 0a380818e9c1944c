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
  max_prefill_predict_length: key(positive, 64, "Longest prompt, in tokens."),
  decode_sampling_strategy: key(
    oneOf("greedy", "weighted", "nucleus", "topk", "composite"),
    "greedy",
    "How a token is chosen: the best, by weight, or by weight among the best.",
  ),
  decode_sampling_nucleus_p: key(float, -1, "Probability that nucleus keeps."),
  decode_sampling_top_k: key(natural, 0, "Tokens that topk keeps."),
  decode_sampling_temperature: key(nonNegative, 1.0, "Divides the logits."),
  autoregressive_decode_assert: key(text, "", "Fails unless the answer begins with this."),
  return_log_prob: key(bool, false, "Gives the log probability of every token."),
  multi_sampling: limited("q3c samples each prompt once")(bool, false, "Several answers per prompt."),
  use_chunked_prefill: key(bool, false, "Reads long prompts in chunks."),
  prefill_chunk_size: key(positive, 256, "Tokens of such a chunk."),
  system_prompt: key(text, "", "What a chat begins with."),
  sample_prompt: key(text, "", "A text to continue greedily when `q3c run` is done. (q3c only)"),
  sample_tokens: key(natural, 64, "How many tokens that is. (q3c only)"),
} as const;

export const serving = {
  load_from_prefill_dir: limited("q3c always reads the prompt itself")(
    bool,
    false,
    "Starts from a saved cache.",
  ),
  prefill_cache_dir: inert("no cache is loaded")(text, "", "Where caches are saved."),
  prefill_cache_axis_order: layout(text, "1,2,0,3", "Axes of the prompt's cache."),
  ar_cache_axis_order: layout(text, "1,2,0,3", "Axes of the answer's cache."),
  compute_axis_order: layout(text, "0,1,2,3", "Axes when computing."),
  reshape_q: layout(bool, false, "Reshapes queries."),
  stack_prefill_result_cache: layout(bool, false, "Stacks the layers' caches."),
  enable_prefix_caching: layout(bool, false, "Keeps caches of common beginnings."),
  prefix_caching_hbm_byte: layout(natural, 10_000_000_000, "Bytes for them on the device."),
  prefix_caching_dram_byte: layout(natural, 100_000_000_000, "Bytes for them on the host."),
  inference_server: server(text, "MaxtextInterleavedServer", "The server."),
  prefill_slice: server(text, "v5e-16", "Where it reads prompts."),
  generate_slice: server(text, "v5e-16", "Where it answers."),
  enable_model_warmup: server(bool, false, "Compiles before it serves."),
  enable_llm_inference_pool: server(bool, false, "Joins a gateway."),
  prometheus_port: server(natural, 0, "Where it shows metrics."),
  inference_metadata_file: server(text, "", "What it tells about itself."),
  inference_benchmark_test: server(bool, false, "It is measured."),
  vllm_hf_config_path: server(text, "", "A config for vLLM."),
  vllm_hf_overrides: server(mapping, {}, "Overrides of that."),
  vllm_additional_config: server(mapping, {}, "More of that."),
  inference_microbenchmark_prefill_lengths: benchmark(text, "64,128,256,512,1024", "Prompt lengths."),
  inference_microbenchmark_stages: benchmark(text, "prefill,generate", "What is measured."),
  inference_microbenchmark_loop_iters: benchmark(positive, 10, "How often."),
  inference_microbenchmark_log_file_path: benchmark(text, "", "Where results go."),
  inference_microbenchmark_num_samples: benchmark(ints, [1, 2, 3, 4, 5], "Answers at once."),
} as const;

export const ahead = {
  compiled_trainstep_file: limited("q3c has its own compile cache")(text, "", "A compiled step to load."),
  compile_xla_flags: inert("it only tunes XLA")(text, "", "Options of XLA."),
  write_estimator_result: inert("it belongs to MaxText's estimator")(bool, false, "Writes its result."),
} as const;
