// Keys of data: the tokenizer and where sequences come from.

import {
  bool,
  float,
  inert,
  int,
  key,
  limited,
  natural,
  nonNegative,
  oneOf,
  orNull,
  positive,
  text,
  texts,
} from "../key.ts";

const loader = inert("it only tunes how fast data is read");
const olmo = inert("q3c does not read OLMo's index");
const padding = inert("q3c ends when the data ends");

export const tokenizer = {
  tokenizer_path: key(
    orNull(text),
    "",
    "A tokenizer's folder or file; empty takes the one beside the weights.",
  ),
  tokenizer_type: key(
    oneOf("sentencepiece", "tiktoken", "huggingface", "byte"),
    "sentencepiece",
    "The kind of tokenizer; byte has the 256 bytes as its vocabulary (q3c only).",
  ),
  use_chat_template: key(bool, false, "Renders prompts with the tokenizer's chat template."),
  chat_template_path: key(text, "", "A file with another chat template."),
  chat_template: key(text, "", "Another chat template."),
  tokenize_train_data: key(bool, true, "False when the training data is already token ids."),
  tokenize_eval_data: key(bool, true, "False when the evaluation data is already token ids."),
  add_bos: key(bool, true, "Puts the beginning-of-text token first, if there is one."),
  add_eos: key(bool, true, "Puts the end-of-text token last, if there is one."),
  use_truncation: key(bool, true, "Cuts long documents; false splits them into several sequences."),
  max_corpus_chars: inert("q3c trains no tokenizers")(
    positive,
    10_000_000,
    "Characters a tokenizer is trained on.",
  ),
} as const;

export const batches = {
  per_device_batch_size: key(nonNegative, 12.0, "Sequences per device and step; may be a fraction."),
  eval_per_device_batch_size: key(
    nonNegative,
    0.0,
    "The same when evaluating; 0 means per_device_batch_size.",
  ),
  expansion_factor_real_data: key(float, -1.0, "Above 1, fewer hosts load more data each."),
  max_target_length: key(
    positive,
    2048,
    "Tokens per sequence; when decoding, of prompt and answer together.",
  ),
  packing: key(bool, true, "Puts several documents into one sequence."),
  num_epoch: key(positive, 1, "How often the data is read through."),
  enable_rampup_batch_size: limited("the batch is of one size")(bool, false, "Starts with smaller batches."),
  per_device_batch_size_start: inert("the batch is of one size")(nonNegative, 4.0, "The first batch."),
  per_device_batch_size_increment: inert("the batch is of one size")(nonNegative, 2.0, "How it grows."),
  global_rampup_samples: inert("the batch is of one size")(natural, 500, "Sequences until it is whole."),
} as const;

export const dataset = {
  dataset_type: key(
    oneOf("synthetic", "hf", "grain", "tfds", "c4_mlperf", "olmo_grain", "text"),
    "tfds",
    "Where data comes from: synthetic is random, text is plain files at dataset_path (q3c only).",
  ),
  dataset_path: key(text, "", "A folder, file or pattern with the data."),
  dataset_name: key(text, "c4/en:3.1.0", "The dataset there."),
  eval_dataset_name: key(text, "c4/en:3.1.0", "The dataset for evaluation."),
  train_split: key(text, "train", "The split for training."),
  eval_split: key(text, "validation", "The split for evaluation."),
  train_data_columns: key(texts, ["text"], "Columns of training records."),
  eval_data_columns: key(texts, ["text"], "Columns of evaluation records."),
  enable_data_shuffling: key(bool, true, "Shuffles the training data."),
  data_shuffle_seed: key(int, 0, "Seed of that."),
  hf_path: key(text, "", "A dataset of Hugging Face, or a format such as json or parquet."),
  hf_name: key(orNull(text), "", "A subset of it."),
  hf_data_dir: key(orNull(text), "", "A folder in it."),
  hf_train_files: key(orNull(text), "", "Files for training."),
  hf_eval_split: key(orNull(text), "", "The split for evaluation."),
  hf_eval_files: key(orNull(text), "", "Files for evaluation."),
  grain_train_files: key(
    text,
    "",
    "Patterns of training files, with weights: pattern,weight;pattern,weight.",
  ),
  grain_eval_files: key(text, "", "Patterns of evaluation files."),
  grain_train_mixture_config_path: key(text, "", "A JSON file with a mixture."),
  grain_file_type: key(
    oneOf("arrayrecord", "tfrecord", "parquet"),
    "arrayrecord",
    "The format of those files.",
  ),
  grain_packing_type: key(
    oneOf("first_fit", "best_fit", "concat_then_split"),
    "first_fit",
    "How documents are put into sequences.",
  ),
  grain_shuffle_buffer_size: key(positive, 100, "Records shuffled at a time in files without an index."),
  grain_worker_count: loader(int, 1, "Processes that read."),
  grain_worker_count_eval: loader(int, 1, "Processes that read for evaluation."),
  grain_per_worker_buffer_size: loader(positive, 1, "Batches each has ready."),
  grain_per_worker_buffer_size_eval: loader(positive, 1, "Batches each has ready for evaluation."),
  grain_num_threads: loader(natural, 16, "Threads that read."),
  grain_num_threads_eval: loader(natural, 16, "Threads that read for evaluation."),
  grain_prefetch_buffer_size: loader(natural, 500, "Records read ahead."),
  grain_prefetch_buffer_size_eval: loader(natural, 500, "Records read ahead for evaluation."),
  grain_ram_budget_mb: loader(positive, 1024, "Memory for workers."),
  grain_data_source_max_workers: loader(positive, 16, "Threads over several sources."),
  grain_index_storage_option: loader(
    orNull(oneOf("in_memory", "offloaded")),
    null,
    "Where an index is kept.",
  ),
  grain_use_elastic_iterator: loader(bool, false, "An iterator that survives a change of hosts."),
  colocated_python_data_input: loader(bool, false, "Reads on the accelerator's hosts."),
  generate_padding_batch_train: padding(bool, false, "Pads when training data runs out."),
  generate_padding_batch_eval: padding(bool, false, "Pads when evaluation data runs out."),
  olmo_index_path: olmo(text, "", "The index of OLMo's arrays."),
  olmo_path_remap_from: olmo(text, "", "A prefix of its paths."),
  olmo_path_remap_to: olmo(text, "", "What replaces it."),
  olmo_apply_ngram_filter: olmo(bool, true, "Masks repetitions."),
} as const;
