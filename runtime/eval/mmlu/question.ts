// A multiple-choice question, and how records of the usual files spell one.

import { fail, type Place } from "../../../compiler/diag.ts";

/** A question with its choices and the index of the right one. */
export type Question = {
  readonly subject: string;
  readonly question: string;
  /** Two of them at least, and no more than there are letters. */
  readonly choices: readonly string[];
  readonly answer: number;
};

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** The letters of a question's choices, in order. */
export const lettersOf = ({ choices }: Pick<Question, "choices">): readonly string[] =>
  Array.from(LETTERS.slice(0, choices.length));

/** A record of a file: values by the names of its columns, and where it stands. */
export type MmluRecord = {
  readonly values: Readonly<Record<string, unknown>>;
  /** As near as the format allows. */
  readonly place: () => Place;
};

/** The columns read, in lower case: each with the names that other copies of the data give it. */
const COLUMNS = {
  subject: ["subject"],
  question: ["question", "input"],
  choices: ["choices"],
  answer: ["answer", "target"],
} as const;

const choiceColumns = Array.from(LETTERS.toLowerCase());

/** Whether a question is read from a column of this name. */
export const isMmluColumn = (name: string): boolean =>
  [...Object.values(COLUMNS).flat(), ...choiceColumns].includes(name.toLowerCase());

/** The question that a record spells; `subject` is taken when the record has none. */
export function questionOf({ values, place }: MmluRecord, subject: string): Question {
  const bad = (message: string, help?: string): never =>
    fail({ code: "mmlu-question", message, at: place(), help });
  const lower = new Map(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]));
  const find = (names: readonly string[]): unknown => lower.get(names.find((name) => lower.has(name)) ?? "");
  const text = (what: string, value: unknown): string =>
    typeof value === "string" ? value : bad(`expected ${what} to be text, found ${shown(value)}`);
  const choices = choicesOf(find(COLUMNS.choices), lower);
  if (choices.length < 2 || choices.length > LETTERS.length)
    bad(
      `expected 2 to ${LETTERS.length} choices, found ${choices.length}`,
      "a list `choices`, or columns A, B, C, D",
    );
  const own = find(COLUMNS.subject) ?? subject;
  return {
    subject: text("the subject", own).trim().replaceAll(" ", "_"),
    question: text("the question", find(COLUMNS.question)),
    choices: choices.map((choice, i) => text(`choice ${LETTERS[i]}`, choice)),
    answer:
      answerIndex(find(COLUMNS.answer), choices.length) ??
      bad(
        `expected the answer to be a letter or an index of ${choices.length} choices, found ${shown(find(COLUMNS.answer))}`,
      ),
  };
}

function choicesOf(list: unknown, lower: ReadonlyMap<string, unknown>): readonly unknown[] {
  if (Array.isArray(list)) return list;
  const end = choiceColumns.findIndex((name) => !lower.has(name));
  return choiceColumns.slice(0, end < 0 ? undefined : end).map((name) => lower.get(name));
}

function answerIndex(value: unknown, count: number): number | undefined {
  const index =
    typeof value === "string" && /^[A-Z]$/i.test(value.trim())
      ? LETTERS.indexOf(value.trim().toUpperCase())
      : typeof value === "number" || typeof value === "bigint"
        ? Number(value)
        : -1;
  return Number.isInteger(index) && index >= 0 && index < count ? index : undefined;
}

const shown = (value: unknown): string =>
  value === undefined ? "none" : typeof value === "bigint" ? `${value}` : JSON.stringify(value).slice(0, 80);
