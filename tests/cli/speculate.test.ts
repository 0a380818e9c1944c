// q3c decode with a head that drafts: made here, so its drafts are wrong more often than not.
import { join, resolve } from "node:path";
import { beforeAll, expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { draftParams, forwardModel } from "../../compiler/model.ts";
import { saveHuggingFace } from "../../runtime/checkpoint/save.ts";
import { claimDirectory } from "../../runtime/claimed-directory.ts";
import { initialWeights } from "../../runtime/train/init.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const directory = scratch();

beforeAll(() => {
  const sizes = ["vocab_size=320", "base_num_decoder_layers=2", "inhomogeneous_layer_cycle_interval=2"];
  const args = ["base", "model_name=qwen3-next-tiny", "override_model_config=true", ...sizes];
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
    "max_target_length=24",
    "prompt=the cat",
    ...more,
  ]);

const events = (out: string) =>
  out
    .split("\n")
    .map((line) => JSON.parse(line))
    .filter(({ kind }) => kind !== "speed");

test("drafts change nothing but the time, and it is said how many were right", async () => {
  const scored = ["return_log_prob=true", "--json"];
  const [start, answer] = events((await decode("drafting", ...scored)).out);
  const drafting = await decode("drafting", "num_speculative_tokens=2", ...scored);
  expect(events(drafting.out)).toEqual([
    start,
    answer,
    {
      kind: "drafts",
      drafted: [expect.any(Number), expect.any(Number)],
      accepted: [expect.any(Number), expect.any(Number)],
    },
  ]);
  const { code, out, err } = await decode("drafting", "num_speculative_tokens=2");
  expect([code, out]).toEqual([0, `Input \`the cat\` -> \`${answer.text}\``]);
  expect(err).toMatch(/\ndrafts accepted, by place: \d+ % of \d+, \d+ % of \d+$/);
});

test("without a head there is no drafting", async () => {
  const { code, err } = await decode("plain", "num_speculative_tokens=2");
  expect([code, err.split("\n")[0]]).toEqual([
    2,
    "command line:1:24: decode-draft: num_speculative_tokens=2 needs a head for multi-token prediction, and the weights have none",
  ]);
});
