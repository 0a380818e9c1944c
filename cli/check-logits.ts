// q3c check-logits: a model's logits against golden ones, as MaxText's forward_pass_logit_checker.

import type { Config } from "../compiler/config/load.ts";
import { fail } from "../compiler/diag.ts";
import type { Command } from "./command.ts";
import { printWarnings, readConfig } from "./config.ts";
import { startEngine } from "./engine.ts";

const flags = {
  golden_logits_path: { value: "string", doc: "golden file, JSON Lines (also golden_logits_path=...)" },
  max_kl_div: { value: "number", doc: "KL divergence that every position must stay below" },
  atol: { value: "number", doc: "absolute tolerance of every logit" },
  rtol: { value: "number", doc: "relative tolerance beside --atol", default: 1e-5 },
  token_size: { value: "number", doc: "positions compared (all)" },
  clip_logits_epsilon: { value: "number", doc: "floor of probabilities before the KL divergence" },
  skip_first_token: { doc: "leave out the first position" },
  output_logits_path: { value: "string", doc: "file for the model's own logits, as a golden file" },
} as const;

/** The golden path may stand among the configuration's arguments. */
function goldenPathIn(
  args: readonly string[],
  flag: string | undefined,
): { path: string; rest: readonly string[] } {
  const prefix = "golden_logits_path=";
  const given = args.find((arg) => arg.startsWith(prefix))?.slice(prefix.length);
  const path = flag ?? given;
  if (path === undefined || path === "")
    fail(
      {
        code: "golden-missing",
        message: "no golden file is named",
        help: "pass --golden_logits_path=<file.jsonl>",
      },
      2,
    );
  return { path, rest: args.filter((arg) => !arg.startsWith(prefix)) };
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
    "Takes MaxText's golden files (JSON Lines with tokens and logits) and its flags. A record's mtp_logits, one row less, are held against the checkpoint's multi-token prediction head. Every record is run at its own length; weights come from model_name (a Hugging Face folder) or load_parameters_path.",
    "At least one of --max_kl_div and --atol is needed. Exit code 0 when every record passes, 1 when one does not.",
  ],
  flags,
  maxTextModules: ["tests.utils.forward_pass_logit_checker"],
  async run({ args, flags: given, io }) {
    const { path, rest } = goldenPathIn(args, given.golden_logits_path);
    const config = await readConfig(rest, io);
    printWarnings(config, io, given.json, false);
    const { openForward } = await import("../runtime/forward.ts");
    const { startingDraft, startingWeights, weightsOrigin } = await import("../runtime/starting-weights.ts");
    const { checkLogits: check } = await import("../runtime/eval/check-logits.ts");
    const { checkJson } = await import("../runtime/eval/report.ts");
    const { requireFit } = await import("../runtime/engines/engine.ts");
    const { requireReadable } = await import("../runtime/files.ts");
    const { forwardModel, moduleStats } = await import("../compiler/model.ts");
    const out = given.json ? () => {} : io.out;
    const { requireLocal } = await import("../compiler/config/remote.ts");
    requireLocal(config, "load_parameters_path", "tokenizer_path");
    const engine = await startEngine(config);
    const { module, params } = forwardModel(config);
    requireFit(engine, moduleStats(module).parameters * 4, "the weights");
    requireReadable(path);
    out(`weights: ${weightsOrigin(config)}`);
    const head = startingDraft(config);
    const weights = new Map([...startingWeights(config, params), ...(head?.weights ?? [])]);
    const forward = openForward(config, engine, weights);
    const result = await check({
      goldenPath: path,
      forward: async (tokens) => forward.run(tokens),
      draft: head && (async (tokens) => forward.draft(tokens)),
      decode: await decoder(config, io.cwd),
      modelVocab: config.values.vocab_size,
      atol: given.atol,
      rtol: given.rtol,
      maxKlDiv: given.max_kl_div,
      tokenSize: given.token_size,
      clipLogitsEpsilon: given.clip_logits_epsilon,
      skipFirstToken: given.skip_first_token,
      outputLogitsPath: given.output_logits_path,
      out,
    });
    if (given.json) io.out(checkJson(result));
    return result.passed ? 0 : 1;
  },
};
