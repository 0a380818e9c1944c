// The three ways of computing experts: the same where nothing is dropped, and what MaxText's rule drops where something is.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { expertCapacity } from "../../compiler/expert-capacity.ts";
import { elements } from "../../compiler/ir/shape.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import type { Values } from "../arch/fixture.ts";
import { checkGradients, lossOf } from "../support/gradients.ts";
import { randomData, randomFrom, within } from "../support/random.ts";
import { distance, runModule } from "../support/run.ts";
import { routedExperts, type Sizes } from "./support.ts";

const engine = await startTfjsEngine("wasm");

/** The experts' sum, how many tokens each computed, and the gradients of embedding, gate, wi_0, wi_1 and wo. */
function computed(sizes: Sizes, values: Values, tokens: HostArray, seed: number) {
  const { module } = routedExperts(sizes, values);
  const random = randomFrom(seed);
  const data = module.body.params.map((x, i) =>
    i < 2 ? tokens : randomData(x.type, random, within(-0.9, 0.9)),
  );
  const [y, counts] = runModule(engine, module, data);
  const [result] = module.body.results;
  const loss = lossOf({ ...module, body: { ...module.body, results: [result!] } });
  const cotangent = randomData(result!.type, random);
  const [, ...gradients] = runModule(engine, differentiate(loss), [...data, cotangent]);
  return { y: y!, counts: [...counts!], gradients };
}

const anySizes = fc
  .record({
    batch: fc.integer({ min: 1, max: 3 }),
    seq: fc.integer({ min: 1, max: 7 }),
    vocab: fc.constant(6),
    embed: fc.integer({ min: 1, max: 5 }),
    experts: fc.integer({ min: 1, max: 5 }),
    inner: fc.integer({ min: 1, max: 4 }),
    top: fc.integer({ min: 1, max: 5 }),
  })
  .map((sizes) => ({ ...sizes, top: Math.min(sizes.top, sizes.experts) }));
const flags = fc.record({
  norm_topk_prob: fc.boolean(),
  float32_weight_sum: fc.boolean(),
  float32_gate_logits: fc.boolean(),
  activations_in_float32: fc.boolean(),
});
const tokensOf = ({ batch, seq, vocab }: Sizes, seed: number): Int32Array => {
  const random = randomFrom(seed);
  return Int32Array.from({ length: batch * seq }, () => Math.floor(random() * vocab));
};
const seeds = fc.integer({ min: 0, max: 1 << 30 });

test("dropless, dense, and dropping with room for all are one function with one gradient", () => {
  fc.assert(
    fc.property(anySizes, flags, seeds, (sizes, values, seed) => {
      const tokens = tokensOf(sizes, seed);
      const as = (strategy: Values) => computed(sizes, { ...values, ...strategy }, tokens, seed);
      const dropless = as({ moe_strategy: "dropless" });
      // A sequence sends an expert at most one choice of each token.
      const enough = sizes.experts;
      for (const other of [
        as({ moe_strategy: "dense" }),
        as({ moe_strategy: "dropping", capacity_factor: enough }),
      ]) {
        expect(other.counts).toEqual(dropless.counts);
        expect(distance(other.y, dropless.y)).toBeLessThan(1e-5);
        for (const [i, gradient] of other.gradients.entries())
          expect(distance(gradient, dropless.gradients[i]!, 1e-3)).toBeLessThan(1e-5);
      }
    }),
    { numRuns: 25 },
  );
});

/** Five tokens of two choices among four experts; embeddings are router logits, as the gate is the identity. */
const sizes: Sizes = { batch: 2, seq: 5, vocab: 10, embed: 4, experts: 4, top: 2, inner: 3 };
const choices = [
  ...[
    [0, 1],
    [0, 2],
    [1, 0],
    [0, 1],
    [2, 3],
  ],
  ...[
    [3, 0],
    [3, 0],
    [3, 1],
    [3, 2],
    [0, 2],
  ],
] as const;
const embedding = Float32Array.from(
  choices.flatMap(([first, second], token) =>
    [0, 1, 2, 3].map((e) => (e === first ? 2 + token / 16 : e === second ? 1 : (e - 5) / 4)),
  ),
);
const identity = Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0));

