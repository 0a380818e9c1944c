// q3c mmlu: multiple-choice questions, as MaxText's mmlu_eval and lm-evaluation-harness ask them.
import { resolve } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import type { Config } from "../compiler/config/load.ts";
import { fail } from "../compiler/diag.ts";
import type { Judge } from "../runtime/eval/mmlu/evaluate.ts";
import type { OpenModel } from "../runtime/eval/open-model.ts";
import type { Command } from "./command.ts";
import { readModelConfig } from "./config.ts";
import { startEngine } from "./engine.ts";
import { showProgress } from "./progress.ts";

const flags = {
  data_path: { value: "string", doc: "folder, file or pattern with MMLU's files" },
  num_fewshot: {
    value: "number",
    doc: "dev questions of the subject shown first with their answers",
    default: 0,
  },
  limit: { value: "number", doc: "questions of each subject, from its first (all)" },
  scoring: { value: "string", doc: "how answers are taken: likelihood or generation", default: "likelihood" },
  prompt_template: { value: "string", doc: "template with {subject}, {question} and {choices} (MaxText's)" },
  output_path: { value: "string", doc: "file for each answer; a run that was stopped goes on from it" },
} as const;

/** A flag that counts something. */
function requireCount(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least)) return;
  const message = `--${name} must be a whole number from ${least} up, found ${value}`;
  fail({ code: "bad-flag-value", message }, 2);
}

// MaxText begins its random choices with it too.
const SEED = 1234;

/** A way of taking answers, the most tokens of a prompt for it in words, and how tokens are chosen if they are. */
async function openJudge(scoring: "likelihood" | "generation", config: Config, model: OpenModel) {
  const { max_prefill_predict_length: maxPrompt } = config.values;
  const { maxTokens } = model;
  if (scoring === "generation") {
    const { byGeneration } = await import("../runtime/eval/mmlu/generation.ts");
    const { samplingOf } = await import("../runtime/decode/sampling.ts");
    const options = { sampling: samplingOf(config), seed: SEED, maxPrompt, maxTokens };
    return {
      judge: byGeneration(model, options),
      room: `${maxPrompt} tokens (max_prefill_predict_length)`,
      sampling: JSON.stringify(options.sampling),
    };
  }
  const { byLikelihood } = await import("../runtime/eval/mmlu/likelihood.ts");
  const { openScorer } = await import("../runtime/eval/score.ts");
  // As lm-evaluation-harness asks a server: with room for one token more, which it always has written.
  const judge: Judge = byLikelihood(openScorer(model), { ...model, maxTokens: maxTokens - 1 });
  const room = `${maxTokens - 1} tokens with their answer (max_target_length - 1)`;
  return { judge, room, sampling: null };
}

export const mmlu: Command<typeof flags> = {
  name: "mmlu",
  summary: "Answer MMLU's questions and say how many are right.",
  usage: "mmlu <config.yml | base> [key=value ...] --data_path=<folder> [--num_fewshot=5]",
  details: [
    "Reads the files of cais/mmlu (Parquet), of the first publication (CSV in test/ and dev/) and JSON Lines with question, choices, answer and subject. Nothing is downloaded.",
    'With --scoring=likelihood the answer is the letter with the highest log likelihood after the prompt, as lm-evaluation-harness scores `mmlu`; prompt and letter may take max_target_length - 1 tokens. With --scoring=generation the model writes, as decode_sampling_* say, until a capital letter follows "Answer:" or "The answer is", as MaxText\'s mmlu_eval has it; the prompt may take max_prefill_predict_length tokens. A longer prompt loses its beginning.',
    "Weights and tokenizer are those of `q3c decode`. --limit counts for each subject, as in lm-evaluation-harness.",
  ],
  examples: [
    "q3c mmlu base model_name=qwen3-next-tiny tokenizer_type=byte max_target_length=512 --data_path=mmlu --limit=1",
  ],
  flags,
  maxTextModules: ["benchmarks.mmlu.mmlu_eval"],
  async run({ args, flags: given, io }) {
    const { data_path: path, num_fewshot: shots, limit } = given;
    const { scoring } = given;
    if (scoring !== "likelihood" && scoring !== "generation") {
      const message = `--scoring must be likelihood or generation, found \`${scoring}\``;
      fail({ code: "bad-flag-value", message }, 2);
    }
    requireCount("num_fewshot", shots, 0);
    requireCount("limit", limit, 1);
    if (path === undefined || path === "") {
      const help = "pass --data_path=<folder of MMLU>; q3c downloads nothing";
      fail({ code: "mmlu-data", message: "no questions are named", help }, 2);
    }
    const config = await readModelConfig(args, io, given.json);
    const { readMmlu } = await import("../runtime/eval/mmlu/read.ts");
    const { DEFAULT_TEMPLATE, wordingOf } = await import("../runtime/eval/mmlu/prompt.ts");
    const { ask, digestOf, evaluate } = await import("../runtime/eval/mmlu/evaluate.ts");
    const { mmluLines, mmluReport } = await import("../runtime/eval/mmlu/report.ts");
    const { fileResults, memoryResults } = await import("../runtime/eval/mmlu/results.ts");
    const { openAsked } = await import("../runtime/eval/mmlu/model.ts");

    const template = given.prompt_template ?? DEFAULT_TEMPLATE;
    const askAll = { wording: wordingOf(template), shots, limit };
    const subjects = await readMmlu(path, io.cwd);
    const { count, digest } = digestOf(ask(subjects, askAll));
    const { model, facts: modelFacts } = openAsked(config, await startEngine(config), io.cwd);
    const { judge, room, sampling } = await openJudge(scoring, config, model);
    const asked = { num_fewshot: shots, limit: limit ?? null, questions: digest };
    const facts = { scoring, sampling, room, ...asked, ...modelFacts };
    const results =
      given.output_path === undefined
        ? memoryResults()
        : fileResults(resolve(io.cwd, given.output_path), facts);
    if (!given.json) io.out(`weights: ${model.origin}; scoring: ${scoring}`);
    const progress = showProgress(io, { label: "question", elsewhere: "quiet" });
    let done = 0;
    let right = 0;
    try {
      const answers = await evaluate(ask(subjects, askAll), judge, results, async (answered, isNew) => {
        done++;
        if (answered.chosen === answered.answer) right++;
        progress(done, count, `accuracy ${(right / done).toFixed(4)}`);
        if (isNew) await breathe();
      });
      const report = mmluReport(answers);
      if (given.json) io.out(JSON.stringify({ ...facts, ...report }));
      else for (const line of mmluLines(report, room)) io.out(line);
      return 0;
    } finally {
      results.close();
    }
  },
};
