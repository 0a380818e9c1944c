import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { MultiDirectedGraph } from "graphology";
import { parseModule } from "../../compiler/ir/parse.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const folder = scratch();

const small = [
  "base",
  "model_name=qwen3-next-tiny",
  "override_model_config=true",
  ...["base_num_decoder_layers=4", "inhomogeneous_layer_cycle_interval=2", "base_emb_dim=8", "vocab_size=16"],
  ...["max_target_length=4", "per_device_batch_size=1", "dtype=float32", "remat_policy=full"],
];
const compile = async (...flags: string[]) => {
  const outcome = await q3c(["compile", ...small, ...flags]);
  expect(outcome.code).toBe(0);
  return outcome;
};
const opt = async (text: string, ...flags: string[]) => {
  const file = join(folder, "given.q3");
  writeFileSync(file, text);
  return q3c(["opt", file, ...flags]);
};

test("the table names every pass, what it took and what it left", async () => {
  const { out, err } = await q3c(["compile", "examples/train.yml", "--time-passes"]);
  const rows = out.split("\n").map((line) => line.replace(/\d+\.\d/, "ms").split(/\s+/));
  expect(rows[0]).toEqual(["pass", "ms", "nodes"]);
  expect(rows.slice(1).map(([name, ms]) => [name, ms])).toEqual(
    ["elaborate", "scan-layers", "canonicalize", "common-subexpressions", "dead-code", "all"].map((name) => [
      name,
      "ms",
    ]),
  );
  expect(err).toMatch(/^remark: scan-layers: 3 rounds of \d+ nodes become one scan; 17 parameters stacked$/m);
});

test("each pass on the print before it gives the print after it", async () => {
  const { out } = await compile("--emit=joint", "--time-passes", "--json");
  const names = (JSON.parse(out) as { passes: { name: string }[] }).passes.map(({ name }) => name);
  expect(names).toContain("remat");
  const { out: json } = await compile(
    "--emit=joint",
    "--json",
    ...names.map((name) => `--print-after=${name}`),
  );
  const { after } = JSON.parse(json) as { after: { pass: string; module: string }[] };
  expect(after.map(({ pass }) => pass)).toEqual(names);
  for (const [i, { pass, module }] of after.slice(1).entries()) {
    const { code, out: text } = await opt(after[i]!.module, "--pass", pass);
    expect([pass, code]).toEqual([pass, 0]);
    expect(`${text}\n`).toBe(module);
  }
  const { out: whole } = await compile("--emit=joint");
  expect(`${whole}\n`).toBe(after.at(-1)!.module);
  const { out: at } = await compile("--emit=joint", "--print-after=remat");
  expect(`${at}\n`).toBe(after.find(({ pass }) => pass === "remat")!.module);
  expect((await opt(after[0]!.module, "--pass", names.slice(1).join())).out).toBe(whole);
});

test("until stops after a pass, elaborate before the first", async () => {
  const [start, scanned, printed] = [
    await compile("--until=elaborate"),
    await compile("--until", "scan-layers"),
    await compile("--print-after=elaborate", "--print-after=scan-layers"),
  ];
  expect(start.out).not.toContain("layers_0_by_2");
  expect(start.err).toBe("");
  expect(scanned.out).toContain("%decoder.layers_0_by_2.input_layernorm.scale: f32[layers=2, embed=8]");
  expect(printed.out).toBe(`# after elaborate\n${start.out}\n\n# after scan-layers\n${scanned.out}`);
  expect((await compile("--until=scan-layers", "--json")).err).toBe("");
  const json = JSON.parse((await compile("--until=scan-layers", "--json")).out);
  expect(`${json.module}`).toBe(`${scanned.out}\n`);
  expect(json.remarks).toEqual([{ pass: "scan-layers", remark: expect.stringMatching(/^2 rounds of /) }]);
});

