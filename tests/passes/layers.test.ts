// scan-layers and unscan-layers on random modules made of layers, and on small Qwen3-Nexts of every make.

import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { allNodes } from "../../compiler/ir/rewrite.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { forwardModel } from "../../compiler/model.ts";
import { isLayerScan, stacksOf } from "../../compiler/stacks.ts";
import { lossProgram } from "../../compiler/training.ts";
import { forwardPipeline } from "../../passes/forward.ts";
import { differentiation, jointPipeline, passes } from "../../passes/index.ts";
import { type Pass, runPipeline } from "../../passes/pass.ts";
import { readPolicy, remat } from "../../passes/remat.ts";
import { scanLayers } from "../../passes/scan-layers.ts";
import { unscanLayers } from "../../passes/unscan-layers.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { randomFrom } from "../support/random.ts";
import { expectSameButRounding } from "../support/rounding.ts";
import { distance, runModule } from "../support/run.ts";
import {
  frozen,
  layerNumbers,
  layersOf,
  moduleOfLayers,
  type Numbers,
  numbersFor,
  operandsOf,
  resultsInOrder,
  stacks,
  tinyModel,
} from "./support.ts";

const engine = await startTfjsEngine();
const scan = (module: Module): Module => runPipeline(frozen(module), [scanLayers]);
const unscan = (module: Module): Module => runPipeline(frozen(module), [unscanLayers]);
const scansIn = ({ body }: Module): number[] =>
  body.nodes.filter(isLayerScan).map(({ attrs }) => attrs["length"] as number);

/** The joint program of a module with `forward` before and `joint` after differentiation, run; results as in `plain`. */
function changedRun(
  module: Module,
  plain: Module,
  numbers: Numbers,
  forward: readonly Pass[],
  joint: readonly Pass[],
) {
  const changed = runPipeline(differentiate(runPipeline(module, forward)), joint);
  const results = runModule(engine, changed, operandsOf(changed, numbers));
  return resultsInOrder(plain, changed, results, module.body.results.length);
}

