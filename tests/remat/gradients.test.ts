// What is kept never changes a number: every policy's gradients are those of `none`.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { wrapLayers } from "../../compiler/autodiff/remat.ts";
import { tensorNames } from "../../compiler/config/keys/remat.ts";
import { blockBuilder } from "../../compiler/ir/build.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { type Substitution, withOperands } from "../../compiler/ir/rewrite.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { policyNames, type RematPolicy } from "../../compiler/remat-policies.ts";
import { lossProgram } from "../../compiler/training.ts";
import { readPolicy } from "../../passes/remat.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, recipes } from "../support/modules.ts";
import { randomData, randomFrom, within } from "../support/random.ts";
import { distance, runModule } from "../support/run.ts";
import { scannedModel, smallest } from "./models.ts";

const engine = await startTfjsEngine();

const gdn = tensorNames.filter((name) => name.startsWith("gdn_"));
const texts = [
  ...policyNames,
  `custom, ${gdn.map((name) => `${name}=device`).join(", ")}`,
  `custom, ${gdn.map((name) => `${name}=offload`).join(", ")}`,
  "custom, decoder_layer_input=offload, moe_mlpwi_1=device, context=offload",
];

function gradients(module: Module, policy: RematPolicy, ins: readonly HostArray[]): HostArray[] {
  const joint = differentiate({ ...module, body: wrapLayers(module.body, policy) });
  verifyModule(joint, "differentiate");
  expect(printModule(parseModule(printModule(joint)))).toBe(printModule(joint));
  return runModule(engine, joint, ins);
}

const few = texts.filter(
  (text) => text === "full" || text === "minimal_offloaded" || text.startsWith("custom,"),
);
const models: readonly [string, Module, readonly string[]][] = [
  ["qwen3-next", lossProgram(smallest()).module, texts],
  ["a loop over blocks of qwen3-next", scannedModel(smallest(), 2), texts],
  ["qwen3-next in bf16", lossProgram(smallest("dtype=bfloat16")).module, few],
  [
    "qwen3-next, recurrent rule, dense experts",
    lossProgram(smallest("gated_delta_rule=recurrent", "sparse_matmul=false")).module,
    few,
  ],
];

describe.each(models)("%s", (_name, module, policies) => {
  const random = randomFrom(5);
  const ins = module.body.params.map((x) =>
    randomData(x.type, random, x.type.dtype === "i32" ? within(0, 5) : within(-0.5, 0.5)),
  );
  const wanted = gradients(module, readPolicy("none"), ins);

  test("has gradients", () => {
    expect(wanted.flatMap((x) => [...x]).every(Number.isFinite)).toBe(true);
    expect(wanted.filter((x) => x.some((n) => n !== 0)).length).toBeGreaterThan(wanted.length / 2);
  });

  test.each(policies)("%s", (text) => {
    const found = gradients(module, readPolicy(text), ins);
    for (const [i, x] of wanted.entries()) expect(distance(found[i]!, x)).toBe(0);
  });
});

type Cut = {
  readonly first: number;
  readonly last: number;
  readonly tags: readonly (readonly [number, string])[];
};
const cuts: fc.Arbitrary<Cut> = fc.record({
  first: fc.nat({ max: 20 }),
  last: fc.nat({ max: 20 }),
  tags: fc.array(fc.tuple(fc.nat({ max: 30 }), fc.constantFrom("a", "b", "c")), { maxLength: 8 }),
});

/** The module with names on some results, and a layer from one node to a later one. */
function tagged(module: Module, { first, last, tags }: Cut): Module {
  const { nodes } = module.body;
  const [from, to] = [Math.min(first, last) % nodes.length, Math.max(first, last) % nodes.length];
  const names = new Map<number, string[]>();
  const add = (at: number, name: string) => names.set(at, [...(names.get(at) ?? []), name]);
  for (const [at, name] of tags) add(at % nodes.length, name);
  add(Math.min(from, to), "decoder_layer_input");
  add(Math.max(from, to), "decoder_layer_output");
  const map: Substitution = new Map();
  const builder = blockBuilder();
  nodes.forEach((each, i) => {
    builder.nodes.push(
      withOperands(
        each,
        each.ins.map((x) => map.get(x) ?? x),
      ),
    );
    const made = builder.nodes.at(-1)!;
    for (const [j, out] of each.outs.entries()) {
      let last = made.outs[j]!;
      for (const name of j === 0 ? (names.get(i) ?? []) : [])
        last = builder.k.one("checkpoint_name", [last], { name });
      map.set(out, last);
    }
  });
  const results = module.body.results.map((x) => map.get(x) ?? x);
  return { ...module, body: { ...module.body, nodes: builder.nodes, results } };
}

test("random graphs with random names and layers", () => {
  const places = fc.constantFrom("device", "offload", "remat");
  fc.assert(
    fc.property(
      recipes(12),
      cuts,
      fc.tuple(places, places, places),
      fc.nat(),
      (recipe, cut, [a, b, c], seed) => {
        const module = lossOf(tagged(moduleOf(recipe), cut));
        const placed = Object.entries({ a, b, c });
        const at = (place: string) => placed.flatMap(([name, where]) => (where === place ? [name] : []));
        const policy = { name: "custom", save: at("device"), offload: at("offload") };
        const random = randomFrom(seed);
        const ins = module.body.params.map((x) => randomData(x.type, random));
        const wanted = gradients(module, readPolicy("none"), ins);
        const found = gradients(module, policy, ins);
        for (const [i, x] of wanted.entries()) expect(distance(found[i]!, x)).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 60 },
  );
});
