// q3c decode with a head that drafts: made here, so its drafts are wrong more often than not.
import { join, resolve } from "node:path";
import { beforeAll, expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { draftParams, forwardModel } from "../../compiler/model.ts";
import { claimDirectory, saveHuggingFace } from "../../runtime/checkpoint/save.ts";
import { initialWeights } from "../../runtime/train/init.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const directory = scratch();

beforeAll(() => {
  const args = ["base", "model_name=qwen3-next-tiny", "override_model_config=true", "vocab_size=320"];
  const config = loadConfig([...args, "base_output_directory=unused"], {
    env: {},
    cwd: directory,
    modelsDir: resolve("models"),
  });
  const { params } = forwardModel(config);
  const all = [...params, ...draftParams(config)];
  saveHuggingFace(claimDirectory(join(directory, "plain")), config, params, initialWeights(params, 7));
  saveHuggingFace(claimDirectory(join(directory, "drafting")), config, all, initialWeights(all, 7));
});

const decode = (model: string, ...more: string[]) =>
  q3c([
    "decode",
    "base",
    `model_name=${join(directory, model)}`,
    "tokenizer_type=huggingface",
    `tokenizer_path=${resolve("tests/data/tiny-tokenizer")}`,
    "dtype=float32",
    "max_prefill_predict_length=16",
    "max_target_length=28",
    "prompt=the cat",
    ...more,
  ]);

test("drafts change nothing but the time, and it is said how many were right", async () => {
  const plain = await decode("drafting");
  const drafted = await decode("drafting", "num_speculative_tokens=2");
  expect([drafted.code, drafted.out]).toEqual([0, plain.out]);
  expect(drafted.err).toMatch(/\ndrafts accepted, by place: \d+ % of \d+, \d+ % of \d+$/);
  const scored = ["num_speculative_tokens=2", "return_log_prob=true", "--json"];
  const kinds = (out: string) =>
    out
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ kind }) => kind !== "speed");
  const [start, answer, drafts, ...rest] = kinds((await decode("drafting", ...scored)).out);
  expect(rest).toEqual([]);
  expect([start, answer]).toEqual(kinds((await decode("drafting", "return_log_prob=true", "--json")).out));
  expect(drafts).toMatchObject({ kind: "drafts", drafted: [expect.any(Number), expect.any(Number)] });
});

test("without a head, with sampling, or where experts drop tokens there is no drafting", async () => {
  const missing = await decode("plain", "num_speculative_tokens=2");
  expect([missing.code, missing.err.split("\n")[0]]).toEqual([
    2,
    "command line:1:24: decode-draft: num_speculative_tokens=2 takes a head for multi-token prediction, and the weights have none",
  ]);
  const weighted = await decode("drafting", "num_speculative_tokens=2", "decode_sampling_strategy=weighted");
  expect([weighted.code, weighted.err.split("\n")[0]]).toEqual([
    2,
    "command line:1:26: misfit: `num_speculative_tokens` is for greedy decoding, and `decode_sampling_strategy=weighted`",
  ]);
  const dropping = await decode(
    "drafting",
    ...["num_speculative_tokens=2", "sparse_matmul=false", "capacity_factor=2"],
  );
  expect([dropping.code, dropping.err.split("\n")[0]]).toEqual([
    2,
    "command line:1:17: misfit: drafts are read together, and experts that drop tokens would give them other logits than one by one: set capacity_factor=-1",
  ]);
});
