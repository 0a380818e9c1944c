// Asks a model the questions of MMLU and counts the right answers.

import { createHash } from "node:crypto";
import { fail } from "../../../compiler/diag.ts";
import type { Prompt, Wording } from "./prompt.ts";
import type { Question } from "./question.ts";
import type { Subject } from "./read.ts";
import type { Answered, Results } from "./results.ts";

/** What a model makes of a prompt. */
export type Verdict = Pick<Answered, "chosen" | "truncated" | "logLikelihoods" | "output">;

/** A way of having a model answer. */
export type Judge = (prompt: Prompt, question: Question) => Verdict | Promise<Verdict>;

/** A question as it is asked. */
export type Asked = { readonly question: Question; readonly index: number; readonly prompt: Prompt };

/** Which questions are asked, and how. */
export type AskOptions = {
  readonly wording: Wording;
  /** How many questions of a subject's dev split come first, with their answers. */
  readonly shots: number;
  /** Most questions of each subject; all if not given. */
  readonly limit?: number | undefined;
};

/** The questions of all subjects in order, worded. */
export function* ask(subjects: readonly Subject[], { wording, shots, limit }: AskOptions): Generator<Asked> {
  for (const { name, test, dev } of subjects) {
    if (dev.length < shots) {
      fail({
        code: "mmlu-fewshot",
        message: `${name} has ${dev.length} dev questions, and --num_fewshot=${shots} needs ${shots}`,
        help: "put the files of the dev split beside those of the test split, or ask for fewer examples",
      });
    }
    const examples = dev.slice(0, shots);
    for (const [index, question] of test.slice(0, limit).entries())
      yield { question, index, prompt: wording(question, examples) };
  }
}

/** How many questions there are, and a digest of all that is asked and of the answers. */
export function digestOf(asked: Iterable<Asked>): { readonly count: number; readonly digest: string } {
  const hash = createHash("sha256");
  let count = 0;
  for (const { question, prompt } of asked) {
    hash.update(JSON.stringify([question.subject, question.answer, prompt.start + prompt.end]));
    count++;
  }
  return { count, digest: hash.digest("hex").slice(0, 16) };
}

/** Asks what has no result yet, adds what the model answers, and gives all answers in order. */
export async function evaluate(
  asked: Iterable<Asked>,
  judge: Judge,
  results: Results,
  onAnswer: (answered: Answered, isNew: boolean) => Promise<void> | void,
): Promise<readonly Answered[]> {
  const all: Answered[] = [];
  for (const { question, index, prompt } of asked) {
    const { subject, answer } = question;
    const known = results.find(subject, index);
    const answered = known ?? { subject, index, answer, ...(await judge(prompt, question)) };
    if (!known) results.add(answered);
    all.push(answered);
    await onAnswer(answered, !known);
  }
  return all;
}
