// q3c decode: continues prompts, as MaxText's decode.
import { setImmediate as breathe } from "node:timers/promises";
import { fail } from "../compiler/diag.ts";
import type { Acceptance } from "../runtime/decode/speculate.ts";
import type { Command } from "./command.ts";
import { readModelConfig } from "./config.ts";
import { startEngine } from "./engine.ts";

const flags = {
  prompt: { value: "strings", doc: "a prompt, in place of prompt=...; may be given several times" },
  seed: { value: "number", doc: "what random choices begin with", default: 1234 },
} as const;

export const decode: Command<typeof flags> = {
  name: "decode",
  summary: "Continue prompts with text.",
  usage: "decode <config.yml | base> [key=value ...]",
  details: [
    "Takes MaxText's keys: prompt (at most max_prefill_predict_length tokens), max_target_length, and how a token is chosen: decode_sampling_strategy, decode_sampling_nucleus_p, decode_sampling_top_k, decode_sampling_temperature. Weights come from load_parameters_path or the folder that model_name names, else they are new ones; the tokenizer from tokenizer_path, else it is the one beside the weights.",
    "An answer ends with an end-of-text token of the tokenizer, generation_config.json or config.json; else it has max_target_length - max_prefill_predict_length + 1 tokens, like MaxText's. use_chat_template=true makes the prompt a user's turn, after system_prompt, by the tokenizer's template or chat_template_path. Several prompts are answered per_device_batch_size at a time.",
    "num_speculative_tokens=k lets the multi-token prediction head of the checkpoint draft k tokens, which the model checks in one run: the same greedy answer, in less time where drafts are right. How many drafts were right is printed at the end.",
    "Text is printed as it comes. With --json each line is a JSON object, whose kind is start, answer, speed or drafts; return_log_prob=true puts log probabilities into answers.",
  ],
  examples: [
    'q3c decode base model_name=qwen3-next-tiny tokenizer_type=byte prompt="I love to" max_target_length=80',
  ],
  flags,
  maxTextModules: ["maxtext.inference.decode", "MaxText.decode"],
  async run({ args, flags: given, io }) {
    if (!Number.isSafeInteger(given.seed))
      fail({ code: "bad-flag-value", message: `--seed takes a whole number, found ${given.seed}` }, 2);
    const config = await readModelConfig(args, io, given.json);
    if (given.prompt.length > 0 && config.origin("prompt").from === "command line")
      fail(
        {
          code: "bad-flag-value",
          message: "prompts are given by `prompt` and by `--prompt`",
          at: config.spanOf("prompt"),
          help: "give all of them with --prompt",
        },
        2,
      );
    const { decode: answer } = await import("../runtime/decode/decode.ts");
    const engine = await startEngine(config);
    const expected = config.values.autoregressive_decode_assert;
    let unexpected: string | undefined;
    await answer(config, engine, {
      cwd: io.cwd,
      prompts: given.prompt,
      seed: given.seed,
      breathe: () => breathe(),
      on(event) {
        if (event.kind === "answer" && !event.text.startsWith(expected)) unexpected ??= event.text;
        if (given.json) {
          if (event.kind !== "prompt" && event.kind !== "text") io.out(JSON.stringify(event));
          return;
        }
        switch (event.kind) {
          case "start":
            io.err(`weights: ${event.weights}`);
            if (event.experts !== null) io.err(`experts: ${event.experts}`);
            return;
          case "prompt":
            io.write(`Input \`${event.prompt}\` -> \``);
            return;
          case "text":
            io.write(event.text);
            return;
          case "answer":
            io.write("`\n");
            return;
          case "speed":
            io.err(speedLine(event.tokens, event.seconds));
            return;
          case "drafts":
            io.err(draftsLine(event));
            return;
        }
      },
    });
    if (unexpected !== undefined)
      fail({
        code: "unexpected-answer",
        message: `the answer begins with ${JSON.stringify(unexpected.slice(0, expected.length))}, not with ${JSON.stringify(expected)}`,
        at: config.spanOf("autoregressive_decode_assert"),
      });
    return 0;
  },
};

const speedLine = (tokens: number, seconds: number): string =>
  tokens === 0
    ? "one token, no speed to tell"
    : `${(tokens / seconds).toFixed(1)} tokens/s (${tokens} tokens in ${seconds.toFixed(2)} s after the first)`;

/** Of the drafts at each place how many were right, with all before them. */
function draftsLine({ drafted, accepted }: Acceptance): string {
  if (drafted.length === 0) return "nothing drafted";
  const shares = drafted.map(
    (count, place) => `${Math.round((100 * (accepted[place] ?? 0)) / count)} % of ${count}`,
  );
  return `drafts accepted, by place: ${shares.join(", ")}`;
}
