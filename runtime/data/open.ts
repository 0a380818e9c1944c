// The dataset and tokenizer that a configuration names.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import { openTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Dataset } from "./dataset.ts";
import { syntheticDataset } from "./synthetic.ts";
import { textDataset } from "./text.ts";

/** Opens the configuration's tokenizer: the one that it names, or the one beside the weights. */
export function tokenizerOf(config: Config, cwd: string): Tokenizer {
  const { tokenizer_type: type, tokenizer_path: path, weights_path: weights } = config.values;
  const isAssumed = type === "huggingface" || config.origin("tokenizer_type").from === "default";
  if (path === null && weights !== null && isAssumed) {
    fail(
      {
        code: "tokenizer-missing",
        message: `${weights} has no tokenizer.json, and no tokenizer is named`,
        at: config.spanOf("load_parameters_path", "model_name"),
        help: "save the model's tokenizer there, or set tokenizer_type=huggingface and tokenizer_path to its folder",
      },
      2,
    );
  }
  return openTokenizer({ type, path: path ?? "", cwd });
}

/** Micro batches for training: rows of one step are `gradient_accumulation_steps` batches. */
export function openDataset(config: Config, tokenizer: () => Tokenizer, cwd: string): Dataset {
  const { values } = config;
  const shape = { length: values.max_target_length, rows: values.micro_batch_size_to_train_on };
  switch (values.dataset_type) {
    case "synthetic":
      return syntheticDataset({ ...shape, vocabSize: values.vocab_size, seed: values.data_shuffle_seed });
    case "text": {
      // A path may hold commas; only what is no path of its own is a list.
      const isPath = values.dataset_path !== "" && existsSync(resolve(cwd, values.dataset_path));
      const files = isPath
        ? [values.dataset_path]
        : values.dataset_path.split(",").filter((path) => path !== "");
      if (files.length === 0)
        fail(
          {
            code: "data-file-missing",
            message: "dataset_type=text needs dataset_path: files, folders or patterns, separated by commas",
            at: config.spanOf("dataset_type"),
          },
          2,
        );
      const options = {
        ...shape,
        files,
        cwd,
        shuffle: values.enable_data_shuffling,
        seed: values.data_shuffle_seed,
        vocabSize: values.vocab_size,
        addBos: values.add_bos,
        addEos: values.add_eos,
      };
      return textDataset(options, tokenizer());
    }
    default:
      return fail(
        {
          code: "dataset-unsupported",
          message: `dataset_type=${values.dataset_type} is not supported by q3c`,
          at: config.spanOf("dataset_type"),
          help: "use dataset_type=text with dataset_path, or dataset_type=synthetic",
        },
        2,
      );
  }
}
