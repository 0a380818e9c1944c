// The routed experts of the shipped architecture alone: embeddings in, the experts' weighted sum out.
import type { Elaborated } from "../../compiler/arch/context.ts";
import { elaborate } from "../../compiler/arch/elaborate.ts";
import { parseArchitecture } from "../../compiler/arch/syntax.ts";
import type { DType } from "../../compiler/dtype.ts";
import { archText, tiny, type Values } from "../arch/fixture.ts";

const text = `${archText.slice(0, archText.indexOf("model Qwen3Next("))}
model Experts(tokens[batch, seq], positions[batch, seq]) {
  stored param embedding[vocab, embed] at "embedding" from "embedding" init normal(1)
  return f32(RoutedExperts(act(take(embedding, tokens)), at="experts", from=""))
}
`;

export type Sizes = {
  readonly batch: number;
  readonly seq: number;
  readonly vocab: number;
  readonly embed: number;
  readonly experts: number;
  readonly top: number;
  readonly inner: number;
};

/** Tokens and positions, then embedding, gate, wi_0, wi_1, wo → the experts' sum, then tokens_per_expert. */
export function routedExperts(sizes: Sizes, values: Values, activationDType: DType = "f32"): Elaborated {
  const all: Values = {
    ...tiny,
    micro_batch_size_to_train_on: sizes.batch,
    max_target_length: sizes.seq,
    vocab_size: sizes.vocab,
    emb_dim: sizes.embed,
    num_experts: sizes.experts,
    num_experts_per_tok: sizes.top,
    moe_mlp_dim: sizes.inner,
    ...values,
  };
  return elaborate(parseArchitecture({ file: "experts.arch", text }), {
    find: (name) => (Object.hasOwn(all, name) ? all[name] : undefined),
    keys: Object.keys(all),
    activationDType,
    weightDType: "f32",
    taps: ["tokens_per_expert"],
  });
}
