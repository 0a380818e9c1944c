// Everything `q3c explain` knows: configuration keys, computed values, topics that several keys are about, ops, passes.
import { derivedDocs, type ValueName } from "../compiler/config/derived.ts";
import { explainKey } from "../compiler/config/explain.ts";
import { declarationOf, isKey, keyNames, sections } from "../compiler/config/keys.ts";
import type { Config } from "../compiler/config/load.ts";
import { didYouMean, fail } from "../compiler/diag.ts";
import { findOp, opNames } from "../compiler/ops/index.ts";
import { passes } from "../passes/index.ts";
import type { Pass } from "../passes/pass.ts";
import { opJson, opLines } from "./explain-op.ts";
import { placeJson } from "./failure.ts";
import { type Topic, topics } from "./topics.ts";

/** One meaning of a word, in both forms. A few have two: `attention` is a key and an op, `remat` an op and a pass. */
export type Subject = { readonly lines: readonly string[]; readonly json: Readonly<Record<string, unknown>> };

const computedNames = Object.keys(derivedDocs);
const hasValue = (word: string): word is ValueName => isKey(word) || Object.hasOwn(derivedDocs, word);

const topicNames = topics.flatMap(({ names }) => names);

/** Whether a word means more with a configuration. */
export const takesConfig = (word: string): boolean => hasValue(word) || topicNames.includes(word);

function currentJson(name: ValueName, config: Config | undefined): Readonly<Record<string, unknown>> {
  if (!config) return {};
  const { from, at } = config.origin(name);
  return { value: config.values[name], from, at: at ? placeJson(at) : null };
}

function valueJson(name: ValueName): Readonly<Record<string, unknown>> {
  if (!isKey(name))
    return { kind: "computed", name, doc: `${derivedDocs[name as keyof typeof derivedDocs]}.` };
  const { type, default: usual, doc, effect } = declarationOf(name);
  return { kind: "key", name, type: type.name, default: usual, doc, effect };
}

function topicSubject(word: string, topic: Topic, config: Config | undefined): Subject {
  const { names, title, keys } = topic;
  const lines = topic.explain(config);
  return {
    lines: [`${names.includes(word) ? word : names[0]}: ${title}`, ...lines],
    json: { kind: "topic", name: names[0], title, keys, lines },
  };
}

const passNames = passes.map(({ name }) => name);
const passSubject = ({ name, doc, details = [] }: Pass): Subject => ({
  lines: [`${name}: a pass`, doc, ...details],
  json: { kind: "pass", name, doc, details },
});

/** The meanings of a word; values are those of the configuration, if there is one. */
export function subjectsOf(word: string, config: Config | undefined): readonly Subject[] {
  const op = findOp(word);
  const subjects = [
    ...(hasValue(word)
      ? [
          {
            lines: explainKey(word, config).split("\n"),
            json: { ...valueJson(word), ...currentJson(word, config) },
          },
        ]
      : []),
    ...topics
      .filter(({ names, keys }) => [...names, ...keys].includes(word))
      .map((topic) => topicSubject(word, topic, config)),
    ...(op ? [{ lines: opLines(op), json: opJson(op) }] : []),
    ...passes.filter(({ name }) => name === word).map(passSubject),
  ];
  if (subjects.length > 0) return subjects;
  const help =
    didYouMean(word, [...keyNames, ...computedNames, ...topicNames, ...opNames, ...passNames]) ??
    "`q3c explain` lists all words";
  return fail(
    {
      code: "unknown-word",
      message: `\`${word}\` is not a configuration key, computed value, topic, op or pass`,
      help,
    },
    2,
  );
}

/** All words under their headings. */
export const headings: readonly { readonly title: string; readonly words: readonly string[] }[] = [
  ...sections.map(({ title, keys }) => ({ title: `Keys: ${title}`, words: Object.keys(keys) })),
  { title: "Values computed from keys", words: computedNames },
  { title: "Topics", words: topicNames },
  { title: "Ops", words: opNames },
  { title: "Passes", words: passNames },
];

/** All words as JSON shows them. */
export const wordsJson = {
  keys: keyNames,
  computed: computedNames,
  topics: topicNames,
  ops: opNames,
  passes: passNames,
};
