// q3c decode on a model small enough to make here.
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { saveHuggingFace } from "../../runtime/checkpoint/save.ts";
import { claimDirectory } from "../../runtime/claimed-directory.ts";
import { initialWeights } from "../../runtime/train/init.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const directory = scratch();
const model = join(directory, "model");
const tokenizer = resolve("tests/data/tiny-tokenizer");

beforeAll(() => {
  const args = [
    ...["base", "model_name=qwen3-next-tiny", "override_model_config=true", "base_output_directory=unused"],
    ...["base_num_decoder_layers=2", "inhomogeneous_layer_cycle_interval=2", "vocab_size=320"],
  ];
  const config = loadConfig(args, { env: {}, cwd: directory, modelsDir: resolve("models") });
  const { params } = forwardModel(config);
  saveHuggingFace(claimDirectory(model), config, params, initialWeights(params, 7));
});

const own = () => [
  "base",
  `model_name=${model}`,
  "tokenizer_type=huggingface",
  `tokenizer_path=${tokenizer}`,
  "dtype=float32",
  "max_prefill_predict_length=64",
  "max_target_length=72",
];
const answers = (out: string) =>
  out
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter(({ kind }) => kind === "answer");

describe("q3c decode", () => {
  test("the guide's line, up to its paths and the length of its answer", async () => {
    const prompt =
      "An attention function can be described as mapping a query and a set of key-value pairs to an output, where the query, keys, values, and outputs are all vectors. The output is ";
    // A tokenizer of 291 tokens makes more than 64 of it; with its words as tokens there are as many as of Qwen's.
    const folder = scratch();
    const fields = JSON.parse(readFileSync(join(tokenizer, "tokenizer.json"), "utf8"));
    const words = [...new Set(prompt.match(/ ?\w+/g))];
    words.forEach((content, i) => {
      const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
      fields.added_tokens.push({ id: 291 + i, content, ...flags });
    });
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(fields));
    copyFileSync(join(tokenizer, "tokenizer_config.json"), join(folder, "tokenizer_config.json"));
    const line = [
      ...["python3", "-m", "maxtext.inference.decode", "src/maxtext/configs/base.yml"],
      `base_output_directory=${directory}`,
      `load_parameters_path=${model}`,
      ...["run_name=q3-next-decode", "per_device_batch_size=1", "enable_checkpointing=false"],
      `model_name=${model}`,
      ...["max_prefill_predict_length=64", "max_target_length=72", "tokenizer_type=huggingface"],
      `tokenizer_path=${folder}`,
      ...["attention=dot_product", "dtype=bfloat16", "weight_dtype=bfloat16", "megablox=False"],
      ...["sparse_matmul=False", "ici_tensor_parallelism=1", "ici_fsdp_parallelism=1"],
      ...["ici_expert_parallelism=-1", `prompt=${prompt}`, "scan_layers=False"],
    ];
    const { code, out, err } = await q3c(line);
    expect([code, code === 0 || err]).toEqual([0, true]);
    expect(out.startsWith(`Input \`${prompt}\` -> \``)).toBe(true);
    expect(out.endsWith("`")).toBe(true);
    expect(err).toMatch(
      /weights: read from .*model\nexperts: 2 of 8 a token, dense .*\n.* tokens\/s \(8 tokens in .* s after the first\)$/,
    );
  });

  test("prompts in two forms, of which one would be left out, are refused", async () => {
    expect(await q3c(["decode", ...own(), "prompt=a", "--prompt=b"])).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringMatching(/prompts are given by `prompt` and by `--prompt`/),
    });
  });

  test("a folder of weights has its tokenizer with it, or the error says that it has none", async () => {
    const folder = join(scratch(), "with");
    cpSync(model, folder, { recursive: true });
    const sizes = ["vocab_size=320", "base_num_decoder_layers=2", "inhomogeneous_layer_cycle_interval=2"];
    const line = [
      ...["decode", "base", "model_name=qwen3-next-tiny", "override_model_config=true", "prompt=the cat"],
      ...[`load_parameters_path=${folder}`, "max_prefill_predict_length=64", "max_target_length=72"],
      ...[...sizes, "dtype=float32"],
    ];
    expect(await q3c(line)).toMatchObject({
      code: 2,
      err: expect.stringMatching(
        /tokenizer-missing: .*with has no tokenizer\.json, and no tokenizer is named\n/,
      ),
    });
    cpSync(tokenizer, folder, { recursive: true });
    const { out, code } = await q3c(line);
    expect(code).toBe(0);
    expect(out).toBe((await q3c(["decode", ...own(), "prompt=the cat"])).out);
  });

  test("a path on another machine is one error, without a warning of the same", async () => {
    const { code, err } = await q3c(["decode", ...own(), "load_parameters_path=gs://b/0/items"]);
    expect([code, err.match(/remote-path/g)]).toEqual([2, ["remote-path"]]);
  });

  test("several prompts, whatever their batches, have the answers each has alone", async () => {
    const prompts = ["the cat", "a", "they're the hats on the mats", "1234"];
    const flags = prompts.flatMap((prompt) => ["--prompt", prompt]);
    const all = await Promise.all(
      [1, 2].map(async (rows) => {
        const { out } = await q3c(["decode", ...own(), `per_device_batch_size=${rows}`, "--json", ...flags]);
        return answers(out).map(({ prompt, text, tokens, end }) => ({ prompt, text, tokens, end }));
      }),
    );
    expect(all[0]!.map(({ prompt }) => prompt)).toEqual(prompts);
    expect(all[1]).toEqual(all[0]);
    const { out } = await q3c(["decode", ...own(), "per_device_batch_size=2", ...flags]);
    expect(out).toBe(all[0]!.map(({ prompt, text }) => `Input \`${prompt}\` -> \`${text}\``).join("\n"));
  });

  test("the same seed gives the same answer, another one another", async () => {
    const line = ["decode", ...own(), "decode_sampling_strategy=weighted", "--json"];
    const of = async (seed: number) => answers((await q3c([...line, `--seed=${seed}`])).out)[0].tokens;
    const [first, again, other] = [await of(1), await of(1), await of(2)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    for (const id of [...first, ...other]) expect(id).toBeLessThan(291);
  });

  test("an answer ends at the end-of-text of the files beside the weights", async () => {
    const folder = scratch();
    for (const name of ["config.json", "model.safetensors"])
      copyFileSync(join(model, name), join(folder, name));
    const line = ["decode", ...own(), `load_parameters_path=${folder}`, "--json"];
    const [plain] = answers((await q3c(line)).out);
    const stop = plain.tokens[2];
    writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [stop] }));
    const [stopped] = answers((await q3c(line)).out);
    const until = plain.tokens.indexOf(stop);
    expect(stopped).toMatchObject({ tokens: plain.tokens.slice(0, until + 1), end: "stop" });
    expect(plain.text.startsWith(stopped.text)).toBe(true);
  });

  test("the tokenizer that was converted along is found in the step, whatever of it is named", async () => {
    const [folder, tree] = [scratch(), join(scratch(), "tree")];
    for (const from of [model, tokenizer]) cpSync(from, folder, { recursive: true });
    expect((await q3c(["convert", folder, tree])).code).toBe(0);
    const named = await q3c(["decode", ...own(), "prompt=the hat", "--json"]);
    const line = own().filter((word) => !word.startsWith("tokenizer_"));
    for (const path of ["0/items", "0", ""]) {
      const found = await q3c([
        ...["decode", ...line, `load_parameters_path=${join(tree, path)}`],
        ...["prompt=the hat", "--json"],
      ]);
      expect(answers(found.out)).toEqual(answers(named.out));
    }
  });

  test("a chat is rendered with its template", async () => {
    const template = "{{ messages[0].content }}|{{ messages[1].content }}>";
    const chat = [
      "use_chat_template=true",
      `chat_template=${template}`,
      "system_prompt=be",
      "prompt=the hat",
    ];
    const [rendered] = answers((await q3c(["decode", ...own(), ...chat, "--json"])).out);
    const [plain] = answers((await q3c(["decode", ...own(), "prompt=be|the hat>", "--json"])).out);
    expect(rendered).toMatchObject({ prompt: "the hat", tokens: plain.tokens });
  });

  test("log probabilities come when they are asked for, and chunks change nothing", async () => {
    const line = ["decode", ...own(), "prompt=the cat's hat", "return_log_prob=true", "--json"];
    const [whole] = answers((await q3c(line)).out);
    expect(whole.log_probs).toHaveLength(whole.tokens.length);
    expect(whole.prompt_log_probs).toHaveLength(whole.prompt_tokens - 1);
    const [parts] = answers((await q3c([...line, "use_chunked_prefill=true", "prefill_chunk_size=3"])).out);
    expect(parts.tokens).toEqual(whole.tokens);
    for (const key of ["log_probs", "prompt_log_probs"])
      (parts[key] as number[]).forEach((x, i) => {
        expect(Math.abs(x - whole[key][i])).toBeLessThan(1e-4);
      });
  });

  test.each<[string, string[], number, string]>([
    [
      "a prompt too long",
      ["prompt=a b c d e f g h", "max_prefill_predict_length=4"],
      2,
      "the prompt has 14 tokens",
    ],
    ["no room for an answer", ["max_prefill_predict_length=72"], 2, "leaves nothing to write"],
    ["no prompt", ["prompt="], 2, "the prompt has no tokens"],
    ["no template", ["use_chat_template=true"], 2, "has no chat template"],
    ["another answer", ["autoregressive_decode_assert=Paris"], 1, 'not with "Paris"'],
    ["a seed that is none", ["--seed=1.5"], 2, "--seed takes a whole number"],
    ["topk of nothing", ["decode_sampling_strategy=topk"], 2, "decode_sampling_top_k"],
  ])("%s is refused", async (_name, more, code, said) => {
    const found = await q3c(["decode", ...own(), ...more]);
    expect({ code: found.code, isSaid: found.err.includes(said) || found.err }).toEqual({
      code,
      isSaid: true,
    });
  });
});
