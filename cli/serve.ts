// q3c serve: a model behind OpenAI's HTTP interface.
import { fail } from "../compiler/diag.ts";
import type { Command } from "./command.ts";
import { readModelConfig } from "./config.ts";
import { startEngine } from "./engine.ts";
import { reportFailure } from "./failure.ts";

const flags = {
  host: {
    value: "string",
    doc: "address to listen on; 0.0.0.0 lets other machines in",
    default: "127.0.0.1",
  },
  port: { value: "number", doc: "port to listen on; 0 takes a free one", default: 8000 },
} as const;

export const serve: Command<typeof flags> = {
  name: "serve",
  summary: "Serve a model over HTTP, with OpenAI's API.",
  usage: "serve <config.yml | base> [key=value ...] [--port=8000]",
  details: [
    "Endpoints: /v1/completions (echo, logprobs, stream), /v1/chat/completions, /v1/models, /health, and vLLM's /tokenize, /detokenize and /tokenizer_info. The model's name is model_name; prompt and answer take max_target_length tokens together. A request says how its tokens are chosen; decode_sampling_* have no effect here.",
    "Weights and tokenizer are those of `q3c decode`, and so is the template of chats (chat_template_path).",
    "lm-evaluation-harness reads it as --model local-completions with base_url=http://127.0.0.1:8000/v1/completions, model=<model_name> and max_length=<max_target_length>, and needs no tokenizer of its own.",
    "There is no password: whoever reaches the port may use the model. Ctrl-C or SIGTERM answers what was asked and ends; a second one ends at once.",
  ],
  examples: ["q3c serve base model_name=qwen3-next-tiny tokenizer_type=byte --port=0"],
  flags,
  maxTextModules: ["benchmarks.api_server.maxtext_server"],
  async run({ args, flags: given, io }) {
    const { host, port } = given;
    if (!Number.isSafeInteger(port) || port < 0 || port > 65535)
      fail(
        { code: "bad-flag-value", message: `--port must be a whole number from 0 to 65535, found ${port}` },
        2,
      );
    const config = await readModelConfig(args, io, given.json);
    const { openModel } = await import("../runtime/eval/open-model.ts");
    const { serve: start } = await import("../runtime/serve/serve.ts");
    const opened = openModel(config, await startEngine(config), io.cwd);
    const name = config.values.model_name;
    const serving = await start({
      model: { ...opened, name },
      host,
      port,
      onError: (error) => void reportFailure(error, io, given),
    });
    const facts = { url: `${serving.url}/v1`, model: name, max_model_len: opened.maxTokens };
    if (given.json) io.out(JSON.stringify(facts));
    else io.out(`serving ${name} (${opened.origin}) at ${facts.url}`);
    await io.untilStopped();
    io.err("stopping");
    await serving.stop();
    return 0;
  },
};
