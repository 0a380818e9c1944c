// The shipped architecture: its parameters are MaxText's, it elaborates at any sizes, and runs to its declared shapes.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { expand } from "../../compiler/ir/expand.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { elements, formatType, shapeOf } from "../../compiler/ir/shape.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { shapeOfOrigin } from "../../runtime/checkpoint/layout.ts";
import { difference } from "../support/equal.ts";
import { archText, elaborated, programs, published, tiny, type Values } from "./fixture.ts";
import { maxTextLayer, maxTextTop } from "./maxtext-shapes.ts";

const wanted: Readonly<Record<string, readonly number[]>> = {
  ...maxTextTop,
  ...Object.fromEntries(
    Array.from({ length: 48 }, (_, i) =>
      Object.entries(maxTextLayer(i)).map(([path, shape]) => [`decoder.layers_${i}.${path}`, shape]),
    ).flat(),
  ),
};

test("at the published sizes the parameters are MaxText's unscanned ones", () => {
  const { params, module } = elaborated(archText, published);
  const found = Object.fromEntries(params.map(({ path, value }) => [path, shapeOf(value.type)]));
  expect(found).toEqual(wanted);
  expect(params).toHaveLength(Object.keys(wanted).length);
  expect(params.reduce((n, { value }) => n + elements(value.type), 0)).toBe(79_674_391_296);
  expect(module.body.params.slice(2)).toEqual(params.map(({ value }) => value));
  expect(module.roles.slice(0, 3)).toEqual(["input", "input", "param"]);
});

/** Multi-token prediction: names and layouts of the published checkpoint, 1.65 billion parameters. */
const mtp: Readonly<Record<string, readonly (readonly [name: string, shape: readonly number[]])[]>> = {
  "mtp_1_embedding_norm.scale": [["mtp.pre_fc_norm_embedding.weight", [2048]]],
  "mtp_1_hidden_state_norm.scale": [["mtp.pre_fc_norm_hidden.weight", [2048]]],
  "mtp_1_projection.kernel": [["mtp.fc.weight", [2048, 4096]]],
  "mtp_1_final_norm.scale": [["mtp.norm.weight", [2048]]],
  "mtp_1_transformer_layer.input_layernorm.scale": [["mtp.layers.0.input_layernorm.weight", [2048]]],
  "mtp_1_transformer_layer.post_attention_layernorm.scale": [
    ["mtp.layers.0.post_attention_layernorm.weight", [2048]],
  ],
  "mtp_1_transformer_layer.attention.attention.query.kernel": [
    ["mtp.layers.0.self_attn.q_proj.weight", [8192, 2048]],
  ],
  "mtp_1_transformer_layer.attention.attention.key.kernel": [
    ["mtp.layers.0.self_attn.k_proj.weight", [512, 2048]],
  ],
  "mtp_1_transformer_layer.attention.attention.value.kernel": [
    ["mtp.layers.0.self_attn.v_proj.weight", [512, 2048]],
  ],
  "mtp_1_transformer_layer.attention.attention.out.kernel": [
    ["mtp.layers.0.self_attn.o_proj.weight", [2048, 4096]],
  ],
  "mtp_1_transformer_layer.attention.attention.query_norm.scale": [
    ["mtp.layers.0.self_attn.q_norm.weight", [256]],
  ],
  "mtp_1_transformer_layer.attention.attention.key_norm.scale": [
    ["mtp.layers.0.self_attn.k_norm.weight", [256]],
  ],
  "mtp_1_transformer_layer.mlp.routed_experts.gate.kernel": [["mtp.layers.0.mlp.gate.weight", [512, 2048]]],
  "mtp_1_transformer_layer.mlp.routed_experts.wi_0": [
    ["mtp.layers.0.mlp.experts.{exp}.gate_proj.weight", [512, 2048]],
    ["mtp.layers.0.mlp.experts.gate_up_proj", [512, 1024, 2048]],
  ],
  "mtp_1_transformer_layer.mlp.routed_experts.wi_1": [
    ["mtp.layers.0.mlp.experts.{exp}.up_proj.weight", [512, 2048]],
    ["mtp.layers.0.mlp.experts.gate_up_proj", [512, 1024, 2048]],
  ],
  "mtp_1_transformer_layer.mlp.routed_experts.wo": [
    ["mtp.layers.0.mlp.experts.{exp}.down_proj.weight", [2048, 512]],
    ["mtp.layers.0.mlp.experts.down_proj", [512, 2048, 512]],
  ],
  "mtp_1_transformer_layer.mlp.shared_expert_gate.kernel": [
    ["mtp.layers.0.mlp.shared_expert_gate.weight", [1, 2048]],
  ],
  "mtp_1_transformer_layer.mlp.shared_expert.wi_0.kernel": [
    ["mtp.layers.0.mlp.shared_expert.gate_proj.weight", [512, 2048]],
  ],
  "mtp_1_transformer_layer.mlp.shared_expert.wi_1.kernel": [
    ["mtp.layers.0.mlp.shared_expert.up_proj.weight", [512, 2048]],
  ],
  "mtp_1_transformer_layer.mlp.shared_expert.wo.kernel": [
    ["mtp.layers.0.mlp.shared_expert.down_proj.weight", [2048, 512]],
  ],
};

