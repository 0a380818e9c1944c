// q3c golden-logits: writes the logits of prompts as a golden file, as MaxText's generate_hf_golden_logits.
import { resolve } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { didYouMean, fail } from "../compiler/diag.ts";
import type { PromptLogits } from "../runtime/eval/golden-record.ts";
import type { Call, Command, Io } from "./command.ts";
import { readModelConfig } from "./config.ts";
import { startEngine } from "./engine.ts";
import { isFolder } from "./folder.ts";
import { showProgress } from "./progress.ts";
import { pythonOf } from "./python.ts";

const flags = {
  "model-id": {
    value: "string",
    doc: "the model: a Hugging Face folder, or with --engine=hf a name of the Hub",
  },
  "output-path": { value: "string", doc: "the golden file" },
  prompts: { value: "string", doc: "texts, separated by semicolons" },
  engine: {
    value: "string",
    doc: "what computes: q3c, or hf for transformers in Python (hf if --model-id is not a folder)",
  },
  python: { value: "string", doc: "the Python of --engine=hf (Q3C_PYTHON, else python3)" },
  "hf-model-path": { value: "string", doc: "the weights, if --model-id is only the tokenizer" },
  "hf-load-dtype": {
    value: "string",
    doc: "float32, bfloat16, or auto for the checkpoint's own",
    default: "float32",
  },
  "trust-remote-code": { doc: "let transformers run code that comes with the model (MaxText does unasked)" },
  "apply-chat-template": { doc: "make each prompt a chat of one question" },
  "output-format": { value: "string", doc: "json (JSON Lines) or pickle", default: "json" },
  overwrite: { doc: "let --output-path replace a file" },
  "gcs-bucket": { value: "string", doc: "refused: q3c writes local files" },
  "image-paths": { value: "string", doc: "refused: q3c takes text only" },
} as const;

type Given = Call<typeof flags>["flags"];

/** A flag that has to be one of a few words. */
function requireWord<W extends string>(name: string, found: string, words: readonly W[]): W {
  const word = words.find((each) => each === found);
  const message = `--${name} is one of ${words.join(", ")}, got ${found}`;
  return word ?? fail({ code: "bad-flag-value", message, help: didYouMean(found, words) }, 2);
}

function required(name: "model-id" | "output-path" | "prompts", given: Given): string {
  const text = given[name];
  if (text !== undefined && text !== "") return text;
  return fail({ code: "missing-flag", message: `--${name} is needed: ${flags[name].doc}` }, 2);
}

function refuseUnsupported(given: Given): void {
  for (const [name, help] of [
    ["gcs-bucket", "copy the file there yourself"],
    ["image-paths", undefined],
  ] as const)
    if (given[name] !== undefined)
      fail(
        { code: "bad-flag-value", message: `--${name} is not supported: ${flags[name].doc.slice(9)}`, help },
        2,
      );
}

/** By q3c's own engine: the configuration's model, or the folder that --model-id names. */
async function* ownLogits(
  prompts: readonly string[],
  args: readonly string[],
  given: Given,
  io: Io,
): AsyncGenerator<PromptLogits, void> {
  const config = await readModelConfig(configArgs(args, given), io, given.json);
  const { promptLogits } = await import("../runtime/eval/own-logits.ts");
  const { weightsOrigin } = await import("../runtime/starting-weights.ts");
  const engine = await startEngine(config);
  const logits = promptLogits(config, engine, prompts, {
    cwd: io.cwd,
    applyChatTemplate: given["apply-chat-template"],
  });
  if (!given.json) io.out(`computed by q3c on ${engine.name}, weights ${weightsOrigin(config)}`);
  for (const each of logits) {
    yield each;
    await breathe();
  }
}

