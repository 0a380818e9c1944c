// How likely a model finds given tokens, for MMLU and for the server's echo.

import { invariant } from "../../compiler/diag.ts";
import type { Logits } from "../forward.ts";
import { logSumExp } from "./log-softmax.ts";

/** Gives the logits of every position of a sequence. */
export type Run = (tokens: readonly number[]) => Logits;

/** Tokens of which those from `from` on, at least 1, are scored given all before them. */
export type Scored = { readonly tokens: readonly number[]; readonly from: number };

/**
 * The length that a sequence is padded to: less than a quarter longer, or 16 tokens. Every length costs a program, and
 * so there are four in each octave.
 */
export function paddedLength(length: number): number {
  const step = Math.max(16, 2 ** (Math.floor(Math.log2(Math.max(1, length))) - 2));
  return Math.ceil(length / step) * step;
}

/** Runs a sequence at its padded length: later positions cannot reach earlier ones, so these stay as they are. */
export const padding =
  (run: Run): Run =>
  (tokens) =>
    run([...tokens, ...new Array<number>(paddedLength(tokens.length) - tokens.length).fill(0)]);

/** The log probability of `token` after the tokens up to `position`. */
export function logProbability({ logits, vocab }: Logits, position: number, token: number): number {
  const row = logits.subarray(position * vocab, (position + 1) * vocab);
  return (row[token] ?? Number.NaN) - logSumExp(row);
}

/**
 * The log likelihood of each item's scored tokens. Items whose tokens, without the last one, begin another's are read
 * off that one's run: answers of one token to the same question take one run together.
 */
export function logLikelihoods(run: Run, items: readonly Scored[]): readonly number[] {
  const sums = new Array<number>(items.length).fill(0);
  for (const { tokens, readers } of shareRuns(items)) {
    const logits = run(tokens);
    for (const index of readers) sums[index] = sumOf(logits, items[index]);
  }
  return sums;
}

function sumOf(logits: Logits, item: Scored | undefined): number {
  invariant(item && item.from >= 1, "what is scored has something before it");
  const { tokens, from } = item;
  let sum = 0;
  for (const [i, token] of tokens.slice(from).entries()) sum += logProbability(logits, from + i - 1, token);
  return sum;
}

type SharedRun = { readonly tokens: readonly number[]; readonly readers: number[] };

function shareRuns(items: readonly Scored[]): readonly SharedRun[] {
  const runs: SharedRun[] = [];
  const longestFirst = [...items.entries()].toSorted(([, a], [, b]) => b.tokens.length - a.tokens.length);
  for (const [index, { tokens }] of longestFirst) {
    const read = tokens.slice(0, -1);
    const host = runs.find((run) => read.every((token, i) => token === run.tokens[i]));
    if (host) host.readers.push(index);
    else runs.push({ tokens: read, readers: [index] });
  }
  return runs;
}