test("the draft has the published head's parameters, and shares the model's embedding and head", () => {
  const [model, draft] = programs(archText, published);
  const models = new Set(model!.params.map(({ path }) => path));
  const shared = draft!.params.filter(({ path }) => models.has(path));
  expect(shared.map(({ path }) => path)).toEqual(["token_embedder.embedding", "decoder.logits_dense.kernel"]);
  const own = draft!.params.filter(({ path }) => !models.has(path));
  expect(
    Object.fromEntries(
      own.map(({ path, origins }) => [
        path,
        origins.map((origin) => [origin.name, shapeOfOrigin(origin)] as const),
      ]),
    ),
  ).toEqual(
    Object.fromEntries(Object.entries(mtp).map(([path, homes]) => [`mtp_block.mtp_layer_1.${path}`, homes])),
  );
  expect(own.reduce((n, { value }) => n + elements(value.type), 0)).toBe(1_650_471_424);
});

test("with tied embeddings there is no head, with dense layers no experts", () => {
  const paths = (values: Values) =>
    elaborated(archText, { ...tiny, ...values }).params.map(({ path }) => path);
  expect(paths({ logits_via_embedding: true })).not.toContain("decoder.logits_dense.kernel");
  const dense = paths({ mlp_layer_types: ["sparse", "dense", "sparse", "sparse"] });
  expect(dense).toContain("decoder.layers_1.mlp.wi_0.kernel");
  expect(dense.filter((path) => path.startsWith("decoder.layers_1.mlp"))).toHaveLength(3);
});

test("taps follow the logits, one result for each time they are sown", () => {
  const { module, taps } = elaborated(archText, tiny, "test.arch", ["hidden", "load_balance_loss"]);
  expect([...taps]).toEqual([
    ["hidden", 5],
    ["load_balance_loss", 4],
  ]);
  expect(module.body.results.map((x) => formatType(x.type)).slice(0, 2)).toEqual([
    "f32[batch=1, seq=5, vocab=11]",
    "bf16[batch=1, seq=5, embed=6]",
  ]);
  expect(module.body.results.slice(6).map((x) => formatType(x.type))).toEqual([
    "f32[]",
    "f32[]",
    "f32[]",
    "f32[]",
  ]);
});

test("elaborates, verifies and prints at any sizes, ones among them, composites taken apart too", () => {
  const size = (max: number) => fc.integer({ min: 1, max });
  const sizes = fc.record({
    micro_batch_size_to_train_on: size(2),
    max_target_length: size(9),
    vocab_size: size(5),
    emb_dim: size(4),
    head_dim: size(4).map((n) => 2 * n),
    num_kv_heads: size(2),
    ratio: size(3),
    gdn_num_key_heads: size(2),
    gdn_key_head_dim: size(3),
    gdn_value_head_dim: size(3),
    gdn_conv_kernel_dim: size(4),
    gdn_chunk_size: size(4),
    gated_delta_rule: fc.constantFrom("chunked", "recurrent"),
    mlp_dim: size(3),
    num_experts: size(3),
    moe_mlp_dim: size(3),
    shared_expert_mlp_dim: size(3),
    sparse_matmul: fc.boolean(),
    norm_topk_prob: fc.boolean(),
    float32_gate_logits: fc.boolean(),
    logits_via_embedding: fc.boolean(),
    partial_rotary_factor: fc.constant(1),
    mlp_layer_types: fc.array(fc.constantFrom("sparse", "dense"), { minLength: 4, maxLength: 4 }),
  });
  fc.assert(
    fc.property(sizes, ({ ratio, ...chosen }) => {
      const { num_kv_heads, gdn_num_key_heads, num_experts } = chosen;
      const heads = {
        num_query_heads: num_kv_heads * ratio,
        gdn_num_value_heads: gdn_num_key_heads * ratio,
        num_experts_per_tok: Math.min(2, num_experts),
      };
      const { module } = elaborated(archText, { ...tiny, ...chosen, ...heads }, "test.arch", [
        "load_balance_loss",
      ]);
      verifyModule(module);
      verifyModule({ ...module, body: expand(module.body, ({ op }) => op.decompose !== undefined) });
      const text = printModule(module);
      expect(difference(parseModule(text), module)).toBeUndefined();
    }),
    { numRuns: 60 },
  );
});
