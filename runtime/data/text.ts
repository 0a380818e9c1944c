// Text files as training data: windows that never cross from one document into the next.

import { createHash } from "node:crypto";
import { fail } from "../../compiler/diag.ts";
import { permutation, random } from "../random.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type Batch, blankBatch, checkState, type Dataset, requirePositive } from "./dataset.ts";
import { expandFiles } from "./expand-files.ts";
import { type Document, type DocumentOptions, readDocument } from "./text-file.ts";

/** Which files, and how they become batches. */
export type TextOptions = DocumentOptions & {
  /** Paths, directories and glob patterns. */
  readonly files: readonly string[];
  /** What relative paths start from; the current directory if not given. */
  readonly cwd?: string | undefined;
  readonly length: number;
  readonly rows: number;
  readonly shuffle: boolean;
  readonly seed: number;
  /** How often every window is seen; endless if not given. */
  readonly epochs?: number | undefined;
};

/**
 * Every token but a document's first is a target exactly once per epoch: window k of a document has inputs from token
 * k·length on, and a last partial window is padded with weight 0. All tokens are held, four bytes each.
 */
export function textDataset(options: TextOptions, tokenizer: Tokenizer): Dataset {
  const { length, rows, shuffle, seed, epochs = Infinity } = options;
  requirePositive({ length, rows, ...(epochs !== Infinity && { epochs }) });
  const files = expandFiles(options.files, options.cwd ?? process.cwd());
  if (files.length === 0) fail({ code: "data-file-missing", message: "the dataset names no files" });
  const documents = files.map((file) => readDocument(file, tokenizer, options));
  const { count, copy } = windows(documents, length);
  const tokens = documents.reduce((sum, document) => sum + document.tokens.length, 0);
  const { padId = 0 } = tokenizer;
  const pad = padId < (options.vocabSize ?? Infinity) ? padId : 0;
  const source = fingerprint(documents, length, shuffle, seed);

  let epoch = 0;
  let position = 0;
  let order = orderOf(0);
  function orderOf(n: number): Uint32Array | undefined {
    return shuffle ? permutation(count, random(seed, n)) : undefined;
  }
  function goTo(newEpoch: number, newPosition: number): void {
    if (newEpoch !== epoch) order = orderOf(newEpoch);
    [epoch, position] = [newEpoch, newPosition];
  }
  return {
    description: `text: ${files.length} files, ${tokens} tokens, ${count} windows of ${length}`,
    next() {
      if (epoch >= epochs) return undefined;
      const batch = blankBatch(rows, length, pad);
      // The last batch of the last epoch may have rows left over: they stay padding.
      for (let row = 0; row < rows && epoch < epochs; row++) {
        copy(order?.[position] ?? position, batch, row);
        if (position + 1 < count) position++;
        else goTo(epoch + 1, 0);
      }
      return batch;
    },
    state: () => ({ source, epoch, position }),
    restore(state) {
      checkState(state, source, count - 1);
      goTo(state.epoch, state.position);
    },
  };
}

type Windows = { readonly count: number; copy(window: number, batch: Batch, row: number): void };

function windows(documents: readonly Document[], length: number): Windows {
  // first[i] is the number of the first window of document i.
  const first: number[] = [];
  let count = 0;
  for (const { tokens } of documents) {
    first.push(count);
    count += Math.ceil((tokens.length - 1) / length);
  }
  return {
    count,
    copy(window, batch, row) {
      const i = lastAtMost(first, window);
      const tokens = documents[i]?.tokens ?? new Int32Array();
      const start = (window - (first[i] ?? 0)) * length;
      const end = Math.min(start + length, tokens.length - 1);
      batch.inputs.set(tokens.subarray(start, end), row * length);
      batch.targets.set(tokens.subarray(start + 1, end + 1), row * length);
      batch.weights.fill(1, row * length, row * length + end - start);
    },
  };
}

function lastAtMost(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((ascending[middle] ?? 0) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

// The tokens themselves and all that orders them; not the paths, which may move, nor the rows, which may change.
function fingerprint(documents: readonly Document[], length: number, shuffle: boolean, seed: number): string {
  const hash = createHash("sha256");
  for (const { tokens } of documents) {
    hash.update(`${tokens.length}\n`);
    hash.update(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength));
  }
  const order = shuffle ? `shuffled by ${seed}` : "in order";
  return `text(${hash.digest("hex").slice(0, 16)}, windows of ${length}, ${order})`;
}
