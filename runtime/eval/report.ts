// What the logit check found, as the lines MaxText's checker prints and as JSON.

import { counted, formatPlace, type Place } from "../../compiler/diag.ts";
import type { Candidate, Comparison, Difference, Sample, TopTokens } from "./compare.ts";
import { type LogitKind, rowsOf } from "./golden-record.ts";

/** A check of one golden record. */
export type RecordCheck = {
  readonly kind: LogitKind;
  readonly index: number;
  /** Where the record is. */
  readonly place: Place;
  readonly prompt: string;
  readonly tokens: readonly number[];
  readonly comparison: Comparison;
  /** Why the record does not pass: one sentence each. */
  readonly failures: readonly string[];
  readonly passed: boolean;
};

/** What a record is held to. */
export type Criteria = {
  readonly atol?: number | undefined;
  readonly rtol: number;
  readonly maxKlDiv?: number | undefined;
};

/** The check of a whole golden file. */
export type LogitCheck = {
  readonly passed: boolean;
  readonly criteria: Criteria;
  readonly records: readonly RecordCheck[];
};

/** Why a comparison does not meet the criteria; nothing when it does. */
export function failuresOf(comparison: Comparison, { atol, rtol, maxKlDiv }: Criteria): readonly string[] {
  const { notFinite, tolerance, maxKl, vocab, start, end } = comparison;
  const failures: string[] = [];
  if (notFinite) {
    const { first, count } = notFinite;
    failures.push(
      `the model gave ${counted(count, "logit")} that ${count === 1 ? "is" : "are"} not finite; the first is ${number(first.model)} at position ${first.position}, id ${first.id}`,
    );
  }
  if (tolerance && tolerance.mismatches > 0) {
    const { position, id, model, golden } = tolerance.worst;
    failures.push(
      `${tolerance.mismatches} of ${counted((end - start) * vocab, "logit")} lie outside atol=${atol} + rtol=${rtol} * |golden|; the worst is at position ${position}, id ${id}: model ${number(model)}, golden ${number(golden)}`,
    );
  }
  if (maxKlDiv !== undefined && !(maxKl.value < maxKlDiv)) {
    failures.push(
      `KL divergence ${scientific(maxKl.value)} at position ${maxKl.position} is not below max_kl_div=${maxKlDiv}`,
    );
  }
  return failures;
}

/** The lines printed for one record. */
export function recordLines(
  record: RecordCheck,
  criteria: Criteria,
  decode: (id: number) => string,
): readonly string[] {
  const { kind, index, prompt, tokens, comparison, failures, place } = record;
  const { modelVocab, goldenVocab, topTokens, relativeL2, maxAbsolute, maxRelative } = comparison;
  const { atol, rtol, maxKlDiv } = criteria;
  const where = [formatPlace(place), ...(place.part === undefined ? [] : [place.part])].join(": ");
  return [
    "",
    `--- Comparing ${kind === "logits" ? "forward pass" : "multi-token prediction"} for golden data index: ${index} ---`,
    ` prompt=${JSON.stringify(prompt)} raw ids (first 20)=[${tokens.slice(0, 20).join(" ")}], ${kind}.shape = (${rowsOf(kind, tokens.length)}, ${goldenVocab})`,
    ...(modelVocab === goldenVocab
      ? []
      : [
          `Vocab size mismatch: model logits vocab size ${modelVocab}, golden logits vocab size ${goldenVocab}. Comparing up to the smaller vocab size.`,
        ]),
    ...sampleLines("logits", comparison.logitSample, comparison.vocab),
    "",
    "[numerical difference]",
    ...differenceLines("absolute", maxAbsolute),
    ...differenceLines("relative", maxRelative),
    `Relative L2 error: ${scientific(relativeL2)}`,
    ...topLines("model", topTokens.model, decode),
    ...topLines("golden", topTokens.golden, decode),
    ...similarityLines(topTokens),
    ...sampleLines("probability", comparison.probabilitySample, comparison.vocab),
    ...klLines(comparison, tokens),
    "",
    "[test criteria]",
    ...(atol === undefined
      ? []
      : [
          `Checking numerical differences between model logits and golden logits against atol=${atol} rtol=${rtol}.`,
        ]),
    ...(maxKlDiv === undefined
      ? []
      : [
          `Checking KL divergence between model distribution and golden distribution against threshold ${maxKlDiv}.`,
        ]),
    ...failures.map((failure) => `FAILED: ${where}: ${failure}`),
    ...(failures.length === 0 ? [`passed: ${where}`] : []),
  ];
}

