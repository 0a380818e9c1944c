// What the report says is what the compiled program keeps: residuals counted in its text, for every policy.
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "@jest/globals";
import { rematTable } from "../../cli/remat-table.ts";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { type LayerReport, layerKinds, measured, wrapLayers } from "../../compiler/autodiff/remat.ts";
import { tensorNames } from "../../compiler/config/keys/remat.ts";
import { flopsOf } from "../../compiler/ir/cost.ts";
import { allNodes } from "../../compiler/ir/rewrite.ts";
import { byteSize } from "../../compiler/ir/shape.ts";
import type { Block, Module, Node, Value } from "../../compiler/ir/types.ts";
import { forwardModel } from "../../compiler/model.ts";
import { policyNames, type RematPolicy } from "../../compiler/remat-policies.ts";
import { lossProgram, rematPolicyOf } from "../../compiler/training.ts";
import { readPolicy, remat, rematRows } from "../../passes/remat.ts";
import { problemOf } from "../support/failures.ts";
import { configOf, scannedModel, smallest } from "./models.ts";

const texts = [
  ...policyNames.filter((name) => name !== "none"),
  "custom, gdn_qkvz_proj=device, gdn_conv=offload, gdn_out=device, gdn_out_proj=device, attention_out=device",
  "custom, decoder_layer_input=offload, moe_mlpwi_0=device",
];

const bytes = (xs: Iterable<Value>): number => [...xs].reduce((n, x) => n + byteSize(x.type), 0);

/** Bytes that one node hands to another, directly. */
const between = (from: Node, to: Node): number => bytes(from.outs.filter((out) => to.ins.includes(out)));

const putBytes = (block: Block): number =>
  bytes(
    [...allNodes(block)]
      .filter(({ attrs }) => attrs["memory"] === "pinned_host")
      .flatMap((each) => each.outs),
  );

const compiled = (module: Module, policy: RematPolicy): Module =>
  differentiate({ ...module, body: wrapLayers(module.body, policy) });

const reported = (module: Module, policy: RematPolicy): LayerReport[] =>
  layerKinds(wrapLayers(module.body, policy.everything ? readPolicy("full") : policy)).flatMap((kind) =>
    measured(kind, [policy]),
  );

/** Qwen3-Next 80B-A3B as a loop of twelve blocks of four layers. */
const sizes = ["per_device_batch_size=1", "max_target_length=4096", "base_num_decoder_layers=4"];
const large = scannedModel(configOf("qwen3-next-80b-a3b", ...sizes, "override_model_config=true"), 12);

describe("qwen3-next-80b-a3b as a loop over blocks of layers", () => {
  const length = 12;
  const module = large;

  test.each([...texts, "none"])("%s", (text) => {
    const policy = readPolicy(text);
    const loops = compiled(module, policy).body.nodes.filter(({ attrs }) => attrs["label"] === "layers");
    expect(loops.map(({ attrs }) => attrs["reverse"])).toEqual([false, true]);
    const [forward, backward] = loops as [Node, Node];
    const [report] = reported(module, policy) as [LayerReport];
    expect(report.times).toBe(length);
    expect(between(forward, backward) / length).toBe(report.deviceBytes + report.hostBytes);
    expect(putBytes(forward.regions[0]!)).toBe(report.hostBytes);
    expect(report.kept.reduce((n, { type }) => n + byteSize(type), 0)).toBe(
      report.deviceBytes + report.hostBytes,
    );
  });

  test.each(texts)("%s adds the FLOPs it says", (text) => {
    const policy = readPolicy(text);
    const [all, less] = [readPolicy("none"), policy].map((each) => flopsOf(compiled(module, each).body));
    const [none, some] = [readPolicy("none"), policy].map((each) => reported(module, each)[0]);
    expect(less! - all!).toBe(length * (some!.extraFlops - none!.extraFlops));
  });
});

