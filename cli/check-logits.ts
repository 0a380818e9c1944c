// q3c check-logits: a model's logits against golden ones, as MaxText's forward_pass_logit_checker.

import { resolve } from "node:path";
import type { Config } from "../compiler/config/load.ts";
import { fail } from "../compiler/diag.ts";
import type { GoldenRecord } from "../runtime/eval/golden-record.ts";
import type { Call, Command, Io } from "./command.ts";
import { readModelConfig } from "./config.ts";
import { startEngine } from "./engine.ts";
import { pythonOf } from "./python.ts";

const flags = {
  golden_logits_path: {
    value: "string",
    doc: "golden file, .jsonl, .pickle or .pkl (also golden_logits_path=...)",
  },
  max_kl_div: { value: "number", doc: "KL divergence that every position must stay below" },
  atol: { value: "number", doc: "absolute tolerance of every logit" },
  rtol: { value: "number", doc: "relative tolerance beside --atol", default: 1e-5 },
  token_size: { value: "number", doc: "positions compared (all)" },
  clip_logits_epsilon: { value: "number", doc: "floor of probabilities before the KL divergence" },
  skip_first_token: { doc: "leave out the first position" },
  output_logits_path: {
    value: "string",
    doc: "file for the model's own logits, as a golden file, with the KL divergence both ways",
  },
  overwrite: { doc: "let --output_logits_path replace a file" },
  run_hf_model: { doc: "compute the golden logits now, by transformers in Python" },
  hf_model_path: { value: "string", doc: "the model of --run_hf_model: a folder, or a name of the Hub" },
  python: { value: "string", doc: "the Python of --run_hf_model (Q3C_PYTHON, else python3)" },
  trust_remote_code: { doc: "let transformers run code that comes with the model (MaxText does unasked)" },
  ckpt_type: { value: "string", doc: "no effect: q3c sees what a checkpoint is" },
  gcs_output_logits_path: { value: "string", doc: "refused: q3c writes local files" },
} as const;

type Given = Call<typeof flags>["flags"];

/** The golden path may stand among the configuration's arguments. */
const inArgs = "golden_logits_path=";

/** What a run with transformers compares: MaxText's short prompts, and one long enough to show wrong positions. */
const hfPrompts = [
  "I love to",
  "Today is a",
  "What is the",
  `Let us count: ${Array.from({ length: 160 }, (_, i) => i + 1).join(", ")}`,
];

/** The records to hold the model against: of a golden file, or of transformers. */
async function openGolden(
  path: string | undefined,
  given: Given,
  config: Config,
  io: Io,
): Promise<Iterable<GoldenRecord> | AsyncIterable<GoldenRecord>> {
  if (!given.run_hf_model) {
    if (path === undefined || path === "")
      return fail(
        {
          code: "golden-missing",
          message: "no golden file is named",
          help: "pass --golden_logits_path=<file.jsonl>, or --run_hf_model --hf_model_path=<folder>",
        },
        2,
      );
    const { readGolden } = await import("../runtime/eval/golden.ts");
    return readGolden(resolve(io.cwd, path));
  }
  const { hf_model_path: model } = given;
  if (model === undefined || model === "")
    return fail({ code: "missing-flag", message: "--run_hf_model needs --hf_model_path" }, 2);
  const { goldenFromTransformers } = await import("../runtime/eval/transformers-logits.ts");
  const request = {
    model,
    tokenizer: model,
    prompts: hfPrompts,
    dtype: config.values.dtype,
    trust_remote_code: given.trust_remote_code,
    apply_chat_template: false,
  };
  return goldenFromTransformers(request, pythonOf(given.python, io));
}

/** Text of a token: the tokenizer's when the configuration names one, else its id. */
async function decoder({ values }: Config, cwd: string): Promise<(id: number) => string> {
  if (!values.tokenizer_path && values.tokenizer_type !== "byte") return (id) => `<${id}>`;
  const { openTokenizer } = await import("../runtime/tokenizer/tokenizer.ts");
  const tokenizer = openTokenizer({ type: values.tokenizer_type, path: values.tokenizer_path ?? "", cwd });
  return (id) => tokenizer.decode([id]);
}

export const checkLogits: Command<typeof flags> = {
  name: "check-logits",
  summary: "Compare a model's logits with golden ones; the exit code says whether they agree.",
  usage:
    "check-logits <config.yml | base> [key=value ...] --golden_logits_path=<file.jsonl> --max_kl_div=<x>",
  details: [
    "Takes MaxText's golden files (JSON Lines or a pickle, with tokens and logits) and its flags; a pickle is read, nothing in it is called. A record's mtp_logits, one row fewer, are held against the checkpoint's multi-token prediction head. Every record is run at its own length; weights come from load_parameters_path or the folder that model_name names.",
    "--run_hf_model runs transformers beside it, on four prompts of its own.",
    "At least one of --max_kl_div and --atol is needed. Exit code 0 when every record passes, 1 when one does not.",
  ],
  examples: [
    "q3c golden-logits base model_name=qwen3-next-tiny tokenizer_type=byte --prompts='I love to;Today is a' --output-path=own.jsonl",
    "q3c check-logits base model_name=qwen3-next-tiny tokenizer_type=byte --golden_logits_path=own.jsonl --max_kl_div=1e-6",
  ],
  flags,
  maxTextModules: ["tests.utils.forward_pass_logit_checker"],
  async run({ args, flags: given, io }) {
    if (given.gcs_output_logits_path !== undefined)
      fail(
        {
          code: "bad-flag-value",
          message: "--gcs_output_logits_path is not supported: q3c writes local files",
          help: "write one with --output_logits_path and copy it there",
        },
        2,
      );
    const path = given.golden_logits_path ?? args.find((arg) => arg.startsWith(inArgs))?.slice(inArgs.length);
    const ownArgs = args.filter((arg) => !arg.startsWith(inArgs));
    const config = await readModelConfig(ownArgs, io, given.json);
    const { openForward } = await import("../runtime/forward.ts");
    const { startingDraft, startingWeights, weightsOrigin } = await import("../runtime/starting-weights.ts");
    const { checkLogits: check } = await import("../runtime/eval/check-logits.ts");
    const { checkJson } = await import("../runtime/eval/report.ts");
    const { requireFit } = await import("../runtime/engines/engine.ts");
    const { forwardModel, moduleStats } = await import("../compiler/model.ts");
    const out = given.json ? () => {} : io.out;
    const engine = await startEngine(config);
    const { module, params } = forwardModel(config);
    requireFit(engine, moduleStats(module).parameters * 4, "the weights");
    const golden = await openGolden(path, given, config, io);
    const result = await check({
      golden,
      async open() {
        out(`weights: ${weightsOrigin(config)}`);
        const head = startingDraft(config);
        const weights = new Map([...startingWeights(config, params), ...(head?.weights ?? [])]);
        const forward = openForward(config, engine, weights);
        return {
          forward: async (tokens) => forward.run(tokens),
          draft: head && (async (tokens) => forward.draft(tokens)),
        };
      },
      decode: await decoder(config, io.cwd),
      modelVocab: config.values.vocab_size,
      atol: given.atol,
      rtol: given.rtol,
      maxKlDiv: given.max_kl_div,
      tokenSize: given.token_size,
      clipLogitsEpsilon: given.clip_logits_epsilon,
      skipFirstToken: given.skip_first_token,
      outputLogitsPath: given.output_logits_path,
      overwrite: given.overwrite,
      out,
    });
    if (given.json) io.out(checkJson(result));
    return result.passed ? 0 : 1;
  },
};
