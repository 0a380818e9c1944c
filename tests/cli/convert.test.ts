// q3c convert as it is called: in its own form and in MaxText's.
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const MODEL = "tests/goldens/maxtext-tiny";

test("FROM TO: there, to the other layout, and back", async () => {
  const directory = scratch();
  const [tree, single, back] = ["tree", "single", "back"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const there = await q3c(["convert", MODEL, tree]);
  expect(there.out).toMatch(
    /^from: .*maxtext-tiny \(huggingface\)\nto: .*tree\/0\/items \(maxtext\), 70 tensors, 1\.3 MiB\nconverted: .*tree\/0\/items in \d/,
  );
  const other = await q3c(["convert", tree, single, "--to=maxtext", "scan_layers=false"]);
  expect([other.code, other.err]).toEqual([0, ""]);
  const home = await q3c(["convert", single, back, "--json"]);
  expect(home.out.split("\n").map((line) => JSON.parse(line))).toEqual([
    {
      kind: "start",
      from: join(single, "0/items"),
      to: back,
      format: "huggingface",
      tensors: 154,
      bytes: 1_367_840,
      left_out: {},
    },
    { kind: "converted", path: back, bytes: 1_367_840, seconds: expect.any(Number) },
  ]);
  const file = "model.safetensors";
  expect(fs.readFileSync(join(back, file)).equals(fs.readFileSync(join(MODEL, file)))).toBe(true);
});

test("MaxText's lines, pasted", async () => {
  const directory = scratch();
  const python = (module: string, ...rest: string[]) =>
    q3c([
      "JAX_PLATFORMS=cpu",
      "python3",
      "-m",
      `maxtext.checkpoint_conversion.${module}`,
      "src/maxtext/configs/base.yml",
      ...rest,
    ]);
  const there = await python(
    "to_maxtext",
    "model_name=qwen3-next-tiny",
    `base_output_directory=${directory}/ckpt`,
    "hf_access_token=none",
    "scan_layers=false",
    " ",
    "use_multimodal=false",
    `--hf_model_path=${MODEL}`,
    "--lazy_load_tensors=true",
  );
  expect([there.code, there.err]).toEqual([0, ""]);
  const back = await python(
    "to_huggingface",
    "model_name=qwen3-next-tiny",
    `load_parameters_path=${directory}/ckpt/0/items`,
    `base_output_directory=${directory}/hf`,
    "scan_layers=false",
  );
  expect([back.code, back.err]).toEqual([0, ""]);
  const file = "model.safetensors";
  expect(fs.readFileSync(`${directory}/hf/${file}`).equals(fs.readFileSync(join(MODEL, file)))).toBe(true);
});

test("--dry_run names what would be written and writes nothing", async () => {
  const directory = join(scratch(), "out");
  const { code, out } = await q3c(["convert", MODEL, directory, "--dry_run", "weight_dtype=bfloat16"]);
  expect([code, out]).toEqual([
    0,
    expect.stringContaining(
      "\nparams.params.decoder.layers.layer_3.mlp.routed_experts.wo  BF16 [8, 1, 32, 64]\n",
    ),
  ]);
  expect(fs.existsSync(directory)).toBe(false);
});

test("MaxText's keys say how arrays are stored", async () => {
  const tree = join(scratch(), "tree");
  await q3c([
    "convert",
    MODEL,
    tree,
    "checkpoint_storage_use_ocdbt=false",
    "checkpoint_storage_use_zarr3=false",
  ]);
  expect((await q3c(["inspect", tree])).out).toContain("step 0, files of zarr v2 arrays\n");
});

test("--save_dtype goes before the weight_dtype of a file", async () => {
  const directory = scratch();
  const file = join(directory, "own.yml");
  fs.writeFileSync(file, "base_config: base.yml\nweight_dtype: float32\n");
  const { code, out } = await q3c([
    "convert",
    file,
    "model_name=qwen3-next-tiny",
    `base_output_directory=${directory}/out`,
    `--hf_model_path=${MODEL}`,
    "--save_dtype=bfloat16",
    "--dry_run",
  ]);
  expect([code, out]).toEqual([0, expect.stringContaining("routed_experts.wo  BF16 ")]);
});

test.each([
  [["convert", "base", "model_name=qwen3-next-tiny", "base_output_directory=out"], "convert-source"],
  [["convert", MODEL, "a", "b"], "convert-arguments"],
  [["convert", MODEL, "out", "--to=gguf"], "bad-flag-value"],
  [["convert", MODEL, "out", "--save_dtype=int8"], "bad-flag-value"],
  [["convert", MODEL, "out", "--parallel_threads=0"], "bad-flag-value"],
  [["convert", MODEL, "gs://bucket/x"], "remote-path"],
  [["convert", "gs://bucket/x", "out"], "remote-path"],
  [["convert", "base", "base_output_directory=out", "--hf_model_path=hf://a/b"], "remote-path"],
  [["inspect", "gs://bucket/x"], "remote-path"],
  [["convert"], "convert-arguments"],
  [["convert", MODEL, "out", "--save_dtype=bfloat16", "weight_dtype=float32"], "bad-flag-value"],
  [["convert", MODEL, MODEL], "output-in-source"],
  [["convert", MODEL, `${MODEL}/../maxtext-tiny/out`], "output-in-source"],
  [["convert", "nowhere", "out", "model_name=qwen3-next-tiny"], "file-missing"],
])("%j is refused: %s", async (line, code) => {
  const found = await q3c(line);
  expect(found.code).toBeGreaterThan(0);
  expect(found.err).toContain(`${code}: `);
});

test("what is no checkpoint is refused as such, not for want of a model", async () => {
  const directory = scratch();
  const at = (name: string) => join(directory, name);
  fs.mkdirSync(at("empty"));
  fs.mkdirSync(at("cache/snapshots"), { recursive: true });
  await q3c(["convert", MODEL, at("tree")]);
  fs.rmSync(at("tree/0/items/_METADATA"));
  fs.copyFileSync(join(MODEL, "model.safetensors"), at("weights.safetensors"));
  const refused = async (from: string) => {
    const { code, err } = await q3c(["convert", at(from), at("out")]);
    expect(code).toBeGreaterThan(0);
    return err;
  };
  expect(await refused("nowhere")).toContain(`${at("nowhere")}: file-missing: `);
  expect(await refused("empty")).toContain(`${at("empty")}: checkpoint-missing: `);
  expect(await refused("cache")).toContain(`has its models in ${at("cache/snapshots")}: name one`);
  expect(await refused("tree")).toContain(`${at("tree/0/items")}: orbax-incomplete: _METADATA`);
  expect(await refused("weights.safetensors")).toContain(
    `${at("weights.safetensors")}: convert-model: nothing`,
  );
});

test("without an output, that is what is missing", async () => {
  for (const line of [[MODEL], [MODEL, "--dry_run"], [join(MODEL, "model.safetensors")]])
    expect(await q3c(["convert", ...line])).toMatchObject({
      code: 2,
      err: expect.stringContaining(`convert-arguments: ${line[0]} is to be converted, but not where to`),
    });
});

test("a tree alone is of the model at --hf_model_path, one of a run of the model that the run saved", async () => {
  const directory = scratch();
  const at = (name: string) => join(directory, name);
  await q3c(["convert", MODEL, at("run/checkpoints")]);
  fs.rmSync(at("run/checkpoints/0/hugging_face"), { recursive: true });
  const refused = await q3c(["convert", at("run/checkpoints"), at("a")]);
  expect([refused.code, refused.err]).toEqual([2, expect.stringContaining("convert-model: ")]);
  const named = await q3c(["convert", at("run/checkpoints"), at("b"), `--hf_model_path=${MODEL}`]);
  expect([named.code, named.err]).toEqual([0, ""]);
  fs.cpSync(MODEL, at("run/hugging_face/1"), { recursive: true });
  const ofRun = await q3c(["convert", at("run/checkpoints"), at("c")]);
  expect([ofRun.code, ofRun.err]).toEqual([0, ""]);
  const file = "model.safetensors";
  for (const out of ["b", "c"])
    expect(fs.readFileSync(join(at(out), file)).equals(fs.readFileSync(join(MODEL, file)))).toBe(true);
});

test("the folder beside an item says where the weights are", async () => {
  const tree = join(scratch(), "tree");
  await q3c(["convert", MODEL, tree]);
  for (const line of [
    ["inspect", `${tree}/0/hugging_face`],
    ["convert", `${tree}/0/hugging_face`, `${tree}/out`],
  ]) {
    const { code, err } = await q3c(line);
    expect(code).toBeGreaterThan(0);
    expect(err).toContain(
      `its weights are in ${tree}/0/items\nhelp: pass load_parameters_path=${tree}/0/items`,
    );
  }
});

test("of a directory of steps, the one that is taken is named", async () => {
  const directory = scratch();
  const [tree, said] = [join(directory, "tree"), [] as string[]];
  await q3c(["convert", MODEL, tree]);
  fs.renameSync(join(tree, "0"), join(tree, "7"));
  const io = { whenInterrupted: (say: () => string) => void said.push(say()) };
  const { out } = await q3c(["convert", tree, join(directory, "back")], { io });
  expect(out).toContain(`from: ${tree}/7/items (maxtext)\n`);
  // While it writes, Ctrl-C says what stays; afterwards, nothing does.
  expect(said).toEqual([
    expect.stringContaining(`stays in ${directory}/.back.partial; the same line goes on`),
    "",
  ]);
});

test("a conversion that fails says what stays", async () => {
  const directory = scratch();
  const [tree, out] = [join(directory, "tree"), join(directory, "out")];
  await q3c(["convert", MODEL, tree]);
  const [file = ""] = (fs.readdirSync(tree, { recursive: true }) as string[])
    .map((name) => join(tree, name))
    .filter((name) => /[0-9a-f]{32}$/.test(name))
    .toSorted((a, b) => fs.statSync(b).size - fs.statSync(a).size);
  const bytes = fs.readFileSync(file);
  fs.writeFileSync(
    file,
    bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte)),
  );
  const { code, err } = await q3c(["convert", tree, out]);
  expect(code).toBe(1);
  expect(err).toContain(`what is finished stays in ${directory}/.out.partial; the same line`);
});