/** The lines printed after all records. */
export function verdictLines({ passed, records }: LogitCheck): readonly string[] {
  const failed = records.filter((record) => !record.passed);
  const last = passed
    ? `PASSED: ${counted(records.length, "record")}`
    : `FAILED: ${failed.length} of ${counted(records.length, "record")}: golden data index ${failed.map(({ index }) => index).join(", ")}`;
  return ["", last];
}

/** The check as JSON text. JSON has no word for NaN and the infinities: they are strings there. */
export const checkJson = (check: LogitCheck): string =>
  JSON.stringify(
    check,
    (_, value: unknown) => (typeof value === "number" && !Number.isFinite(value) ? `${value}` : value),
    2,
  );

const special = (x: number): string => (Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf");

// As Python's `.2e`: two digits of exponent at least.
const scientific = (x: number): string =>
  Number.isFinite(x) ? x.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2") : special(x);

// Eight digits say all that a float32 holds, or nearly.
const number = (x: number): string => (Number.isFinite(x) ? `${Number(x.toPrecision(8))}` : special(x));

function sampleLines(what: string, sample: Sample | undefined, vocab: number): readonly string[] {
  if (!sample) return [];
  const row = (values: readonly number[]): string => {
    const words = values.map(number);
    const isWhole = words.length === vocab;
    return `[${(isWhole ? words : [...words.slice(0, words.length / 2), "...", ...words.slice(words.length / 2)]).join(" ")}]`;
  };
  return [
    "",
    `[${what}: token ${sample.position}]`,
    `golden: ${row(sample.golden)}`,
    `model:  ${row(sample.model)}`,
  ];
}

const differenceLines = (kind: string, at: Difference): readonly string[] => [
  `Max ${kind} difference: ${scientific(at.value)} at index (${at.position}, ${at.id})`,
  `  (Model: ${scientific(at.model)}, Golden: ${scientific(at.golden)})`,
];

function topLines(
  side: string,
  candidates: readonly Candidate[],
  decode: (id: number) => string,
): readonly string[] {
  const row = (id: string, token: string, score: string): string =>
    `| ${id.padEnd(10)} | ${token.padEnd(20)} | ${score.padEnd(10)} |`;
  // A line break within a token must not break the table.
  const shown = (id: number): string => JSON.stringify(decode(id).trim()).slice(1, -1);
  return [
    "",
    `--- ${side} top ${candidates.length} tokens ---`,
    row("Token ID", "Token", "Score"),
    `|${"-".repeat(12)}|${"-".repeat(22)}|${"-".repeat(12)}|`,
    ...candidates.map(({ id, score }) =>
      row(`${id}`, shown(id), Number.isFinite(score) ? score.toFixed(4) : special(score)),
    ),
  ];
}

function similarityLines({ model, golden, overlap, jaccard, rankAgreement }: TopTokens): readonly string[] {
  const row = (metric: string, value: string): string => `| ${metric.padEnd(30)} | ${value.padEnd(20)} |`;
  return [
    "",
    "--- Similarity Metrics of Top Tokens ---",
    row("Metric", "Value"),
    `|${"-".repeat(32)}|${"-".repeat(22)}|`,
    row("overlap_count", `${overlap}/${Math.min(model.length, golden.length)}`),
    row("jaccard_similarity", number(jaccard)),
    row("rank_agreement_percentage", number(rankAgreement)),
  ];
}

const klLines = ({ kl, maxKl }: Comparison, tokens: readonly number[]): readonly string[] => [
  "",
  "[KL divergence]",
  `KL divergence = [${kl.map(scientific).join(" ")}]`,
  `max KL divergence = ${scientific(maxKl.value)} at index ${maxKl.position}, the corresponding token id is ${tokens[maxKl.position]}`,
];
