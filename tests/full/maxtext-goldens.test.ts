// Checkpoints that MaxText itself wrote, too large to lie here: Q3C_GOLDENS names a folder with `tiny` (a Hugging Face
// model) and `maxtext/orbax`: hf_to_maxtext_scan_{true,false}, its conversions of tiny, and train_scan_true, a run.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { forwardModel } from "../../compiler/model.ts";
import { openTensors } from "../../runtime/checkpoint/open.ts";
import { openOrbax } from "../../runtime/checkpoint/orbax/read.ts";
import type { TensorReader } from "../../runtime/checkpoint/tensors.ts";
import { readResumed } from "../../runtime/train/checkpoints.ts";
import { configOf } from "../remat/models.ts";

const goldens = process.env["Q3C_GOLDENS"] ?? "";
const written = existsSync(join(goldens, "maxtext")) ? describe : describe.skip;

/** MaxText's name of a Hugging Face tensor, within a layer or outside of all, and the order of its axes there. */
const NAMES: readonly [pattern: RegExp, name: string, order: readonly number[]][] = [
  [/^model\.embed_tokens\.weight$/, "token_embedder.embedding", [0, 1]],
  [/^model\.norm\.weight$/, "decoder.decoder_norm.scale", [0]],
  [/^lm_head\.weight$/, "decoder.logits_dense.kernel", [1, 0]],
  [/^(input|post_attention)_layernorm\.weight$/, "$1_layernorm.scale", [0]],
  [/^linear_attn\.(in_proj_qkvz|in_proj_ba|out_proj)\.weight$/, "attention.$1.kernel", [1, 0]],
  [/^linear_attn\.conv1d\.weight$/, "attention.conv1d.kernel", [2, 1, 0]],
  [/^linear_attn\.(A_log|dt_bias)$/, "attention.$1", [0]],
  [/^linear_attn\.norm\.weight$/, "attention.norm.rms_norm.scale", [0]],
  [/^self_attn\.q_proj\.weight$/, "attention.attention.query.kernel", [1, 0]],
  [/^self_attn\.k_proj\.weight$/, "attention.attention.key.kernel", [1, 0]],
  [/^self_attn\.v_proj\.weight$/, "attention.attention.value.kernel", [1, 0]],
  [/^self_attn\.o_proj\.weight$/, "attention.attention.out.kernel", [1, 0]],
  [/^self_attn\.q_norm\.weight$/, "attention.attention.query_norm.scale", [0]],
  [/^self_attn\.k_norm\.weight$/, "attention.attention.key_norm.scale", [0]],
  [/^mlp\.gate\.weight$/, "mlp.routed_experts.gate.kernel", [1, 0]],
  [/^mlp\.shared_expert\.gate_proj\.weight$/, "mlp.shared_expert.wi_0.kernel", [1, 0]],
  [/^mlp\.shared_expert\.up_proj\.weight$/, "mlp.shared_expert.wi_1.kernel", [1, 0]],
  [/^mlp\.shared_expert\.down_proj\.weight$/, "mlp.shared_expert.wo.kernel", [1, 0]],
  [/^mlp\.shared_expert_gate\.weight$/, "mlp.shared_expert_gate.kernel", [1, 0]],
  [/^mlp\.experts\.\d+\.gate_proj\.weight$/, "mlp.routed_experts.wi_0", [1, 0]],
  [/^mlp\.experts\.\d+\.up_proj\.weight$/, "mlp.routed_experts.wi_1", [1, 0]],
  [/^mlp\.experts\.\d+\.down_proj\.weight$/, "mlp.routed_experts.wo", [1, 0]],
];

const f32 = (reader: TensorReader, name: string): Float32Array =>
  new Float32Array(reader.read(name).slice().buffer);

