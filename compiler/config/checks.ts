// What must hold between keys: MaxText's cross checks that matter here, and q3c's own.

import type { Diagnostic, Note } from "../diag.ts";
import type { Values } from "./derived.ts";
import type { KeyName } from "./keys.ts";
import { capacityOf } from "./moe.ts";
import { placeOf, type Setting, type Settings } from "./settings.ts";
import { showValue } from "./value.ts";

type Check = {
  /** The keys it is about; the error underlines the nearest that was set by hand. */
  readonly about: readonly KeyName[];
  /** What is wrong, if anything. */
  readonly wrong: (v: Values) => string | false;
};

const linear = (v: Values): boolean => v.layer_types.includes("linear_attention");
const sparse = (v: Values): boolean => v.mlp_layer_types.includes("sparse");
const dropping = (v: Values): boolean => sparse(v) && v.moe_strategy === "dropping";
/** Devices that experts are split over. */
const expertDevices = (v: Values): number => v.mesh_shape[v.mesh_axes.indexOf("expert")] ?? 1;
const rotated = (v: Values): number => Math.trunc(v.head_dim * v.partial_rotary_factor);

const checks: readonly Check[] = [
  {
    about: ["base_moe_mlp_dim", "num_experts"],
    wrong: (v) => sparse(v) && v.moe_mlp_dim < 1 && "a model with experts needs `base_moe_mlp_dim`",
  },
  {
    about: ["num_experts_per_tok", "num_experts"],
    wrong: (v) =>
      sparse(v) &&
      v.num_experts_per_tok > v.num_experts &&
      `each token goes to ${v.num_experts_per_tok} experts, there are ${v.num_experts}`,
  },
  {
    about: ["capacity_factor", "sparse_matmul"],
    wrong: (v) =>
      sparse(v) &&
      v.sparse_matmul &&
      v.capacity_factor > 0 &&
      `\`capacity_factor=${v.capacity_factor}\` drops tokens, \`sparse_matmul=true\` drops none: set sparse_matmul=false, or capacity_factor=-1`,
  },
  {
    about: ["capacity_factor", "max_target_length"],
    wrong: (v) =>
      dropping(v) &&
      capacityOf(v, v.max_target_length) < 1 &&
      `\`capacity_factor=${v.capacity_factor}\` leaves every expert room for 0 of ${v.max_target_length} tokens`,
  },
  {
    about: ["model_call_mode", "capacity_factor"],
    wrong: (v) =>
      dropping(v) &&
      v.model_call_mode === "inference" &&
      "with `model_call_mode=inference` MaxText weighs experts otherwise when it drops tokens; q3c weighs them as in training: leave model_call_mode out",
  },
  {
    about: ["num_speculative_tokens", "decode_sampling_strategy"],
    wrong: (v) =>
      v.num_speculative_tokens > 0 &&
      v.decode_sampling_strategy !== "greedy" &&
      `\`num_speculative_tokens\` is for greedy decoding, and \`decode_sampling_strategy=${v.decode_sampling_strategy}\``,
  },
  {
    about: ["num_speculative_tokens", "capacity_factor"],
    wrong: (v) =>
      v.num_speculative_tokens > 0 &&
      dropping(v) &&
      "drafts are read together, and experts that drop tokens would give them other logits than one by one: set capacity_factor=-1",
  },
  {
    about: ["use_gmm_v2", "use_tokamax_gmm"],
    wrong: (v) => v.use_gmm_v2 && !v.use_tokamax_gmm && "`use_gmm_v2` needs `use_tokamax_gmm=true`",
  },
  {
    about: ["use_tokamax_gmm", "sparse_matmul"],
    wrong: (v) =>
      sparse(v) &&
      v.use_tokamax_gmm &&
      !v.sparse_matmul &&
      "`use_tokamax_gmm` is a kernel of `sparse_matmul=true`, which is false",
  },
  {
    about: ["num_moe_token_chunks", "use_ring_of_experts"],
    wrong: (v) =>
      v.num_moe_token_chunks > 1 &&
      !v.use_ring_of_experts &&
      "`num_moe_token_chunks` above 1 needs `use_ring_of_experts=true`",
  },
  ...(["use_ring_of_experts", "use_ragged_sort", "num_moe_emb_chunks"] as const).map(
    (name): Check => ({
      about: [name, "ici_expert_parallelism"],
      wrong: (v) =>
        Number(v[name]) > 0 &&
        expertDevices(v) === 1 &&
        !v.override_logical_axis_rules &&
        `\`${name}=${v[name]}\` needs experts split over devices, and ici_expert_parallelism splits them over 1`,
    }),
  ),
  {
    about: ["base_num_query_heads", "base_num_kv_heads"],
    wrong: (v) =>
      v.num_query_heads % v.num_kv_heads !== 0 &&
      `${v.num_query_heads} query heads do not share ${v.num_kv_heads} key-value heads evenly`,
  },
  {
    about: ["gdn_num_value_heads", "gdn_num_key_heads"],
    wrong: (v) =>
      linear(v) &&
      v.gdn_num_value_heads % v.gdn_num_key_heads !== 0 &&
      `${v.gdn_num_value_heads} value heads do not share ${v.gdn_num_key_heads} key heads evenly`,
  },
  {
    about: ["partial_rotary_factor", "head_dim"],
    wrong: (v) =>
      (v.partial_rotary_factor > 1 || rotated(v) % 2 !== 0 || rotated(v) < 2) &&
      `head_dim * partial_rotary_factor rotates ${rotated(v)} dimensions of ${v.head_dim}, expected an even number from 2 to ${v.head_dim}`,
  },
  {
    about: ["mlp_only_layers"],
    wrong: (v) =>
      v.mlp_only_layers.some((layer) => layer >= v.num_decoder_layers) &&
      `\`mlp_only_layers\` counts from 0 to ${v.num_decoder_layers - 1} in this model`,
  },
  {
    about: ["param_scan_axis"],
    wrong: (v) => v.param_scan_axis > 1 && "`param_scan_axis` is 0 or 1",
  },
  {
    about: ["hf_path", "dataset_type"],
    wrong: (v) => v.dataset_type === "hf" && v.hf_path === "" && "`dataset_type=hf` needs `hf_path`",
  },
  {
    about: ["grain_train_files", "dataset_type"],
    wrong: (v) =>
      v.dataset_type === "grain" &&
      [v.grain_train_files, v.grain_train_mixture_config_path, v.hf_path].every((path) => path === "") &&
      "`dataset_type=grain` needs `grain_train_files` or `grain_train_mixture_config_path`",
  },
  {
    about: ["dataset_path", "dataset_type"],
    wrong: (v) =>
      v.dataset_type === "text" && v.dataset_path === "" && "`dataset_type=text` needs `dataset_path`",
  },
  {
    about: ["tokenizer_type", "vocab_size"],
    wrong: (v) =>
      v.tokenizer_type === "byte" &&
      v.vocab_size < 256 &&
      `the byte tokenizer has 256 tokens, \`vocab_size\` is ${v.vocab_size}`,
  },
  {
    about: ["decode_sampling_nucleus_p", "decode_sampling_strategy"],
    wrong: (v) =>
      ["nucleus", "composite"].includes(v.decode_sampling_strategy) &&
      !(v.decode_sampling_nucleus_p > 0 && v.decode_sampling_nucleus_p <= 1) &&
      `\`decode_sampling_strategy=${v.decode_sampling_strategy}\` needs \`decode_sampling_nucleus_p\` above 0, at most 1`,
  },
  {
    about: ["decode_sampling_top_k", "decode_sampling_strategy"],
    wrong: (v) =>
      ["topk", "composite"].includes(v.decode_sampling_strategy) &&
      v.decode_sampling_top_k < 1 &&
      `\`decode_sampling_strategy=${v.decode_sampling_strategy}\` needs \`decode_sampling_top_k\` of at least 1`,
  },
  {
    about: ["warmup_steps_fraction", "wsd_decay_steps_fraction"],
    wrong: (v) =>
      v.warmup_steps_fraction + (v.lr_schedule_type === "wsd" ? v.wsd_decay_steps_fraction : 0) > 1 &&
      "warm-up and decay take more than the whole schedule",
  },
];