/** What MaxText's rule keeps of each token's two choices, worked out by hand. */
const cases = [
  {
    claim: "room for two: a token may lose both its experts, and each sequence counts for itself",
    // ceil(5 * 2 / 4) = 3, times 0.7 = 2.1.
    factor: 0.7,
    kept: [...[[0, 1], [0, 2], [1], [], [2, 3]], ...[[3, 0], [3, 0], [1], [2], [2]]],
    counts: [2 + 2, 2 + 1, 2 + 2, 1 + 2],
  },
  {
    claim: "room for three: an earlier token's second choice comes before a later one's first",
    factor: 1,
    kept: [...[[0, 1], [0, 2], [1, 0], [1], [2, 3]], ...[[3, 0], [3, 0], [3, 1], [2], [0, 2]]],
    counts: [3 + 3, 3 + 1, 2 + 2, 1 + 3],
  },
];

describe.each(cases)("$claim", ({ factor, kept, counts: wantedCounts }) => {
  const values = { moe_strategy: "dropping", capacity_factor: factor, norm_topk_prob: true };
  const { module } = routedExperts(sizes, values);
  const [, , ...params] = module.body.params;
  const random = randomFrom(3);
  const tokens = Int32Array.from(choices.keys());
  const weights = params.map((x) => {
    if (x.hint === "embedding") return embedding;
    return x.hint.endsWith("gate.kernel")
      ? identity
      : (randomData(x.type, random, within(-0.8, 0.8)) as Float32Array);
  });
  const [, , wi_0, wi_1, wo] = weights;
  const data = [tokens, tokens, ...weights];
  const { embed, inner } = sizes;

  /** wo · (silu(wi_0 · x) * wi_1 · x) of one expert. */
  function expert(e: number, x: Float32Array): number[] {
    const project = (w: Float32Array, j: number): number =>
      x.reduce((sum, value, i) => sum + value * w[(e * embed + i) * inner + j]!, 0);
    const hidden = Array.from({ length: inner }, (_, j) => {
      const gate = project(wi_0!, j);
      return (gate / (1 + Math.exp(-gate))) * project(wi_1!, j);
    });
    return Array.from({ length: embed }, (_, i) =>
      hidden.reduce((sum, h, j) => sum + h * wo![(e * inner + j) * embed + i]!, 0),
    );
  }

  test("drops these tokens of these experts, and leaves the other weights as they are", () => {
    const [y, counts] = runModule(engine, module, data);
    expect([...counts!]).toEqual(wantedCounts);
    const wanted = choices.flatMap(([first, second], token) => {
      const x = embedding.subarray(token * embed, (token + 1) * embed);
      const [a, b] = [Math.exp(x[first]!), Math.exp(x[second]!)];
      const sum = [0, 0, 0, 0];
      for (const e of kept[token]!) {
        const weight = (e === first ? a : b) / (a + b);
        for (const [i, part] of expert(e, x).entries()) sum[i]! += weight * part;
      }
      return sum;
    });
    expect(distance(y!, wanted)).toBeLessThan(1e-5);
  });

  test("gradients are what small steps show; a token without experts gets none", () => {
    const withoutCounts = { ...module, body: { ...module.body, results: module.body.results.slice(0, 1) } };
    for (const { error, param } of checkGradients(engine, withoutCounts, data, randomFrom(5), 1 / 256))
      expect({ param, isNear: error < 1e-3 }).toEqual({ param, isNear: true });
    const loss = lossOf(withoutCounts);
    const ones = new Float32Array(elements(module.body.results[0]!.type)).fill(1);
    const [, ofEmbedding] = runModule(engine, differentiate(loss), [...data, ones]);
    for (const [token, experts] of kept.entries()) {
      const row = [...ofEmbedding!.subarray(token * embed, (token + 1) * embed)];
      expect([token, row.every((x) => x === 0)]).toEqual([token, experts.length === 0]);
    }
  });
});

