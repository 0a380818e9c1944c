// Prompts as the model reads them, and what may stand in an answer.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { allowedIn, promptReader, stopsOf } from "../../runtime/decode/prompts.ts";
import { samplingOf } from "../../runtime/decode/sampling.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import type { Tokenizer } from "../../runtime/tokenizer/tokenizer.ts";
import { scratch } from "../support/scratch.ts";

const load = (...args: string[]) =>
  loadConfig(["base", "model_name=qwen3-next-tiny", "base_output_directory=unused", ...args], {
    env: {},
    cwd: process.cwd(),
    modelsDir: resolve("models"),
  });

const withBos: Tokenizer = { ...byteTokenizer, bosId: 1 };
const chatModel: Tokenizer = {
  ...withBos,
  specials: { bos_token: "^" },
  chatTemplate: {
    text: "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}",
    from: "here",
  },
};
const read = (tokenizer: Tokenizer, ...args: string[]) =>
  promptReader(load(...args), tokenizer, process.cwd())("ab").ids;

test("beginning-of-text comes first if there is one, add_bos asks for it and the tokenizer is no chat model's", () => {
  expect(read(withBos)).toEqual([1, 97, 98]);
  expect(read(withBos, "add_bos=false")).toEqual([97, 98]);
  expect(read(byteTokenizer)).toEqual([97, 98]);
  expect(read(chatModel)).toEqual([97, 98]);
});

test("a template says itself what comes first", () => {
  const text = (...args: string[]) =>
    byteTokenizer.decode(read(chatModel, "use_chat_template=true", ...args));
  expect(text()).toBe("^u:ab;");
  expect(text("system_prompt=be")).toBe("^s:be;u:ab;");
});

test("an answer ends with what the tokenizer or the files beside the weights call end-of-text", () => {
  const folder = scratch();
  const config = load(`load_parameters_path=${folder}`);
  const tokenizer = { ...byteTokenizer, eosIds: [3] };
  expect(stopsOf(config, tokenizer)).toEqual(new Set([3]));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ eos_token_id: 4 }));
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [5, 4] }));
  expect(stopsOf(config, tokenizer)).toEqual(new Set([3, 4, 5]));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ eos_token_id: "x" }));
  expect(() => stopsOf(config, tokenizer)).toThrow("expected eos_token_id to be an id or a list of ids");
});

test("an id without a token may not be chosen", () => {
  const tokenizer = { ...byteTokenizer, has: (id: number) => id % 3 === 0 };
  expect([...allowedIn(7, tokenizer)]).toEqual([1, 0, 0, 1, 0, 0, 1]);
});

test("how a token is chosen is the configuration's word", () => {
  const config = load(
    "decode_sampling_strategy=composite",
    "decode_sampling_nucleus_p=0.8",
    "decode_sampling_top_k=5",
    "decode_sampling_temperature=0.7",
  );
  expect(samplingOf(config)).toEqual({ strategy: "composite", nucleusP: 0.8, topK: 5, temperature: 0.7 });
});
