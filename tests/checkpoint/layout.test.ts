// One mapping of parameters gives MaxText's trees, with layers single and stacked, and the Hugging Face names.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { huggingFaceLayout, type Layout, treeLayout } from "../../runtime/checkpoint/layout.ts";
import { planTensors } from "../../runtime/checkpoint/plan.ts";
import { archText, elaborated, published, tiny, type Values } from "../arch/fixture.ts";
import { maxTextLayer, maxTextTop } from "../arch/maxtext-shapes.ts";
import { failure } from "./support.ts";

const paramsOf = (values: Values): readonly ParamDecl[] => elaborated(archText, values).params;

const shapes = (layout: Layout): Record<string, readonly number[]> =>
  Object.fromEntries([...layout].map(([name, { shape }]) => [name, shape]));

/** MaxText's table of a layer's parameters in stacked shapes. */
const stacked: Readonly<Record<string, readonly number[]>> = {
  "input_layernorm.scale": [2048, 12],
  "post_attention_layernorm.scale": [2048, 12],
  "attention.in_proj_qkvz.kernel": [2048, 12, 12288],
  "attention.in_proj_ba.kernel": [2048, 12, 64],
  "attention.conv1d.kernel": [4, 12, 1, 8192],
  "attention.A_log": [32, 12],
  "attention.dt_bias": [32, 12],
  "attention.norm.rms_norm.scale": [128, 12],
  "attention.out_proj.kernel": [4096, 12, 2048],
  "attention.attention.query.kernel": [2048, 12, 16, 512],
  "attention.attention.key.kernel": [2048, 12, 2, 256],
  "attention.attention.value.kernel": [2048, 12, 2, 256],
  "attention.attention.out.kernel": [4096, 12, 2048],
  "attention.attention.query_norm.scale": [256, 12],
  "attention.attention.key_norm.scale": [256, 12],
  "mlp.routed_experts.gate.kernel": [2048, 12, 512],
  "mlp.routed_experts.wi_0": [512, 12, 2048, 512],
  "mlp.routed_experts.wi_1": [512, 12, 2048, 512],
  "mlp.routed_experts.wo": [512, 12, 512, 2048],
  "mlp.shared_expert.wi_0.kernel": [2048, 12, 512],
  "mlp.shared_expert.wi_1.kernel": [2048, 12, 512],
  "mlp.shared_expert.wo.kernel": [512, 12, 2048],
  "mlp.shared_expert_gate.kernel": [2048, 12, 1],
};

test("the tree of the published model is MaxText's, layer by layer and stacked", () => {
  const params = paramsOf({ ...published, inhomogeneous_layer_cycle_interval: 4 });
  const expected = (
    prefix: string,
    count: number,
    shapeOf: (leaf: string, shape: number[]) => readonly number[],
  ) =>
    Array.from({ length: count }, (_, i) =>
      Object.entries(maxTextLayer(i)).map(([leaf, shape]) => [`${prefix}${i}.${leaf}`, shapeOf(leaf, shape)]),
    ).flat();
  expect(shapes(treeLayout(params, { scanned: false, scanAxis: 1 }))).toEqual({
    ...maxTextTop,
    ...Object.fromEntries(expected("decoder.layers_", 48, (_, shape) => shape)),
  });
  const scanned = treeLayout(params, { scanned: true, scanAxis: 1 });
  expect(shapes(scanned)).toEqual({
    ...maxTextTop,
    ...Object.fromEntries(expected("decoder.layers.layer_", 4, (leaf) => stacked[leaf]!)),
  });
  const pieces = scanned.get("decoder.layers.layer_3.attention.attention.query.kernel")!.pieces;
  expect(pieces.map(({ param, start }) => [param, start])).toEqual(
    Array.from({ length: 12 }, (_, i) => [
      `decoder.layers_${4 * i + 3}.attention.attention.query.kernel`,
      [0, i, 0, 0],
    ]),
  );
  const first = treeLayout(params, { scanned: true, scanAxis: 0 });
  expect(first.get("decoder.layers.layer_0.mlp.routed_experts.wo")!.shape).toEqual([12, 512, 512, 2048]);
  expect(first.get("decoder.layers.layer_0.attention.A_log")!.shape).toEqual([12, 32]);
});

test("the Hugging Face tensors are per expert, or fused where a checkpoint has them so", () => {
  const params = paramsOf({ ...published, num_decoder_layers: 4, inhomogeneous_layer_cycle_interval: 4 });
  const single = shapes(huggingFaceLayout(params));
  expect(single["model.layers.0.mlp.experts.511.down_proj.weight"]).toEqual([2048, 512]);
  expect(single["model.layers.0.linear_attn.conv1d.weight"]).toEqual([8192, 1, 4]);
  expect(single["model.layers.3.self_attn.q_proj.weight"]).toEqual([8192, 2048]);
  expect(single["lm_head.weight"]).toEqual([151936, 2048]);
  const fused = huggingFaceLayout(params, (name) => /experts\.(gate_up|down)_proj$/.test(name));
  expect(fused.get("model.layers.2.mlp.experts.gate_up_proj")).toEqual({
    shape: [512, 1024, 2048],
    pieces: ["wi_0", "wi_1"].map((leaf, i) =>
      expect.objectContaining({
        param: `decoder.layers_2.mlp.routed_experts.${leaf}`,
        start: [0, 512 * i, 0],
      }),
    ),
  });
  expect([...fused.keys()].filter((name) => /experts\.\d/.test(name))).toEqual([]);
});

