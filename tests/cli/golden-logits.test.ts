// q3c golden-logits, and q3c check-logits on what it wrote.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const folder = scratch();
const model = [
  ...["base", "model_name=qwen3-next-tiny", "override_model_config=true", "tokenizer_type=byte"],
  ...["base_num_decoder_layers=1", "inhomogeneous_layer_cycle_interval=1", "base_emb_dim=8", "dtype=float32"],
];
const golden = (path: string, ...rest: string[]) =>
  q3c(["golden-logits", ...model, `--output-path=${path}`, ...rest]);

test.each(["json", "pickle"])("logits as %s are those that check-logits finds", async (format) => {
  const path = join(folder, `g.${format === "json" ? "jsonl" : "pickle"}`);
  const written = await golden(path, `--output-format=${format}`, "--prompts=I love;So");
  expect(written).toMatchObject({
    code: 0,
    out: `computed by q3c on tfjs-wasm, weights initialised with seed 0\nFile is stored locally at ${path}.`,
  });
  const { code, out } = await q3c([
    "check-logits",
    ...model,
    `--golden_logits_path=${path}`,
    "--atol=0",
    "--rtol=0",
    "--json",
  ]);
  expect(code).toBe(0);
  expect(JSON.parse(out).records).toMatchObject([
    { prompt: "I love", tokens: [...Buffer.from("I love")], passed: true },
    { prompt: "So", passed: true },
  ]);
});

test("the file of check-logits holds the KL divergence both ways", async () => {
  const [path, output] = [join(folder, "k.jsonl"), join(folder, "out.jsonl")];
  await golden(path, "--prompts=Hi");
  const line = [
    "check-logits",
    ...model,
    "init_weights_seed=1",
    `--golden_logits_path=${path}`,
    "--max_kl_div=9",
  ];
  expect((await q3c([...line, `--output_logits_path=${output}`])).code).toBe(0);
  const { kl_golden_model: there, kl_model_golden: back, logits } = JSON.parse(readFileSync(output, "utf8"));
  const { logits: wanted } = JSON.parse(readFileSync(path, "utf8"));
  const chances = (row: number[]) => {
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    return row.map((x) => Math.exp(x) / total);
  };
  const divergence = (p: number[], q: number[]) => p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
  for (const i of [0, 1]) {
    const [p, q] = [chances(wanted[i]), chances(logits[i])];
    expect(there[i]).toBeCloseTo(divergence(p, q), 12);
    expect(back[i]).toBeCloseTo(divergence(q, p), 12);
    expect(there[i]).not.toBeCloseTo(back[i], 6);
  }
});

test("a file that is there is replaced only when asked to, and one that fails is not begun", async () => {
  const path = join(folder, "kept.jsonl");
  writeFileSync(path, "kept");
  const refused = await golden(path, "--prompts=a");
  expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/kept\.jsonl: file-exists: /) });
  expect(readFileSync(path, "utf8")).toBe("kept");
  const beneath = await golden(join(path, "g.jsonl"), "--prompts=a");
  expect(beneath).toMatchObject({ code: 1, err: expect.stringMatching(/g\.jsonl: file-unwritable: /) });
  const failed = await golden(path, "--overwrite", "--prompts=a;");
  expect(failed).toMatchObject({ code: 1, err: expect.stringMatching(/^golden-prompt: /) });
  expect(readFileSync(path, "utf8")).toBe("kept");
  expect(readdirSync(folder).filter((name) => name.endsWith(".partial"))).toEqual([]);
  expect((await golden(path, "--overwrite", "--prompts=a")).code).toBe(0);
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({
    prompt: "a",
    tokens: [97],
    attention_mask: [1],
  });
});

test("MaxText's own line runs transformers, in the Python that Q3C_PYTHON names", async () => {
  const line = [
    ...["python3", "-m", "tests.assets.logits_generation.generate_hf_golden_logits"],
    "--model-id=Qwen/Qwen3-Next-80B-A3B-Instruct",
    `--output-path=${join(folder, "golden_Qwen3_Next.jsonl")}`,
    "--prompts=I love to;Today is a;What is the",
  ];
  const { code, err } = await q3c(line, {
    io: { env: { Q3C_PYTHON: join(folder, "no-python") } },
  });
  expect(code).toBe(1);
  expect(err).toMatch(/^python-missing: cannot start `.*no-python`: there is no such program\n/);
});

