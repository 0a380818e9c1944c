// The answers of a run as a file that only grows, so that a run that was stopped goes on where it was.

import { fail } from "../../../compiler/diag.ts";
import { isRecord } from "../../../compiler/json.ts";
import { parseJsonLine } from "../../data/json-lines.ts";
import { openLines } from "../../files.ts";

/** What a model made of one question. */
export type Answered = {
  readonly subject: string;
  /** Which of its subject's questions, from 0. */
  readonly index: number;
  /** The index of the right choice. */
  readonly answer: number;
  /** The index of the model's choice; null if it made none. */
  readonly chosen: number | null;
  /** How many tokens of the prompt's beginning were left out to make the rest fit. */
  readonly truncated: number;
  /** The log likelihood of each choice's letter, or the text that the model wrote. */
  readonly logLikelihoods?: readonly number[];
  readonly output?: string;
};

/** What a run is, by name: answers of runs that differ in any of it do not go together. */
export type RunFacts = Readonly<Record<string, string | number | null>>;

/** Answers known already, and a place for further ones. */
export type Results = {
  find(subject: string, index: number): Answered | undefined;
  add(answered: Answered): void;
  close(): void;
};

const keyOf = (subject: string, index: number): string => `${subject}/${index}`;

/** Answers held in memory only. */
export function memoryResults(known: readonly Answered[] = []): Results {
  const answers = new Map(known.map((one) => [keyOf(one.subject, one.index), one]));
  return {
    find: (subject, index) => answers.get(keyOf(subject, index)),
    add: (answered) => void answers.set(keyOf(answered.subject, answered.index), answered),
    close() {},
  };
}

/** Answers in a file: the first line says which run they are of, each other one is an answer. */
export function fileResults(path: string, facts: RunFacts): Results {
  const { lines, append, close } = openLines(path);
  try {
    const [first, ...rest] = lines.map((text, i) => readLine(path, text, i + 1));
    if (first) requireSame(path, facts, first);
    else append(JSON.stringify(facts));
    const held = memoryResults(rest.map((value, i) => answeredOf(path, value, i + 2)));
    return {
      find: held.find,
      add(answered) {
        append(JSON.stringify(answered));
        held.add(answered);
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function readLine(path: string, text: string, line: number): Readonly<Record<string, unknown>> {
  const value = parseJsonLine(path, text, line);
  return isRecord(value) ? value : failLine(path, line, "a JSON object");
}

function requireSame(path: string, facts: RunFacts, found: Readonly<Record<string, unknown>>): void {
  for (const [name, now] of Object.entries(facts)) {
    if (found[name] === now) continue;
    fail({
      code: "mmlu-results",
      message: `these are answers of another run: ${name} was ${JSON.stringify(found[name] ?? null)}, and is ${JSON.stringify(now)}`,
      at: { file: path },
      help: "name another --output_path, or run with what the file was begun with",
    });
  }
}

function answeredOf(path: string, value: Readonly<Record<string, unknown>>, line: number): Answered {
  const { subject, index, answer, chosen, truncated } = value;
  const isIndex = (x: unknown): boolean => Number.isSafeInteger(x) && Number(x) >= 0;
  const isGood = typeof subject === "string" && [index, answer, truncated, chosen ?? 0].every(isIndex);
  if (!isGood) return failLine(path, line, "an answer with subject, index, answer, chosen and truncated");
  return value as Answered;
}

const failLine = (path: string, line: number, expected: string): never =>
  fail({
    code: "mmlu-results",
    message: `expected ${expected}`,
    at: { file: path, line, column: 1 },
    help: "name another --output_path, or remove the file",
  });