describe("on random layers", () => {
  test("unscan after scan prints the same module", () => {
    fc.assert(
      fc.property(stacks, (stack) => {
        const module = moduleOfLayers(stack);
        expect(printModule(unscan(scan(module)))).toBe(printModule(module));
      }),
      { numRuns: 300 },
    );
  });

  test("what repeats is rolled, and its parameters are stacked", () => {
    fc.assert(
      fc.property(stacks, (stack) => {
        // A deep layer is two others under one number: a cycle of the two goes on where its numbers do not.
        fc.pre(stack.rounds >= 2 && !layersOf(stack).includes("deep"));
        const scanned = scan(moduleOfLayers(stack));
        const rolled = stacksOf(scanned.body).reduce((n, { members }) => n + members.length, 0);
        expect(rolled).toBeGreaterThan(0);
        expect(
          scanned.body.nodes.some(({ op, loc }) => op.name === "concatenate" && loc.kind === "pass"),
        ).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test("twice is once, and the text is the module", () => {
    fc.assert(
      fc.property(stacks, (stack) => {
        const scanned = scan(moduleOfLayers(stack));
        expect(printModule(scan(scanned))).toBe(printModule(scanned));
        expect(printModule(unscan(parseModule(printModule(scanned))))).toBe(
          printModule(moduleOfLayers(stack)),
        );
      }),
      {
        numRuns: 100,
        examples: [
          [{ before: ["gated"], cycle: ["deep", "mixed"], rounds: 3, after: [], areSownResults: false }],
          [
            {
              before: ["deep", "deep"],
              cycle: ["deep", "looping"],
              rounds: 2,
              after: [],
              areSownResults: false,
            },
          ],
        ],
      },
    );
  });

  test("values and gradients stay, scanned and through both pipelines", () => {
    fc.assert(
      fc.property(stacks, fc.integer({ min: 0, max: 2 ** 30 }), (stack, seed) => {
        if (layersOf(stack).length === 0) return;
        const module = moduleOfLayers(stack);
        const numbers = layerNumbers(module, randomFrom(seed));
        const plain = differentiate(module);
        const whole = { scanLayers: true };
        for (const [forward, joint] of [
          [[scanLayers], []],
          [forwardPipeline(whole), jointPipeline],
        ] as const) {
          const found = changedRun(module, plain, numbers, forward, joint);
          expectSameButRounding(engine, plain, operandsOf(plain, numbers), found, 1e-5);
        }
      }),
      { numRuns: 25 },
    );
  });

  test("a joint program with scans can be written out", () => {
    fc.assert(
      fc.property(stacks, fc.integer({ min: 0, max: 2 ** 30 }), (stack, seed) => {
        const module = moduleOfLayers(stack);
        const numbers = layerNumbers(module, randomFrom(seed));
        const joint = differentiate(scan(module));
        const flat = unscan(joint);
        const [wanted, found] = [joint, flat].map((each) =>
          runModule(engine, each, operandsOf(each, numbers)),
        );
        for (const [i, x] of wanted!.entries()) expect(distance(found![i]!, x)).toBeLessThan(1e-5);
      }),
      { numRuns: 15 },
    );
  });
});

const GDN = "linear_attention";
const FULL = "full_attention";
const types = (...list: string[]) => [
  `layer_types=[${list.join(",")}]`,
  `base_num_decoder_layers=${list.length}`,
  "inhomogeneous_layer_cycle_interval=1",
];

/** Every make: overrides, and how many rounds each scan goes. */
const makes: readonly (readonly [claim: string, overrides: readonly string[], scans: readonly number[]])[] = [
  ["one cycle: its three equal layers", ["base_num_decoder_layers=4"], [3]],
  ["two cycles", ["base_num_decoder_layers=8"], [2]],
  ["three cycles", ["base_num_decoder_layers=12"], [3]],
  ["a single layer", types(GDN), []],
  ["two different layers", types(GDN, FULL), []],
  ["equal layers", types(FULL, FULL, FULL), [3]],
  ["layers in no order", types(GDN, FULL, FULL, GDN, GDN, FULL), [2, 2]],
  ["two cycles and a layer of the third", types(GDN, FULL, GDN, FULL, GDN), [2]],
  ["two cycles and two equal layers", types(GDN, GDN, FULL, GDN, GDN, FULL, GDN, GDN), [2, 2]],
  ["a different first layer", types(FULL, GDN, GDN, GDN), [3]],
  ["a dense first layer", [...types(GDN, GDN, GDN), "mlp_only_layers=[0]"], [2]],
  [
    "dense first layers, then a cycle",
    [...types(GDN, GDN, GDN, FULL, GDN, FULL), "mlp_only_layers=[0,1]"],
    [2, 2],
  ],
  ["a dense layer in the middle", [...types(GDN, GDN, GDN, GDN, GDN), "mlp_only_layers=[2]"], [2, 2]],
  ["dense layers in a rhythm", [...types(GDN, GDN, GDN, GDN), "mlp_only_layers=[0,2]"], [2]],
  [
    "tied embeddings",
    [...types(GDN, GDN), "logits_via_embedding=true", "normalize_embedding_logits=false"],
    [2],
  ],
  ["dense experts", [...types(GDN, GDN), "sparse_matmul=false"], [2]],
  ["the recurrent rule", [...types(GDN, GDN), "gdn_chunk_size=64"], [2]],
  ["bfloat16 activations", [...types(GDN, GDN, FULL), "dtype=bfloat16"], [2]],
  ["no load balance loss", [...types(GDN, GDN), "load_balance_loss_weight=0"], [2]],
];

describe.each(makes)("a Qwen3-Next of %s", (_, overrides, scans) => {
  const config = tinyModel(...overrides);
  const programs: readonly (readonly [string, Module])[] = [
    ["its forward program", forwardModel(config).module],
    ["its hidden states too", forwardModel(config, { taps: ["hidden", "load_balance_loss"] }).module],
    ["its loss", lossProgram(config).module],
  ];
  test.each(programs)("%s: scanned so often, and back again", (_name, module) => {
    const scanned = scan(module);
    expect(scansIn(scanned)).toEqual(scans);
    expect(printModule(unscan(scanned))).toBe(printModule(module));
    expect(printModule(scan(scanned))).toBe(printModule(scanned));
  });
});

describe("a small Qwen3-Next", () => {
  const { module } = lossProgram(
    tinyModel("base_num_decoder_layers=4", "inhomogeneous_layer_cycle_interval=2"),
  );
  const data = numbersFor(module, randomFrom(7));
  const numbers: Numbers = new Map([
    ...[...data].map(
      ([name, x]) =>
        [name, /layernorm|decoder_norm|_norm\.scale/.test(name) ? x : x.map((n) => n / 3)] as const,
    ),
    ["tokens", Int32Array.from({ length: 12 }, (_, i) => (7 * i) % 32)],
    ["targets", Int32Array.from({ length: 12 }, (_, i) => (5 * i + 1) % 32)],
    ["positions", Int32Array.from({ length: 12 }, (_, i) => i % 6)],
  ]);

  const plain = differentiate(module);
  const wanted = runModule(engine, plain, operandsOf(plain, numbers));

  /** The loss within 1e-5, gradients within 1e-4: through the delta rule. */
  const expectSame = (forward: readonly Pass[], joint: readonly Pass[]): void => {
    const found = changedRun(module, plain, numbers, forward, joint);
    for (const [i, x] of wanted.entries()) {
      const apart = distance(found[i]!, x, 1e-3);
      expect({ i, apart, isNear: apart < (i === 0 ? 1e-5 : 1e-4) }).toMatchObject({ isNear: true });
    }
  };

  const keeping = passes.filter((pass) => pass !== differentiation);
  test.each(
    keeping.flatMap((pass) => [false, true].map((isScanned) => [pass.name, isScanned, pass] as const)),
  )(
    "values and gradients stay through %s before and after differentiation, scan_layers=%s",
    (_name, isScanned, pass) => {
      expectSame([...(isScanned ? [scanLayers] : []), pass], [pass]);
    },
  );

  test.each([
    [true, "full"],
    [true, "minimal"],
    [false, "full"],
    [false, "none"],
  ])(
    "values and gradients stay through the pipelines, scan_layers=%s remat_policy=%s",
    (isScanned, policy) => {
      const choices = { scanLayers: isScanned, remat: remat(readPolicy(policy)) };
      expectSame(forwardPipeline(choices), jointPipeline);
    },
  );

  test("as many nodes for three cycles as for two", () => {
    const [two, three] = [8, 12].map((count) => {
      const choices = { scanLayers: true };
      const loss = lossProgram(tinyModel(`base_num_decoder_layers=${count}`)).module;
      const joint = runPipeline(differentiate(runPipeline(loss, forwardPipeline(choices))), jointPipeline);
      return [...allNodes(joint.body)].length;
    });
    expect(three).toBe(two);
  });
});

test("a stack tells the parameters that it holds", () => {
  const module = moduleOfLayers({
    before: ["normed"],
    cycle: ["gated", "mixed"],
    rounds: 3,
    after: [],
    areSownResults: false,
  });
  const held = stacksOf(scan(module).body);
  expect(held.map(({ param, members }) => [param.hint, members])).toEqual([
    ["layers_1_by_2.w", ["layers_1.w", "layers_3.w", "layers_5.w"]],
    ["layers_2_by_2.mix", ["layers_2.mix", "layers_4.mix", "layers_6.mix"]],
  ]);
});
