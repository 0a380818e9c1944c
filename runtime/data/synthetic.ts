// MaxText's `dataset_type=synthetic`: one batch of random tokens, given again at every step.

import { random } from "../random.ts";
import { type Batch, blankBatch, checkState, type Dataset, requirePositive } from "./dataset.ts";

/** Sizes of the one batch; ids are uniform in [0, vocabSize). */
export type SyntheticOptions = {
  readonly vocabSize: number;
  readonly length: number;
  readonly rows: number;
  readonly seed: number;
};

/** An endless dataset for measuring speed: the batch never changes, so a model soon knows it by heart. */
export function syntheticDataset({ vocabSize, length, rows, seed }: SyntheticOptions): Dataset {
  requirePositive({ vocabSize, length, rows });
  const source = `synthetic(vocab ${vocabSize}, ${rows} x ${length}, seed ${seed})`;
  let position = 0;
  return {
    description: `synthetic: ${rows} rows of ${length} uniform tokens below ${vocabSize}, the same every step`,
    next() {
      position++;
      return drawBatch({ vocabSize, length, rows, seed });
    },
    state: () => ({ source, epoch: 0, position }),
    restore(state) {
      checkState(state, source, Number.MAX_SAFE_INTEGER);
      position = state.position;
    },
  };
}

// Drawn afresh each time: a caller may keep or change what it was given.
function drawBatch({ vocabSize, length, rows, seed }: SyntheticOptions): Batch {
  const source = random(seed);
  const batch = blankBatch(rows, length);
  batch.weights.fill(1);
  for (let row = 0; row < rows; row++) {
    const tokens = Int32Array.from({ length: length + 1 }, () => source.below(vocabSize));
    batch.inputs.set(tokens.subarray(0, length), row * length);
    batch.targets.set(tokens.subarray(1), row * length);
  }
  return batch;
}
