// q3c serve with a real model.
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { logSumExp } from "../../runtime/eval/log-softmax.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingWeights } from "../../runtime/starting-weights.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { q3c } from "../cli/support.ts";
import { post } from "./support.ts";

const small = [
  "examples/train.yml",
  ..."base_emb_dim=16 head_dim=8 gdn_key_head_dim=8 gdn_value_head_dim=8 base_moe_mlp_dim=8 base_mlp_dim=8".split(
    " ",
  ),
  ..."base_num_decoder_layers=2 inhomogeneous_layer_cycle_interval=2 max_target_length=64".split(" "),
];

test("it answers until it is stopped, with the model's own log probabilities", async () => {
  let stop = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  let listening = (_: string): void => {};
  const line = new Promise<string>((resolve) => {
    listening = resolve;
  });
  const io = { out: (text: string) => listening(text), untilStopped: () => stopped };
  const outcome = q3c(["serve", ...small, "--port=0", "--json"], { io });
  const { url, model, max_model_len } = JSON.parse(await line);
  expect([model, max_model_len]).toEqual(["default", 64]);

  const prompt = "Which of them?";
  const asked = { prompt, max_tokens: 1, echo: true, logprobs: 1, temperature: 0 };
  const [one, two] = await Promise.all([0, 1].map(() => post(url, "/completions", asked)));
  expect(one!.body.choices).toEqual(two!.body.choices);
  const [{ text, logprobs }] = one!.body.choices;

  const config = loadConfig(small, { env: {}, cwd: process.cwd(), modelsDir: join(process.cwd(), "models") });
  const { params } = forwardModel(config);
  const forward = openForward(config, await startTfjsEngine(), startingWeights(config, params));
  const tokens = byteTokenizer.encode(prompt);
  const { logits, vocab } = forward.run(tokens);
  const rows = tokens.map((_, i) => logits.subarray(i * vocab, (i + 1) * vocab));
  for (const [i, id] of tokens.entries()) {
    const row = rows[i - 1];
    const value = logprobs.token_logprobs[i];
    if (row) expect(value).toBeCloseTo(row[id]! - logSumExp(row), 4);
    else expect(value).toBeNull();
  }
  const last = rows.at(-1)!;
  expect(logprobs.token_logprobs.at(-1)).toBeCloseTo(Math.max(...last) - logSumExp(last), 4);
  expect(text.startsWith(prompt)).toBe(true);

  const sampled = { prompt, max_tokens: 20, seed: 5, top_p: 0.9, top_k: 40, temperature: 0.8 };
  const drawn = await Promise.all([0, 1].map(() => post(url, "/completions", sampled)));
  expect(drawn[0]!.body.choices).toEqual(drawn[1]!.body.choices);

  stop();
  expect(await outcome).toMatchObject({ code: 0, err: "stopping" });
  await expect(fetch(`${url}/models`)).rejects.toThrow();
});

test("a port that is none is refused at once", async () => {
  for (const port of ["-1", "70000", "1.5"])
    expect(await q3c(["serve", ...small, `--port=${port}`])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/--port must be a whole number from 0 to 65535/),
    });
});