test("scan_layers chooses whether layers are rolled up", async () => {
  const flat = await compile("scan_layers=false");
  expect(flat.out).not.toContain("scan(");
  expect(flat.out).toContain("decoder.layers_3.");
  expect(parseModule(flat.out).body.params.length).toBeGreaterThan(60);
});

test("graph is the program that joint prints, for readers and for tools that read graphology's graphs", async () => {
  const joint = JSON.parse((await compile("--emit=joint", "--json")).out);
  const { out } = await compile("--emit=graph", "--json");
  const { remarks, ...graph } = JSON.parse(out);
  expect(remarks).toEqual(joint.remarks);
  const read = MultiDirectedGraph.from(graph);
  const ops = read.filterNodes((_key, { kind }) => kind === "op");
  expect(ops.length).toBe(joint.nodes);
  expect(read.getAttributes()).toEqual({ name: "qwen3_next_loss", flops: joint.flops });
  expect(new Set(ops.map((key) => read.getNodeAttribute(key, "place"))).size).toBeGreaterThan(20);
  expect((await compile("--emit=graph", "--json")).out).toBe(out);
  const { out: text, err } = await compile("--emit=graph");
  expect(err).toMatch(/^remark: /);
  expect(text).toMatch(
    new RegExp(
      `^graph of qwen3_next_loss: ${joint.nodes.toLocaleString("en-US")} ops, [\\d,]+ edges, \\d+ parameters \\(\\d+ param, 4 input\\)\\n` +
        "ops: [^\\n]+ multiply, [^\\n]+ more\\nlevels: [^\\n]+\\nlongest chain: [\\d,]+ ops run [^\\n]+%\\nmost FLOPs on it +runs +GFLOPs +of all\\n" +
        "(?:\\w+ \\(models/qwen3-next\\.arch:\\d+:\\d+\\) +[\\d,]+ +\\d+\\.\\d{3} +[\\d.]+ %(?:\\n|$)){8}$",
    ),
  );
  const { out: early } = await compile("--emit=graph", "--until=elaborate");
  expect(early).not.toContain("fused");
});

test("a policy in brackets, passes in one flag or several", async () => {
  const { out: scanned } = await compile("--until=scan-layers");
  const [one, two] = [
    await opt(scanned, "--pass", "remat(custom, query_proj=device, out_proj=offload), canonicalize"),
    await opt(scanned, "--pass=remat(custom, query_proj=device, out_proj=offload)", "--pass=canonicalize.2"),
  ];
  expect(one.out).toBe(two.out);
  expect(one.out).toContain('save="query_proj", offload="out_proj"');
  expect((await opt(scanned)).out).toBe(scanned);
});

test("names that are no passes, files that are not there, flags where there are no passes", async () => {
  const { out } = await compile("--until=elaborate");
  expect(await q3c(["compile", ...small, "--until=scan-layer"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(
      /^unknown-pass: there is no pass scan-layer; there are elaborate, [^\n]*\nhelp: did you mean `scan-layers`\?$/,
    ),
  });
  expect(await q3c(["compile", ...small, "--print-after=remat"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/^unknown-pass/),
  });
  expect(await opt(out, "--pass=dead")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/^unknown-pass: there is no pass dead; /),
  });
  expect(await opt(out, "--pass=dead-code(full)")).toMatchObject({ code: 2 });
  expect(await opt(out, "--pass=remat(minimum)")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/^unknown-policy/),
  });
  expect(await opt("module m(", "--pass=dead-code")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/given\.q3:1:\d+: ir-syntax/),
  });
  expect(await q3c(["opt", "--pass=dead-code"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/takes one file, got 0/),
  });
  expect(await q3c(["opt", join(folder, "nothing.q3")])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/nothing\.q3: file-missing: /),
  });
  expect(await q3c(["compile", ...small, "--emit=stats", "--time-passes"])).toMatchObject({
    code: 2,
    err: expect.stringMatching(/^bad-flag-value: this --emit runs no passes\n/),
  });
});
