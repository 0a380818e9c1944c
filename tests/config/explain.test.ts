import { expect, test } from "@jest/globals";
import { explainKey } from "../../compiler/config/explain.ts";
import { fixture } from "./fixture.ts";

test("a key is explained by its row of the table", () => {
  expect(explainKey("steps")).toBe(
    [
      "steps: an integer; default 150001",
      "Training steps; -1 means learning_rate_schedule_steps.",
      "q3c acts on it.",
    ].join("\n"),
  );
  expect(explainKey("sa_block_q")).toBe(
    [
      "sa_block_q: an integer of at least 1; default 512",
      "Tile of queries, forward.",
      "q3c accepts any value, which cannot change the result: it only tunes attention kernels of TPUs and GPUs.",
    ].join("\n"),
  );
  expect(explainKey("attention_type")).toBe(
    [
      'attention_type: one of global, local_sliding, chunk, mla, full, compressed, block_diffusion; default "global"',
      "Which tokens a token attends to.",
      'q3c supports only "global", "full": the architectures attend to all earlier tokens.',
    ].join("\n"),
  );
});

test("what q3c does not do yet is not claimed", () => {
  const last = (name: string) => explainKey(name).split("\n").at(-1);
  expect(last("packing")).toBe(
    "q3c accepts any value and does nothing with it yet: q3c gives each document sequences of its own, as packing=false does.",
  );
  expect(last("enable_tensorboard")).toBe(
    "q3c accepts only true, false and does nothing with it yet: metrics_file is where q3c writes metrics.",
  );
  expect(last("num_epoch")).toBe("q3c supports only 1: text repeats until the steps are done.");
});

test("with a configuration it says the value and where that is from", () => {
  const config = fixture().load(["base", "model_name=qwen3-next-tiny", "steps=5"]);
  expect(explainKey("steps", config)).toMatch(/\nNow 5 \(command line, command line:1:7\)\.$/);
  expect(explainKey("vocab_size", config)).toMatch(
    /\nNow 256 \(model, models\/qwen3-next-tiny\.yml:30:13\)\.$/,
  );
  expect(explainKey("packing", config)).toMatch(/\nNow true \(default\)\.$/);
  expect(explainKey("emb_dim", config)).toBe(
    [
      "emb_dim: computed, cannot be set",
      "base_emb_dim, grown by its share of global_parameter_scale.",
      "Now 64 (computed).",
    ].join("\n"),
  );
});

test("an unknown name gets a suggestion", () => {
  expect(() => explainKey("stepz")).toThrow(
    "unknown-key: there is no key `stepz`\nhelp: did you mean `steps`?",
  );
});
