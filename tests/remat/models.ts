// Programs with layers to keep things of: small Qwen3-Next models, flat and as a loop over blocks of four layers.
import { resolve } from "node:path";
import { type Config, loadConfig } from "../../compiler/config/load.ts";
import { blockBuilder, node, opNamed, value } from "../../compiler/ir/build.ts";
import { dropDead } from "../../compiler/ir/rewrite.ts";
import { dim, tensor } from "../../compiler/ir/shape.ts";
import type { Module, Node, Role, Value } from "../../compiler/ir/types.ts";
import { forwardModel } from "../../compiler/model.ts";

export const configOf = (model: string, ...overrides: string[]): Config =>
  loadConfig(["base", `model_name=${model}`, "base_output_directory=unused", ...overrides], {
    env: {},
    cwd: process.cwd(),
    modelsDir: resolve("models"),
  });

/** qwen3-next-tiny with every size as small as it goes. */
export const smallest = (...overrides: string[]): Config =>
  configOf(
    "qwen3-next-tiny",
    ...["per_device_batch_size=1", "max_target_length=6", "base_emb_dim=8", "vocab_size=16", "dtype=float32"],
    ...["base_num_query_heads=2", "base_num_kv_heads=1", "head_dim=8", "gdn_chunk_size=4", "num_experts=4"],
    ...["gdn_key_head_dim=4", "gdn_value_head_dim=4", "base_mlp_dim=8", "base_moe_mlp_dim=4"],
    "override_model_config=true",
    ...overrides,
  );

const isNamed =
  (name: string) =>
  ({ attrs }: Node): boolean =>
    attrs["name"] === name;

/** The model's layers as the body of a loop that runs `length` times over stacked parameters; the loss is made up. */
export function scannedModel(config: Config, length: number): Module {
  const { body, roles } = forwardModel(config, { taps: ["load_balance_loss"] }).module;
  const from = body.nodes.findIndex(isNamed("decoder_layer_input"));
  const to = body.nodes.findLastIndex(isNamed("decoder_layer_output")) + 1;
  const nodes = body.nodes.slice(from, to);
  const own = new Set(nodes.flatMap((each) => each.outs));
  const reads = [...new Set(nodes.flatMap((each) => each.ins))].filter((x) => !own.has(x));
  const isParam = (x: Value) => roles[body.params.indexOf(x)] === "param";
  const carry = nodes[0]!.ins[0]!;
  const weights = reads.filter(isParam);
  const consts = reads.filter((x) => x !== carry && !isParam(x));
  const stacked = weights.map((x) =>
    value(x.hint, tensor(x.type.dtype, [dim("layers", length), ...x.type.dims])),
  );
  const results = [nodes.at(-1)!.outs[0]!, ...body.results.slice(1)];
  const loop = node(opNamed("scan"), [carry, ...stacked, ...consts], {
    attrs: { length, carries: 1, xs: weights.length, reverse: false, label: "layers" },
    regions: [{ params: [carry, ...weights, ...consts], nodes, results }],
  });
  const { k, nodes: tail } = blockBuilder();
  const sums = loop.outs.map((out) => {
    const x = k.convert(out, "f32");
    return k.sum(
      k.mul(x, x),
      x.type.dims.map((_, axis) => axis),
    );
  });
  const loss = sums.reduce((sum, x) => k.add(sum, x));
  const params = [...body.params.filter((x) => !weights.includes(x)), ...stacked];
  return {
    name: "scanned",
    roles: params.map((x): Role => (isParam(x) || stacked.includes(x) ? "param" : "input")),
    body: dropDead({ params, nodes: [...body.nodes.slice(0, from), loop, ...tail], results: [loss] }),
  };
}
