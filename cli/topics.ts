// What several keys are about together, or a word that is no key, as `q3c explain` tells it.
import type { ValueName } from "../compiler/config/derived.ts";
import type { Config } from "../compiler/config/load.ts";
import { explainExperts } from "../compiler/config/moe.ts";
import { readArchitecture } from "../compiler/model.ts";

export type Topic = {
  /** The words that ask for it, its own first. */
  readonly names: readonly [string, ...string[]];
  readonly title: string;
  /** The keys that it is told with. */
  readonly keys: readonly ValueName[];
  /** What there is to know, and what of it holds in a configuration. */
  explain(config: Config | undefined): readonly string[];
};

function explainDraft(config: Config | undefined): readonly string[] {
  const lines = [
    "From the model's last hidden state of a token and the token after it, the head predicts the token after next, through the model's own embedding and output head. An .arch file declares it as `draft` after the `model`, as qwen3-next.arch does; Hugging Face calls its tensors mtp.*, MaxText's tree mtp_block.",
    "A checkpoint holds it whole or not at all, and no key is needed where it does: `q3c check-logits` compares it with a record's mtp_logits, `q3c convert` and `q3c run` carry it along untrained, and with num_speculative_tokens `q3c decode` drafts with it.",
  ];
  if (!config) return lines;
  const { draft } = readArchitecture(config);
  return [
    ...lines,
    draft ? `Now the architecture has one, \`${draft.name.text}\`.` : "Now the architecture has none.",
  ];
}

function explainSpeculation(config: Config | undefined): readonly string[] {
  const lines = [
    "With num_speculative_tokens=k the checkpoint's head (`q3c explain draft`) drafts up to k tokens, which the model reads in one run. It keeps those that it would have chosen itself, up to its first other choice, which takes the wrong one's place. So the answer is greedy decoding's, token for token, and comes sooner where drafts are right; `q3c decode` says at the end how many were.",
    "It takes decode_sampling_strategy=greedy, experts that drop no tokens, and a checkpoint with the head. `q3c serve` and `q3c mmlu` draft nothing.",
  ];
  if (!config) return lines;
  const { num_speculative_tokens: drafts } = config.values;
  const now = drafts === 0 ? "is off" : `drafts up to ${drafts} at a time`;
  return [...lines, `Now it ${now} (num_speculative_tokens=${drafts}).`];
}

/** The topics there are, in the order of the list. */
export const topics: readonly Topic[] = [
  {
    names: ["moe", "dropless", "dropping", "dense"],
    title: "how experts are computed, in training and inference",
    keys: ["moe_strategy", "sparse_matmul", "capacity_factor", "megablox", "use_tokamax_gmm", "use_gmm_v2"],
    explain: (config) => explainExperts(config?.values),
  },
  {
    names: ["draft", "mtp"],
    title: "a head for multi-token prediction",
    keys: ["mtp_num_layers", "mtp_loss_scaling_factor", "mtp_eval_target_module"],
    explain: explainDraft,
  },
  {
    names: ["speculative-decoding", "speculative"],
    title: "greedy decoding with drafted tokens",
    keys: ["num_speculative_tokens"],
    explain: explainSpeculation,
  },
];
