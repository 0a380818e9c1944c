// Keys of data: the tokenizer and where sequences come from.

import {
  bool,
  float,
  inert,
  int,
  key,
  later,
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
const padding = inert("text repeats until the steps are done");
const evaluation = later("it is for evaluating while training");
const other = later("it is for kinds of dataset_type that q3c does not read");

export const tokenizer = {
  tokenizer_path: key(
    orNull(text),
    "",
    "A tokenizer's folder or file; empty takes tokenizer.json of the weights' folder, or of hugging_face in their MaxText step.",
  ),
  tokenizer_type: key(
    oneOf("sentencepiece", "tiktoken", "huggingface", "byte"),
    "sentencepiece",
    "The kind of tokenizer; byte has the 256 bytes as its vocabulary (q3c only).",
  ),
  use_chat_template: key(bool, false, "Renders prompts with the tokenizer's chat template."),
  chat_template_path: key(text, "", "A file with another chat template, as it is or in JSON."),
  chat_template: key(text, "", "Another chat template."),
  tokenize_train_data: limited("dataset_type=text is tokenized, synthetic is token ids")(
    bool,
    true,
    "False when the training data is already token ids.",
  ),
  tokenize_eval_data: evaluation(bool, true, "False when the evaluation data is already token ids."),
  add_bos: key(bool, true, "Puts the beginning-of-text token first, if there is one."),
  add_eos: key(bool, true, "Puts the end-of-text token last, if there is one."),
  use_truncation: later("q3c always splits long documents, as use_truncation=false does")(
    bool,
    true,
    "Cuts long documents; false splits them into several sequences.",
  ),
  max_corpus_chars: inert("q3c trains no tokenizers")(
    positive,
    10_000_000,
    "Characters a tokenizer is trained on.",
  ),
} as const;

export const batches = {
  per_device_batch_size: key(nonNegative, 12.0, "Sequences per device and step; may be a fraction."),
  eval_per_device_batch_size: evaluation(
    nonNegative,
    0.0,
    "Sequences per device when evaluating; 0 means per_device_batch_size.",
  ),
  expansion_factor_real_data: inert("one process loads all data")(
    float,
    -1.0,
    "Above 1, fewer hosts load more data each.",
  ),
  max_target_length: key(
    positive,
    2048,
    "Tokens per sequence; when decoding, of prompt and answer together.",
  ),
  packing: later("q3c gives each document sequences of its own, as packing=false does")(
    bool,
    true,
    "Puts several documents into one sequence.",
  ),
  num_epoch: limited("text repeats until the steps are done")(
    positive,
    1,
    "How often the data is read through.",
  ),
  enable_rampup_batch_size: limited("the batch is of one size")(bool, false, "Starts with smaller batches."),
  per_device_batch_size_start: inert("the batch is of one size")(
    nonNegative,
    4.0,
    "The first batch when batches grow.",
  ),
  per_device_batch_size_increment: inert("the batch is of one size")(
    nonNegative,
    2.0,
    "How much a growing batch grows at a time.",
  ),
  global_rampup_samples: inert("the batch is of one size")(
    natural,
    500,
    "Sequences until a growing batch is whole.",
  ),
} as const;

export const dataset = {
  dataset_type: key(
    oneOf("synthetic", "hf", "grain", "tfds", "c4_mlperf", "olmo_grain", "text"),
    "tfds",
    "Where data comes from. q3c trains on synthetic, which is random, and text: plain files at dataset_path (q3c only).",
  ),
  dataset_path: key(text, "", "A folder, file or pattern with the data."),
  dataset_name: other(text, "c4/en:3.1.0", "The dataset at dataset_path."),
  eval_dataset_name: evaluation(text, "c4/en:3.1.0", "The dataset for evaluation."),
  train_split: other(text, "train", "The split for training."),
  eval_split: evaluation(text, "validation", "The split for evaluation."),
  train_data_columns: other(texts, ["text"], "Columns of training records."),
  eval_data_columns: evaluation(texts, ["text"], "Columns of evaluation records."),
  enable_data_shuffling: key(bool, true, "Shuffles the training data."),
  data_shuffle_seed: key(int, 0, "Seed of shuffling the training data."),
  hf_path: other(text, "", "A dataset of Hugging Face, or a format such as json or parquet."),
  hf_name: other(orNull(text), "", "A subset of the Hugging Face dataset."),
  hf_data_dir: other(orNull(text), "", "A folder in the Hugging Face dataset."),
  hf_train_files: other(orNull(text), "", "Files of the Hugging Face dataset for training."),
  hf_eval_split: evaluation(orNull(text), "", "The Hugging Face split for evaluation."),
  hf_eval_files: evaluation(orNull(text), "", "Files of the Hugging Face dataset for evaluation."),
  grain_train_files: other(
    text,
    "",
    "Patterns of training files, with weights: pattern,weight;pattern,weight.",
  ),
  grain_eval_files: evaluation(text, "", "Patterns of evaluation files."),
  grain_train_mixture_config_path: other(
    text,
    "",
    "A JSON file with a weighted mixture of grain_train_files.",
  ),
  grain_file_type: other(
    oneOf("arrayrecord", "tfrecord", "parquet"),
    "arrayrecord",
    "The format of the grain_* files.",
  ),
  grain_packing_type: other(
    oneOf("first_fit", "best_fit", "concat_then_split"),
    "first_fit",
    "How documents are put into sequences.",
  ),
  grain_shuffle_buffer_size: other(positive, 100, "Records shuffled at a time in files without an index."),
  grain_worker_count: loader(int, 1, "Processes that read training data."),
  grain_worker_count_eval: loader(int, 1, "Processes that read evaluation data."),
  grain_per_worker_buffer_size: loader(positive, 1, "Batches that each training reader has ready."),
  grain_per_worker_buffer_size_eval: loader(positive, 1, "Batches that each evaluation reader has ready."),
  grain_num_threads: loader(natural, 16, "Threads that read training data."),
  grain_num_threads_eval: loader(natural, 16, "Threads that read evaluation data."),
  grain_prefetch_buffer_size: loader(natural, 500, "Training records read ahead."),
  grain_prefetch_buffer_size_eval: loader(natural, 500, "Evaluation records read ahead."),
  grain_ram_budget_mb: loader(positive, 1024, "Memory for reading processes, in MB."),
  grain_data_source_max_workers: loader(positive, 16, "Threads that mix several sources of data."),
  grain_index_storage_option: loader(
    orNull(oneOf("in_memory", "offloaded")),
    null,
    "Where the index of an ArrayRecord file is kept.",
  ),
  grain_use_elastic_iterator: loader(bool, false, "Reads data so that a change of hosts is survived."),
  colocated_python_data_input: loader(bool, false, "Reads data on the accelerator's hosts."),
  generate_padding_batch_train: padding(bool, false, "Pads when training data runs out."),
  generate_padding_batch_eval: padding(bool, false, "Pads when evaluation data runs out."),
  olmo_index_path: olmo(text, "", "The index of OLMo's token arrays."),
  olmo_path_remap_from: olmo(text, "", "A prefix of the paths in OLMo's index that is replaced."),
  olmo_path_remap_to: olmo(text, "", "What replaces that prefix of the paths in OLMo's index."),
  olmo_apply_ngram_filter: olmo(bool, true, "Masks repeated passages of OLMo's data."),
} as const;
