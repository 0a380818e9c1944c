// The text that asks a question: MaxText's template, which lm-evaluation-harness words the same.

import { didYouMean, fail } from "../../../compiler/diag.ts";
import { lettersOf, type Question } from "./question.ts";

/** MaxText's template; `{choices}` is a line for each: its letter, a full stop, a space and its text. */
export const DEFAULT_TEMPLATE =
  "The following are multiple choice questions (with answers) about {subject}.\n\n{question}\n{choices}\nAnswer:";

const ASKED = "{question}";
const PLACES = ["{subject}", ASKED, "{choices}"];

/** A question as it is asked: what it has in common with others of its subject, and what is its own. */
export type Prompt = { readonly start: string; readonly end: string };

/** Words a question after some examples with their answers. */
export type Wording = (question: Question, examples: readonly Question[]) => Prompt;

/**
 * The wording of a template. What stands before `{question}` comes once, above all examples; an example ends in its letter
 * and an empty line.
 */
export function wordingOf(template: string): Wording {
  const stranger = template.match(/\{\w+\}/g)?.find((place) => !PLACES.includes(place));
  if (stranger !== undefined) {
    fail(
      {
        code: "mmlu-template",
        message: `the prompt template has a place \`${stranger}\`; its places are ${PLACES.join(", ")}`,
        help: didYouMean(stranger, PLACES),
      },
      2,
    );
  }
  const at = template.indexOf(ASKED);
  if (at < 0) {
    fail(
      {
        code: "mmlu-template",
        message: `the prompt template has no \`${ASKED}\`: ${JSON.stringify(template)}`,
        help: `its places are ${PLACES.join(", ")}`,
      },
      2,
    );
  }
  const [header, body] = [template.slice(0, at), template.slice(at)];
  return (question, examples) => {
    const shown = examples.map((one) => `${fill(body, one)} ${lettersOf(one)[one.answer]}\n\n`);
    return { start: `${fill(header, question)}${shown.join("")}`, end: fill(body, question) };
  };
}

// In one pass, so that braces within a question stay what they are.
function fill(template: string, question: Question): string {
  const letters = lettersOf(question);
  const places: Readonly<Record<string, string>> = {
    subject: question.subject.replaceAll("_", " "),
    question: question.question.trim(),
    choices: question.choices.map((choice, i) => `${letters[i]}. ${choice}`).join("\n"),
  };
  return template.replace(/\{(subject|question|choices)\}/g, (_, name: string) => places[name] ?? "");
}