test.each<[flags: string[], says: string]>([
  [["--prompts=a"], "missing-flag: --output-path is needed: the golden file"],
  [["--output-path=x.jsonl"], "missing-flag: --prompts is needed: texts, separated by semicolons"],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--output-format=jsn"],
    "bad-flag-value: --output-format is one of json, pickle, got jsn\nhelp: did you mean `json`?",
  ],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--engine=tf"],
    "bad-flag-value: --engine is one of q3c, hf, got tf\nhelp: did you mean `hf`?",
  ],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--hf-load-dtype=float16"],
    "bad-flag-value: --hf-load-dtype is one of float32, bfloat16, auto, got float16\nhelp: did you mean `bfloat16`?",
  ],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--engine=hf"],
    "missing-flag: --model-id is needed: the model: a Hugging Face folder, or with --engine=hf a name of the Hub",
  ],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--model-id=m", "--engine=hf", "base"],
    "bad-flag-value: --engine=hf takes no configuration, found `base`\nhelp: name the model with --model-id alone",
  ],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--gcs-bucket=b"],
    "bad-flag-value: --gcs-bucket is not supported: q3c writes local files\nhelp: copy the file there yourself",
  ],
  [
    ["--output-path=x.jsonl", "--prompts=a", "--image-paths=i.png"],
    "bad-flag-value: --image-paths is not supported: q3c takes text only",
  ],
])("golden-logits %j", async (flags, says) => {
  expect(await q3c(["golden-logits", ...flags])).toMatchObject({ code: 2, out: "", err: says });
});

test.each<[flags: string[], says: string]>([
  [
    [],
    "golden-missing: no golden file is named\nhelp: pass --golden_logits_path=<file.jsonl>, or --run_hf_model --hf_model_path=<folder>",
  ],
  [["--run_hf_model"], "missing-flag: --run_hf_model needs --hf_model_path"],
  [
    ["--gcs_output_logits_path=gs://b/x"],
    "bad-flag-value: --gcs_output_logits_path is not supported: q3c writes local files\nhelp: write one with --output_logits_path and copy it there",
  ],
])("check-logits %j", async (flags, says) => {
  expect(await q3c(["check-logits", ...model, "--atol=1", ...flags])).toMatchObject({
    code: 2,
    out: "",
    err: says,
  });
});

test("what is wrong with the call is said before weights are opened", async () => {
  const none = join(scratch(), "no-weights");
  const said = async (...flags: string[]) =>
    (await q3c([...flags.slice(0, 1), ...model, `load_parameters_path=${none}`, ...flags.slice(1)])).err;
  const [kept, bad] = [join(none, "..", "kept.jsonl"), join(none, "..", "bad.jsonl")];
  writeFileSync(kept, "");
  writeFileSync(bad, "{");
  const missing = `--golden_logits_path=${join(none, "g.jsonl")}`;
  expect(await said("check-logits", missing)).toMatch(/^check-logits-criteria: /);
  expect(await said("check-logits", missing, "--atol=1")).toMatch(/g\.jsonl: file-missing: /);
  expect(await said("check-logits", "--golden_logits_path=/nope", "--atol=1")).toMatch(
    /^\/nope\S*: file-missing: /,
  );
  expect(await said("check-logits", "--golden_logits_path=README.md", "--atol=1")).toMatch(
    /README\.md: golden-format: /,
  );
  expect(await said("check-logits", `--golden_logits_path=${bad}`, "--atol=1")).toMatch(/bad\.jsonl:1:2/);
  const taken = ["--atol=1", `--output_logits_path=${kept}`];
  expect(await said("check-logits", `--golden_logits_path=${bad}`, ...taken)).toMatch(/: file-exists: /);
  const out = `--output-path=${join(none, "..", "g.jsonl")}`;
  expect(await said("golden-logits", out, "--prompts=a;;b;")).toBe(
    'golden-prompt: the prompt "" has no tokens\nhelp: separate prompts by semicolons, without one at the end',
  );
  expect(await said("golden-logits", out, "--prompts=a")).toMatch(/no-weights/);
});

test("a folder that is not there is no place for a golden file", async () => {
  const nowhere = join(scratch(), "nope");
  const refused = await golden(join(nowhere, "g.jsonl"), "--prompts=a");
  expect(refused).toMatchObject({
    code: 1,
    err: expect.stringMatching(/g\.jsonl: file-unwritable: .*there is no folder .*nope$/),
  });
  expect(readdirSync(join(nowhere, ".."))).toEqual([]);
});

test("a model's folder without a tokenizer is what is wrong, not a kind of tokenizer that nobody chose", async () => {
  const bare = join(scratch(), "bare");
  mkdirSync(bare);
  copyFileSync("tests/goldens/random-b/config.json", join(bare, "config.json"));
  const says = `tokenizer-missing: ${bare} has no tokenizer.json, and no tokenizer is named`;
  const out = `--output-path=${join(bare, "..", "g.jsonl")}`;
  for (const line of [
    ["golden-logits", `--model-id=${bare}`, out, "--prompts=a"],
    ["decode", "base", `model_name=${bare}`],
  ])
    expect(await q3c(line)).toMatchObject({ code: 2, err: expect.stringContaining(says) });
});
