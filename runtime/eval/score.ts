// How likely a model finds the ends of texts.

import { invariant } from "../../compiler/diag.ts";
import { logSumExp } from "./log-softmax.ts";
import type { OpenModel } from "./open-model.ts";
import type { Reading } from "./reading.ts";

/** A text to score a part of. */
export type Scored = {
  readonly tokens: readonly number[];
  /** The tokens from here on, at least 1, are scored given all before them. */
  readonly from: number;
  /** As many first tokens as other texts have, too: they may be read once for all. */
  readonly shared: number;
};

/** What scoring needs of a model. */
export type ScoringModel = Pick<OpenModel, "vocab" | "canCut" | "begin">;

/** Scores texts by what a model thinks of their tokens. */
export type Scorer = {
  /**
   * The log likelihood of each item's scored tokens. Items whose tokens, without the last one, begin another's are read
   * off that one's run: answers of one token to the same question take one run together. The numbers are the same to
   * the bit whatever was scored before, for where a text is cut follows from itself.
   */
  logLikelihoods(items: readonly Scored[]): readonly number[];
  close(): void;
};

// A shorter beginning is read faster than a run of its own takes.
const LEAST_SHARED = 64;

/** A scorer that has read nothing yet. */
export function openScorer({ vocab, canCut, begin }: ScoringModel): Scorer {
  let kept: { readonly tokens: readonly number[]; readonly reading: Reading } = {
    tokens: [],
    reading: begin(),
  };

  const readingOf = (tokens: readonly number[]): Reading => {
    if (commonLength(tokens, kept.tokens) === Math.max(tokens.length, kept.tokens.length))
      return kept.reading;
    kept.reading.close();
    kept = { tokens, reading: begin() };
    if (tokens.length > 0) kept.reading.read(tokens);
    return kept.reading;
  };

  return {
    logLikelihoods(items) {
      const sums = new Array<number>(items.length).fill(0);
      for (const { tokens, readers } of shareRuns(items)) {
        const first = Math.min(...readers.map(({ item }) => item.from)) - 1;
        invariant(first >= 0, "what is scored has something before it");
        const shared = Math.min(first, ...readers.map(({ item }) => item.shared));
        const length = canCut && shared >= LEAST_SHARED ? shared : 0;
        const logits = readingOf(tokens.slice(0, length)).peek(tokens.slice(length), tokens.length - first);
        for (const { index, item } of readers) {
          const scored = item.tokens.slice(item.from);
          sums[index] = scored.reduce(
            (sum, token, i) => sum + logProbability(logits, vocab, item.from + i - 1 - first, token),
            0,
          );
        }
      }
      return sums;
    },
    close: () => kept.reading.close(),
  };
}

/** The log probability of a token by a row of logits [rows, vocab]. */
function logProbability(logits: Float32Array, vocab: number, row: number, token: number): number {
  const numbers = logits.subarray(row * vocab, (row + 1) * vocab);
  return (numbers[token] ?? Number.NaN) - logSumExp(numbers);
}

/** How many first tokens two texts have in common. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  const end = a.findIndex((token, i) => token !== b[i]);
  return end < 0 ? a.length : end;
}

type Reader = { readonly index: number; readonly item: Scored };
type SharedRun = { readonly tokens: readonly number[]; readonly readers: Reader[] };

function shareRuns(items: readonly Scored[]): readonly SharedRun[] {
  const runs: SharedRun[] = [];
  const longestFirst = items
    .map((item, index) => ({ item, index }))
    .toSorted((a, b) => b.item.tokens.length - a.item.tokens.length);
  for (const reader of longestFirst) {
    const read = reader.item.tokens.slice(0, -1);
    const host = runs.find(({ tokens }) => commonLength(read, tokens) === read.length);
    if (host) host.readers.push(reader);
    else runs.push({ tokens: read, readers: [reader] });
  }
  return runs;
}
