// Keys of rematerialisation: what the forward pass keeps for the backward pass.

import { policyNames } from "../../remat-policies.ts";
import { inert, key, oneOf } from "../key.ts";

const place = oneOf("remat", "device", "offload");
const latent = inert("no shipped architecture computes this");

export const remat = {
  remat_policy: key(
    oneOf(...policyNames),
    "full",
    "What is kept: full recomputes everything, custom follows the keys below.",
  ),
  decoder_layer_input: key(place, "device", "A layer's input."),
  context: key(place, "remat", "Attention's output before its projection."),
  mlpwi: key(place, "remat", "The MLP's first product."),
  mlpwi_0: key(place, "remat", "The MLP's gate."),
  mlpwi_1: key(place, "remat", "The MLP's value."),
  mlpwo: key(place, "remat", "The MLP's output."),
  moe_mlpwi_0: key(place, "remat", "The experts' gate."),
  moe_mlpwi_1: key(place, "remat", "The experts' value."),
  moe_mlpwo: key(place, "remat", "The experts' output."),
  query_proj: key(place, "remat", "Queries."),
  key_proj: key(place, "remat", "Keys."),
  value_proj: key(place, "remat", "Values."),
  kv_proj: key(place, "remat", "Keys and values in one."),
  qkv_proj: key(place, "remat", "Queries, keys and values in one."),
  out_proj: key(place, "remat", "Attention's output projection."),
  attention_out: key(place, "remat", "Attention's output before its gate."),
  gdn_qkvz_proj: key(place, "remat", "Gated DeltaNet's queries, keys, values and gates in one; q3c's own."),
  gdn_ba_proj: key(place, "remat", "Gated DeltaNet's write strengths and decays in one; q3c's own."),
  gdn_conv: key(place, "remat", "Gated DeltaNet's convolved queries, keys and values; q3c's own."),
  gdn_out: key(place, "remat", "The gated delta rule's output; q3c's own."),
  gdn_out_proj: key(place, "remat", "Gated DeltaNet's output projection; q3c's own."),
  query_wa_proj: latent(place, "remat", "The first factor of latent queries."),
  kv_wa_proj: latent(place, "remat", "The first factor of latent keys and values."),
  mla_q: latent(place, "remat", "Latent queries."),
  mla_kv: latent(place, "remat", "Latent keys and values."),
  indexer_cutoff_threshold: latent(place, "remat", "The indexer's cutoff."),
  engram: latent(place, "remat", "The n-gram memory's output."),
} as const;

/** The tensors that remat_policy=custom places. */
export const tensorNames: readonly string[] = Object.entries(remat)
  .filter(([name, { effect }]) => name !== "remat_policy" && effect.kind === "acted-on")
  .map(([name]) => name);