/** The configuration's arguments, with what the flags say about the model. */
function configArgs(args: readonly string[], given: Given): readonly string[] {
  const { "model-id": id, "hf-model-path": weights, "hf-load-dtype": dtype } = given;
  if (id === undefined) return args;
  const isGiven = (key: string): boolean => args.some((arg) => arg.startsWith(`${key}=`));
  return [
    ...(args[0] === undefined || args[0].includes("=") ? ["base"] : []),
    ...args,
    `model_name=${weights ?? id}`,
    ...(weights === undefined ? [] : ["tokenizer_type=huggingface", `tokenizer_path=${id}`]),
    ...["dtype", "weight_dtype"]
      .filter((key) => dtype !== "auto" && !isGiven(key))
      .map((key) => `${key}=${dtype}`),
  ];
}

/** By transformers in Python. */
async function* transformersLogits(
  prompts: readonly string[],
  args: readonly string[],
  given: Given,
  io: Io,
): AsyncGenerator<PromptLogits, void> {
  const id = required("model-id", given);
  if (args.length > 0)
    fail(
      {
        code: "bad-flag-value",
        message: `--engine=hf takes no configuration, found \`${args[0]}\``,
        help: "name the model with --model-id alone",
      },
      2,
    );
  const { transformersLogits: run } = await import("../runtime/eval/transformers-logits.ts");
  const request = {
    model: given["hf-model-path"] ?? id,
    tokenizer: id,
    prompts,
    dtype: given["hf-load-dtype"],
    trust_remote_code: given["trust-remote-code"],
    apply_chat_template: given["apply-chat-template"],
  };
  const python = pythonOf(given.python, io);
  yield* run(request, python);
  if (!given.json)
    io.out(`computed by transformers in ${python.command}, weights read from ${request.model}`);
}

const engines = { q3c: ownLogits, hf: transformersLogits } as const;
const engineNames = Object.keys(engines) as readonly (keyof typeof engines)[];

function engineOf(given: Given, cwd: string): keyof typeof engines {
  if (given.engine !== undefined) return requireWord("engine", given.engine, engineNames);
  const id = given["model-id"];
  return id === undefined || isFolder(resolve(cwd, id)) ? "q3c" : "hf";
}

export const goldenLogits: Command<typeof flags> = {
  name: "golden-logits",
  summary: "Write the logits of prompts as a golden file, by q3c or by transformers.",
  usage:
    "golden-logits [--model-id=<folder or name> | <config.yml | base> key=value ...] --output-path=<file.jsonl> --prompts='a;b;c'",
  details: [
    "Writes what `q3c check-logits` and MaxText's checker read: for each prompt its tokens and the logits of every position in float32. The file appears when all of it is written.",
    "q3c's own engine takes a configuration's arguments too, instead of --model-id or beside it. Goldens of another implementation come from --engine=hf, which runs transformers in a Python that has it and torch; a name of the Hub is downloaded there, by transformers.",
  ],
  examples: [
    "q3c golden-logits base model_name=qwen3-next-tiny tokenizer_type=byte --prompts='a;b' --output-path=golden.jsonl",
  ],
  flags,
  maxTextModules: ["tests.assets.logits_generation.generate_hf_golden_logits"],
  async run({ args, flags: given, io }) {
    refuseUnsupported(given);
    const path = resolve(io.cwd, required("output-path", given));
    const prompts = required("prompts", given).split(";");
    requireWord("hf-load-dtype", given["hf-load-dtype"], ["float32", "bfloat16", "auto"]);
    const { goldenFormats, openGoldenWriter } = await import("../runtime/eval/golden-writer.ts");
    const { recordOf } = await import("../runtime/eval/golden-record.ts");
    const format = requireWord("output-format", given["output-format"], goldenFormats);
    const compute = engines[engineOf(given, io.cwd)];
    const writer = openGoldenWriter(path, format, { overwrite: given.overwrite });
    const progress = showProgress(io, { label: "prompt", elsewhere: "quiet" });
    try {
      let done = 0;
      for await (const logits of compute(prompts, args, given, io)) {
        writer.write(recordOf(logits));
        progress(++done, prompts.length);
      }
      writer.finish();
    } finally {
      writer.abandon();
    }
    if (given.json) io.out(JSON.stringify({ path, prompts: prompts.length, format }));
    else io.out(`File is stored locally at ${given["output-path"]}.`);
    return 0;
  },
};