describe("layers one by one", () => {
  const { module } = lossProgram(smallest());

  test.each(texts)("%s", (text) => {
    const policy = readPolicy(text);
    const regions = compiled(module, policy).body.nodes.filter(({ op }) => op.name === "remat");
    expect(regions.length).toBe(8);
    const given = new Set(module.body.params);
    const kept = regions.slice(0, 4).map((forward, i) => {
      const backward = regions[7 - i]!;
      const inputs = forward.ins.filter((x) => backward.ins.includes(x) && !given.has(x));
      return between(forward, backward) + bytes(inputs);
    });
    const total = reported(module, policy).reduce(
      (n, each) => n + each.times * (each.deviceBytes + each.hostBytes),
      0,
    );
    expect(kept.reduce((n, each) => n + each)).toBe(total);
  });

  test("the three linear layers are of one kind", () => {
    expect(reported(module, readPolicy("full")).map(({ times }) => times)).toEqual([3, 1]);
  });
});

test("full keeps a layer's input and no more", () => {
  for (const { kept } of reported(lossProgram(smallest()).module, readPolicy("full")))
    expect(kept.map(({ name }) => name)).toEqual(["x"]);
});

test("a policy keeps what it names", () => {
  const [linear, full] = reported(
    lossProgram(smallest()).module,
    readPolicy("custom, query_proj=device, gdn_conv=device, gdn_out=offload, moe_mlpwi_1=device"),
  );
  const shown = (report: LayerReport) =>
    report.kept.map(({ name, isOffloaded }) => (isOffloaded ? `${name} (host)` : name));
  expect(shown(linear!)).toEqual(["x", "gdn_conv", "gdn_out (host)", "moe_mlpwi_1"]);
  expect(shown(full!)).toEqual(["x", "query_proj", "moe_mlpwi_1"]);
});

test("names in the architecture files are tensors that custom places", () => {
  for (const model of ["qwen3-next-tiny", "qwen3-0.6b"]) {
    const { module } = forwardModel(configOf(model, "max_target_length=8", "per_device_batch_size=1"));
    const names = new Set([...allNodes(module.body)].flatMap(({ op, attrs }) => op.tag?.(attrs) ?? []));
    names.delete("decoder_layer_output");
    expect([...names].filter((name) => !tensorNames.includes(name))).toEqual([]);
    expect(names.size).toBeGreaterThan(8);
  }
});

test("a configuration's policy is that of its keys", () => {
  const custom = smallest("remat_policy=custom", "gdn_out=device", "context=offload");
  expect(rematPolicyOf(custom)).toEqual({
    name: "custom",
    save: ["decoder_layer_input", "gdn_out"],
    offload: ["context"],
  });
  expect(rematPolicyOf(smallest())).toEqual({ name: "full", save: [], offload: [] });
});

test.each([
  ["remat_policy=minimul", "minimal_with_context"],
  ["qdn_out=device", "did you mean `gdn_out`?"],
])("%s is an error of the configuration", (override, shown) => {
  expect(problemOf(() => smallest(override))!.message).toContain(shown);
});

test("remarks say what is kept, and what there is nothing of", () => {
  const remarks: string[] = [];
  remat(readPolicy("custom, gdn_out=offload, kv_proj=device")).run(lossProgram(smallest()).module, (line) =>
    remarks.push(line),
  );
  expect(remarks).toEqual([
    expect.stringMatching(
      /^custom: 3 blocks keep 192 bytes on the device and 384 bytes on the host each, .* FLOPs again/,
    ),
    expect.stringMatching(/^custom: 1 block keeps 192 bytes on the device, .* FLOPs again/),
    "custom: nothing here is called kv_proj",
  ]);
});

test("the table of Qwen3-Next 80B-A3B in blocks of four layers, 1 × 4096 tokens", () => {
  const custom = readPolicy(
    "custom, gdn_qkvz_proj=device, gdn_ba_proj=device, gdn_conv=device, gdn_out=device",
  );
  const table = rematTable(rematRows(large, custom));
  const file = new URL("../golden/remat-table.txt", import.meta.url);
  if (process.env["UPDATE_GOLDENS"]) writeFileSync(file, table);
  else expect(table).toBe(readFileSync(file, "utf8"));
});