function transposed(data: Float32Array, shape: readonly number[], order: readonly number[]): Float32Array {
  if (order.every((from, axis) => from === axis)) return data;
  const [a = 1, b = 1, c = 1] = shape;
  return Float32Array.from(data, (_, i) =>
    order.length === 2
      ? data[(i % a) * b + Math.floor(i / a)]!
      : data[((i % a) * b + (Math.floor(i / a) % b)) * c + Math.floor(i / (a * b))]!,
  );
}

/** The part of MaxText's tensor that holds one of Hugging Face's. The model has one cycle: stacks have one layer. */
function counterpart(
  orbax: TensorReader,
  source: TensorReader,
  name: string,
  isScanned: boolean,
): [found: Float32Array, wanted: Float32Array] {
  const [, layer, local = name] = /^model\.layers\.(\d+)\.(.*)$/.exec(name) ?? [];
  const row = NAMES.find(([pattern]) => pattern.test(local));
  if (!row) throw new Error(`no counterpart of ${name}`);
  const within = local.replace(row[0], row[1]);
  const path = layer === undefined ? within : `decoder.layers${isScanned ? ".layer" : ""}_${layer}.${within}`;
  const whole = f32(orbax, `params.params.${path}`);
  const wanted = transposed(f32(source, name), source.tensors.get(name)!.shape, row[2]);
  const expert = Number(/experts\.(\d+)\./.exec(local)?.[1] ?? 0);
  return [whole.subarray(expert * wanted.length, (expert + 1) * wanted.length), wanted];
}

written("checkpoints of MaxText", () => {
  test.each([true, false])("its conversion of tiny, scanned %p, holds tiny's values", (isScanned) => {
    const source = openTensors(join(goldens, "tiny", "model.safetensors"));
    const orbax = openOrbax(join(goldens, "maxtext", "orbax", `hf_to_maxtext_scan_${isScanned}`));
    expect(orbax.customMetadata).toEqual({ scan_layers: isScanned });
    const params = [...orbax.tensors.values()].filter(({ name }) => name !== "step");
    const count = (reader: Iterable<{ readonly shape: readonly number[] }>): number =>
      [...reader].reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
    expect(count(params)).toBe(count(source.tensors.values()));
    for (const name of source.tensors.keys()) {
      const [found, wanted] = counterpart(orbax, source, name, isScanned);
      expect(found.every((value, i) => value === wanted[i]) && name).toBe(name);
    }
  });

  test("a whole training state is read: parameters, both moments of each, the step", () => {
    const orbax = openOrbax(join(goldens, "maxtext", "orbax", "train_scan_true", "checkpoints"));
    expect(orbax.step).toBe(1);
    for (const name of orbax.tensors.keys()) expect(orbax.read(name).length).toBeGreaterThan(0);
    const params = [...orbax.tensors.keys()].filter((name) => name.startsWith("params.params."));
    expect(params).toHaveLength(70);
    for (const name of params)
      for (const moment of ["mu", "nu"]) {
        const { shape } = orbax.tensors.get(name)!;
        expect(orbax.tensors.get(`opt_state.0.${moment}.${name.slice("params.".length)}`)?.shape).toEqual(
          shape,
        );
      }
    // MaxText saves a step after counting it.
    expect(new Int32Array(orbax.read("step").slice().buffer)[0]).toBe(2);
  });

  test("its run can be gone on from", () => {
    const config = configOf(join(goldens, "tiny"), "weight_dtype=float32");
    const path = join(goldens, "maxtext", "orbax", "train_scan_true", "checkpoints");
    const { params } = forwardModel(config);
    const { state } = readResumed(path, config, params);
    expect(state.step).toBe(2);
    expect([...state.params.keys()]).toEqual(params.map(({ path }) => path));
    const first = params.find(({ path }) => path.endsWith("layers_1.attention.A_log"))!.path;
    const orbax = openOrbax(path);
    const stacked = "decoder.layers.layer_1.attention.A_log";
    expect(state.params.get(first)).toEqual(f32(orbax, `params.params.${stacked}`));
    expect(state.mu.get(first)).toEqual(f32(orbax, `opt_state.0.mu.params.${stacked}`));
  });
});
