// Whether all of a checkpoint can be read.
import { Q3Error } from "../../compiler/diag.ts";
import { chunkBoxes, chunkOfRows, halvesOf, shapeOfBox } from "./box.ts";
import { attempt, type OnDamage } from "./damage.ts";
import type { Checkpoint } from "./open.ts";
import { bitsOf } from "./safetensors-header.ts";
import type { Box, StoredDType } from "./tensors.ts";

/** How far reading has come. */
export type Reading = { readonly tensor: string; readonly bytes: number };

/** The parts in which chunks are read, in their order: a large one need not be in memory whole. */
function* partsOf(chunks: Iterable<Box>, dtype: StoredDType): Generator<Box> {
  const width = bitsOf(dtype) / 8;
  for (const chunk of chunks) {
    const shape = shapeOfBox(chunk);
    if (width < 1) yield chunk;
    else
      for (const rows of chunkBoxes(shape, chunkOfRows(shape, width)))
        yield rows.map(([start, stop], axis) => {
          const [first = 0] = chunk[axis] ?? [];
          return [first + start, first + stop] as const;
        });
  }
}

/** How many bytes a box has that can be read, or why it cannot. */
function tryToRead({ tensors }: Checkpoint, tensor: string, box: Box): number | Q3Error {
  let found: Q3Error | undefined;
  const note: OnDamage = (error) => {
    found = error;
  };
  return attempt(note, () => tensors.read(tensor, box).length) ?? found ?? 0;
}

/** What is wrong with a box that cannot be read because of an error; of several grains in it, with each of them. */
function* errorsIn(
  checkpoint: Checkpoint,
  tensor: string,
  box: Box,
  grain: readonly number[],
  error: Q3Error,
): Generator<Q3Error, void> {
  const halves = halvesOf(box, grain).map((half) => ({ half, read: tryToRead(checkpoint, tensor, half) }));
  const errors = halves.flatMap(({ half, read }) =>
    typeof read === "number" ? [] : [{ half, error: read }],
  );
  const [first, second] = errors;
  // What is wrong with both halves is wrong with something that they share.
  if (!first || first.error.message === second?.error.message) yield error;
  else for (const { half, error } of errors) yield* errorsIn(checkpoint, tensor, half, grain, error);
}

// So many chunks of a tensor are named, and the rest are counted.
const SHOWN_CHUNKS = 100;

/** Reads every chunk of every tensor that can be read, one at a time. */
export function* readAll(checkpoint: Checkpoint, onDamage: OnDamage): Generator<Reading, void> {
  const { tensors } = checkpoint;
  for (const [tensor, { dtype, shape }] of tensors.tensors) {
    const grain = checkpoint.format === "orbax" ? checkpoint.tensors.grainOf(tensor) : shape;
    const said = new Set<string>();
    let more = 0;
    for (const rows of partsOf(tensors.chunksOf(tensor), dtype)) {
      const read = tryToRead(checkpoint, tensor, rows);
      if (typeof read === "number") {
        yield { tensor, bytes: read };
        continue;
      }
      for (const error of errorsIn(checkpoint, tensor, rows, grain, read)) {
        if (said.has(error.message)) continue;
        if (said.size === SHOWN_CHUNKS) {
          more++;
          break;
        }
        said.add(error.message);
        // What is wrong with a file as a whole does not say whose chunk was wanted.
        onDamage(error, error.message.includes(`\`${tensor}`) ? [] : [tensor]);
      }
    }
    if (more > 0)
      onDamage(
        new Q3Error({
          code: "chunk-damaged",
          message: `tensor \`${tensor}\`: at least ${more} more chunks cannot be read`,
          at: { file: tensors.path },
        }),
      );
  }
}
