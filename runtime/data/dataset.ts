// What training reads: batches of fixed shape, from a source that can be resumed exactly.

import { fail } from "../../compiler/diag.ts";

/** Rows of tokens and the tokens that follow them, row-major [rows, length]. */
export type Batch = {
  readonly rows: number;
  readonly length: number;
  readonly inputs: Int32Array;
  readonly targets: Int32Array;
  /** 1 where the target counts, 0 where it is padding. */
  readonly weights: Float32Array;
};

/** Where a dataset stands, as JSON; `source` guards against resuming on other data. */
export type DatasetState = { readonly source: string; readonly epoch: number; readonly position: number };

/** A sequence of batches. */
export type Dataset = {
  /** The next batch, or nothing when all epochs are over. */
  next(): Batch | undefined;
  readonly description: string;
  state(): DatasetState;
  /** Goes to where `state` was taken, so that `next` gives what it would have given then. */
  restore(state: DatasetState): void;
};

/** An empty batch whose targets all count for nothing. */
export const blankBatch = (rows: number, length: number, pad = 0): Batch => ({
  rows,
  length,
  inputs: new Int32Array(rows * length).fill(pad),
  targets: new Int32Array(rows * length).fill(pad),
  weights: new Float32Array(rows * length),
});

/** Refuses a size that is not a positive whole number. */
export function requirePositive(sizes: Readonly<Record<string, number>>): void {
  for (const [name, size] of Object.entries(sizes)) {
    if (Number.isSafeInteger(size) && size > 0) continue;
    fail({ code: "dataset-size", message: `dataset ${name} must be a positive whole number, found ${size}` });
  }
}

/** Refuses a state that is malformed, or that was taken on a dataset other than `source`. */
export function checkState(state: DatasetState, source: string, limit: number): void {
  const isCount = (n: unknown): boolean => Number.isSafeInteger(n) && Number(n) >= 0;
  if (state.source !== source) {
    fail({
      code: "dataset-changed",
      message: `cannot resume: the run was on ${state.source}, but the dataset is now ${source}`,
      help: "restore the files and dataset settings of that run, or start a new one",
    });
  }
  if (!isCount(state.epoch) || !isCount(state.position) || state.position > limit) {
    fail({
      code: "dataset-state",
      message: `cannot resume: epoch ${state.epoch}, position ${state.position} lies outside the dataset`,
    });
  }
}