test("layers that MaxText cannot stack are refused with the reason", () => {
  const refusal = (values: Values) =>
    failure(() => treeLayout(paramsOf({ ...tiny, ...values }), { scanned: true, scanAxis: 1 }));
  const layers = (count: number) => ({
    num_decoder_layers: count,
    mlp_layer_types: new Array<string>(count).fill("sparse"),
    layer_types: Array.from({ length: count }, (_, i) =>
      i % 4 === 3 ? "full_attention" : "linear_attention",
    ),
  });
  expect(refusal({ ...layers(6), inhomogeneous_layer_cycle_interval: 4 })).toEqual({
    code: "layers-left-over",
    message: expect.stringContaining("6 layers are not a whole number of cycles of 4"),
  });
  expect(refusal({ ...layers(4), inhomogeneous_layer_cycle_interval: 1 })).toEqual({
    code: "layers-differ",
    message: expect.stringContaining("3 of the 4 layers that decoder.layers.layer_0 stands for"),
  });
  expect(
    refusal({
      ...layers(8),
      inhomogeneous_layer_cycle_interval: 4,
      mlp_layer_types: ["dense", ...new Array<string>(7).fill("sparse")],
    }).code,
  ).toBe("layers-differ");
});

/** Every element of a target as where it comes from: `tensor:offset`, by walking factors one index at a time. */
function sourcesOf(target: Layout, source: Layout): Map<string, (string | undefined)[]> {
  const strides = (shape: readonly number[]) =>
    shape.map((_, i) => shape.slice(i + 1).reduce((n, x) => n * x, 1));
  return new Map(
    planTensors(target, source).map(({ name, shape, moves }) => {
      const out = new Array<string | undefined>(shape.reduce((n, x) => n * x, 1));
      for (const { from, source: at, target: to } of moves) {
        const factors = to.dims.flat();
        const total = factors.reduce((n, { size }) => n * size, 1);
        for (let i = 0; i < total; i++) {
          let rest = i;
          const index = new Map(
            factors.toReversed().map(({ key, size }) => {
              const digit = rest % size;
              rest = Math.floor(rest / size);
              return [key, digit] as const;
            }),
          );
          const offset = (box: typeof at, tensor: readonly number[]) =>
            box.dims.reduce((sum, dims, axis) => {
              const within = dims.reduce((n, { key, size }) => n * size + index.get(key)!, 0);
              return sum + (box.start[axis]! + within) * strides(tensor)[axis]!;
            }, 0);
          const place = offset(to, shape);
          if (out[place] !== undefined) throw new Error(`${name}:${place} has two sources`);
          out[place] = `${from}:${offset(at, source.get(from)!.shape)}`;
        }
      }
      return [name, out] as const;
    }),
  );
}

test("between any two layouts every element has one source, and going back undoes going there", () => {
  fc.assert(
    fc.property(
      fc.record({
        cycles: fc.integer({ min: 1, max: 2 }),
        cycle: fc.integer({ min: 1, max: 3 }),
        num_experts: fc.integer({ min: 2, max: 3 }),
        moe_mlp_dim: fc.integer({ min: 1, max: 3 }),
        emb_dim: fc.integer({ min: 1, max: 3 }),
        scanAxis: fc.integer({ min: 0, max: 1 }),
      }),
      ({ cycles, cycle, scanAxis, ...sizes }) => {
        const count = cycles * cycle;
        const params = paramsOf({
          ...tiny,
          ...sizes,
          num_experts_per_tok: 1,
          num_decoder_layers: count,
          inhomogeneous_layer_cycle_interval: cycle,
          layer_types: Array.from({ length: count }, (_, i) =>
            i % cycle === cycle - 1 ? "full_attention" : "linear_attention",
          ),
          mlp_layer_types: new Array<string>(count).fill("sparse"),
        });
        const layouts = [
          huggingFaceLayout(params),
          huggingFaceLayout(params, (name) => /experts\.(gate_up|down)_proj$/.test(name)),
          treeLayout(params, { scanned: false, scanAxis }),
          treeLayout(params, { scanned: true, scanAxis }),
        ];
        for (const a of layouts)
          for (const b of layouts) {
            const there = sourcesOf(b, a);
            const back = sourcesOf(a, b);
            for (const [name, elements] of there)
              elements.forEach((from, offset) => {
                const [tensor = "", at] = from!.split(/:(?=\d+$)/);
                if (back.get(tensor)![Number(at)] !== `${name}:${offset}`)
                  throw new Error(`${name}:${offset} comes from ${from}, which does not go there`);
              });
          }
      },
    ),
    { numRuns: 3 },
  );
});
