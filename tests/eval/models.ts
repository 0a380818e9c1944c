// Models that are quick to ask: one made up, and the arguments of a real one.
import type { Reading } from "../../runtime/eval/reading.ts";

export const VOCAB = 5;

/** Logits [tokens, vocab] that follow from all tokens up to each, as a causal model's do. */
export function fakeLogits(tokens: readonly number[]): Float32Array {
  let state = 7;
  return Float32Array.from(
    tokens.flatMap((token) => {
      state = (state * 31 + token) % 1009;
      return Array.from({ length: VOCAB }, (_, id) => ((state * (id + 3)) % 97) / 10);
    }),
  );
}

/** A model of these, and how many tokens it has read so far. `rounding` tells apart how texts were cut for reading. */
export function fakeModel(vocab = VOCAB, logitsOf = fakeLogits, rounding = 0) {
  const seen = { tokens: 0, peeks: [] as (readonly number[])[] };
  const begin = (): Reading => {
    let here: readonly number[] = [];
    let cuts = 0;
    const peek = (tokens: readonly number[], wanted = 1): Float32Array => {
      seen.tokens += tokens.length;
      seen.peeks.push([...here, ...tokens]);
      const all = logitsOf([...here, ...tokens]).map((x, i) => x + (i % 3) * rounding * (cuts + here.length));
      return all.slice(-wanted * vocab);
    };
    const read = (tokens: readonly number[], wanted = 1): Float32Array => {
      const logits = peek(tokens, wanted);
      here = [...here, ...tokens];
      cuts++;
      return logits;
    };
    return { read, peek, close() {} };
  };
  return { vocab, canCut: true, begin, seen };
}

/** The arguments of a model that is small. */
export const small = [
  "examples/train.yml",
  ..."base_emb_dim=16 head_dim=8 gdn_key_head_dim=8 gdn_value_head_dim=8 base_moe_mlp_dim=8 base_mlp_dim=8 base_num_decoder_layers=2 inhomogeneous_layer_cycle_interval=2".split(
    " ",
  ),
  "max_target_length=96",
];
