// What a run of MMLU found: accuracy overall, by category and by subject.

import { CATEGORIES, categoryOf } from "./categories.ts";
import type { Answered } from "./results.ts";
import { type Accuracy, accuracyOf, pooledAccuracy, type Tally } from "./statistics.ts";

/** Accuracies by name, and what readers of them should know. */
export type MmluReport = {
  readonly overall: Accuracy;
  readonly categories: Readonly<Record<string, Accuracy>>;
  readonly subjects: Readonly<Record<string, Accuracy>>;
  /** Questions whose prompt lost its beginning because it was too long. */
  readonly truncated: number;
  /** Questions from whose answer no choice could be read. */
  readonly unanswered: number;
};

const isCorrect = ({ chosen, answer }: Answered): boolean => chosen === answer;

/** Adds up answers, of which there is at least one. */
export function mmluReport(answers: readonly Answered[]): MmluReport {
  const tallies = new Map<string, Tally>();
  for (const one of answers) {
    const { correct, count } = tallies.get(one.subject) ?? { correct: 0, count: 0 };
    tallies.set(one.subject, { correct: correct + (isCorrect(one) ? 1 : 0), count: count + 1 });
  }
  const categories = Object.keys(CATEGORIES).map((category) => {
    const own = [...tallies].filter(([subject]) => categoryOf(subject) === category);
    return [category, own.map(([, tally]) => tally)] as const;
  });
  return {
    overall: pooledAccuracy([...tallies.values()]),
    categories: Object.fromEntries(
      categories.filter(([, own]) => own.length > 0).map(([name, own]) => [name, pooledAccuracy(own)]),
    ),
    subjects: Object.fromEntries([...tallies].map(([name, tally]) => [name, accuracyOf(tally)])),
    truncated: answers.filter(({ truncated }) => truncated > 0).length,
    unanswered: answers.filter(({ chosen }) => chosen === null).length,
  };
}

/** The report as a table for people; `room` says how many tokens of a prompt were read at most. */
export function mmluLines(
  { overall, categories, subjects, truncated, unanswered }: MmluReport,
  room: string,
): readonly string[] {
  const groups = [Object.entries(subjects), Object.entries(categories), [["overall", overall] as const]];
  const width = Math.max(...groups.flat().map(([name]) => name.length));
  const row = (cells: readonly string[]): string => {
    const [name = "", ...numbers] = cells;
    return [name.padEnd(width), ...numbers.map((cell, i) => cell.padStart(i === 3 ? 17 : 9))].join("");
  };
  const head = row(["", "questions", "accuracy", "stderr", "95 % interval"]);
  return [
    head,
    ...groups
      .filter((group) => group.length > 0)
      .flatMap((group) => [
        "-".repeat(head.length),
        ...group.map(([name, one]) => row([name, ...cellsOf(one)])),
      ]),
    "",
    "stderr as lm-evaluation-harness has it (pooled over subjects); the interval is Wilson's.",
    ...(truncated > 0
      ? [
          `${truncated} ${truncated === 1 ? "prompt was" : "prompts were"} longer than ${room} and lost the beginning.`,
        ]
      : []),
    ...(unanswered > 0
      ? [`${unanswered} ${unanswered === 1 ? "answer names" : "answers name"} no choice: wrong.`]
      : []),
  ];
}

function cellsOf({ count, accuracy, standardError, interval: [low, high] }: Accuracy): readonly string[] {
  return [
    `${count}`,
    accuracy.toFixed(4),
    standardError?.toFixed(4) ?? "-",
    `${low.toFixed(4)} - ${high.toFixed(4)}`,
  ];
}