/** Keys that hold patterns of parameters' paths. */
const patternKeys = ["trainable_parameters_mask", "adamw_mask"] as const;

function whyNoPattern(pattern: string): string | undefined {
  try {
    new RegExp(pattern);
    return undefined;
  } catch (error) {
    return (error as Error).message.replace(/^.*: /s, "").toLowerCase();
  }
}

function badPatterns(name: (typeof patternKeys)[number], values: Values, settings: Settings): Diagnostic[] {
  const raw = settings.get(name)?.raw;
  return values[name].flatMap((pattern, i) => {
    const why = whyNoPattern(pattern);
    const at = (raw?.kind === "list" ? raw.items[i]?.at : undefined) ?? placeOf([name], settings);
    const message = `\`${name}\` takes regular expressions, ${showValue(pattern)} is none: ${why}`;
    return why === undefined ? [] : [{ code: "bad-value", message, at }];
  });
}

const assumedNote = (setting: Setting | undefined): readonly Note[] =>
  setting?.isAssumed
    ? [{ message: `config.json leaves \`${setting.name}\` out, and this is assumed`, at: setting.raw.at }]
    : [];

/** Everything that does not hold, each at the key that the user set. */
export function checkValues(values: Values, settings: Settings): readonly Diagnostic[] {
  const badValues = checks.flatMap(({ about, wrong }) => {
    const message = wrong(values);
    if (message === false) return [];
    const notes = about.flatMap((name) => assumedNote(settings.get(name)));
    return [{ code: "bad-value", message, at: placeOf(about, settings), notes }];
  });
  return [...badValues, ...patternKeys.flatMap((name) => badPatterns(name, values, settings))];
}
