// How likely a model finds the ends of texts.

import { invariant } from "../../compiler/diag.ts";
import { logSumExp } from "./log-softmax.ts";
import type { Reading } from "./reading.ts";

/** Tokens of which those from `from` on, at least 1, are scored given all before them. */
export type Scored = { readonly tokens: readonly number[]; readonly from: number };

/** What scoring needs of a model. */
export type ScoringModel = { readonly vocab: number; begin(): Reading };

export type Scorer = {
  /**
   * The log likelihood of each item's scored tokens. Items whose tokens, without the last one, begin another's are read
   * off that one's run: answers of one token to the same question take one run together. What a text begins with as
   * the one before it did is read once and kept, such as the examples above many questions.
   */
  logLikelihoods(items: readonly Scored[]): readonly number[];
  close(): void;
};

// A beginning shorter than this is read faster than it is kept.
const LEAST_KEPT = 16;

/** A scorer that has read nothing yet. */
export function openScorer({ vocab, begin }: ScoringModel): Scorer {
  let previous: readonly number[] = [];
  let kept = { length: 0, reading: begin() };

  /** A reading of the longest beginning that is kept or worth keeping, at most `most` tokens of these. */
  const beginningOf = (tokens: readonly number[], most: number): typeof kept => {
    const common = Math.min(most, commonLength(tokens, previous));
    const isUsable = kept.length > 0 && kept.length <= common;
    const length = isUsable ? kept.length : common < LEAST_KEPT ? 0 : common;
    if (length !== kept.length) {
      kept.reading.close();
      kept = { length, reading: begin() };
      if (length > 0) kept.reading.read(tokens.slice(0, length), false);
    }
    previous = tokens;
    return kept;
  };

  return {
    logLikelihoods(items) {
      const sums = new Array<number>(items.length).fill(0);
      for (const { tokens, readers } of shareRuns(items)) {
        const first = Math.min(...readers.map(({ item }) => item.from)) - 1;
        invariant(first >= 0, "what is scored has something before it");
        const { length, reading } = beginningOf(tokens, first);
        const isEach = first < tokens.length - 1;
        const logits = reading.peek(tokens.slice(length), isEach);
        const start = isEach ? length : first;
        for (const { index, item } of readers) {
          const scored = item.tokens.slice(item.from);
          sums[index] = scored.reduce(
            (sum, token, i) => sum + logProbability(logits, vocab, item.from + i - 1 - start, token),
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

function commonLength(a: readonly number[], b: readonly number[]): number {
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