/** What jax makes of MaxText's masks and einsums (tests/oracles/moe_dropping.py). */
type Golden = {
  readonly sizes: Sizes;
  readonly capacity_factor: number;
  readonly norm_topk_prob: boolean;
  readonly capacity: number;
  readonly params: Readonly<Record<string, readonly number[]>>;
  readonly tokens: readonly number[];
  readonly cotangent: readonly number[];
  readonly y: readonly number[];
  readonly tokens_per_expert: readonly number[];
  readonly gradients: Readonly<Record<string, readonly number[]>>;
};
const goldens = JSON.parse(readFileSync(new URL("dropping.json", import.meta.url), "utf8")) as Golden[];

test.each(goldens)("MaxText's masks and einsums: $sizes, $capacity_factor", (golden) => {
  const { sizes, tokens, cotangent, norm_topk_prob, capacity_factor } = golden;
  expect(expertCapacity(sizes.seq * sizes.top, sizes.experts, capacity_factor)).toBe(golden.capacity);
  const { module } = routedExperts(sizes, { moe_strategy: "dropping", norm_topk_prob, capacity_factor });
  const names = ["embedding", "gate", "wi_0", "wi_1", "wo"];
  const data = [
    Int32Array.from(tokens),
    Int32Array.from(tokens),
    ...names.map((name) => Float32Array.from(golden.params[name]!)),
  ];
  const [y, counts] = runModule(engine, module, data);
  expect([...counts!]).toEqual(golden.tokens_per_expert);
  expect(distance(y!, golden.y)).toBeLessThan(1e-5);
  const loss = lossOf({ ...module, body: { ...module.body, results: module.body.results.slice(0, 1) } });
  const [, ...gradients] = runModule(engine, differentiate(loss), [...data, Float32Array.from(cotangent)]);
  for (const [i, name] of names.entries())
    expect([name, distance(gradients[i]!, golden.gradients[name]!) < 1e-5]).toEqual([name, true]);
});

test.each(["dropless", "dropping", "dense"])(
  "%s sums experts in float32 or as float32_weight_sum=false says",
  (strategy) => {
    const sums = (isFloat32: boolean): readonly string[] => {
      const values = { moe_strategy: strategy, capacity_factor: 1, float32_weight_sum: isFloat32 };
      const { nodes } = routedExperts(sizes, values, "bf16").module.body;
      // The last node that contracts or sums gives the experts' sum.
      const sum = nodes.findLast(({ op }) => ["dot_general", "reduce_sum"].includes(op.name));
      return sum!.ins.map(({ type }) => type.dtype);
    };
    expect(new Set(sums(true))).toEqual(new Set(["f32"]));
    expect(new Set(sums(false))).toEqual(new Set(["bf16"]));
  },
);

test("with room for nobody the experts give zero", () => {
  const { y, counts, gradients } = computed(
    { ...sizes, seq: 1, batch: 3 },
    { moe_strategy: "dropping", capacity_factor: 0.9 },
    Int32Array.of(0, 1, 2),
    1,
  );
  expect(counts).toEqual([0, 0, 0, 0]);
  for (const x of [y, ...gradients]) expect(x.every((each) => each === 0)).toBe(true);
});

test.each([
  [10, 4, 0.7, 2],
  [10, 4, 1, 3],
  [10, 5, 1, 2],
  [11, 5, 1, 3],
  [10, 512, 1, 1],
  [10, 512, 1.99, 1],
  [10, 512, 0.99, 0],
  // 10 * 1.1 is 11.000000000000002 and 3 * 1.1 is 3.3000000000000003.
  [10, 1, 1.1, 11],
  [3, 1, 1.1, 3],
  [7, 7, 1.25, 1],
])("%d choices among %d experts at %d: room for %d", (chosen, experts, factor, room) => {
  expect(expertCapacity(chosen, experts, factor)).toBe(room);
});
