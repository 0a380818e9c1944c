// What the server needs to know of a model.

import type { Candidate } from "../eval/compare.ts";
import type { OpenModel } from "../eval/open-model.ts";

/** A model under the name that clients call it by. */
export type ServedModel = Omit<OpenModel, "generator" | "origin"> & {
  readonly name: string;
};

/** A token of a text with its log probability after those before it; the first of a text has none. */
export type TokenScore = {
  readonly id: number;
  /** Characters of text before it. */
  readonly offset: number;
  readonly logProb?: number;
  /** The likeliest tokens in its place, with their log probabilities. */
  readonly top: readonly Candidate[];
};
