// Cutting planned tensors into blocks that are made one at a time: small enough to hold, cut where reading the source is
// cheap, and in the order in which the source lies.
import { invariant } from "../../../compiler/diag.ts";
import { countOf, shapeOfBox, wholeBox } from "../box.ts";
import { extentsOf } from "../layout.ts";
import { boxOf, type Move, type TensorPlan } from "../plan.ts";
import { bitsOf } from "../safetensors-header.ts";
import type { Box, StoredDType, TensorReader } from "../tensors.ts";

/** A planned tensor in the dtype it is written in. */
export type Planned = { readonly plan: TensorPlan; readonly dtype: StoredDType };

/** A box of a tensor to be made, with the moves that reach it. */
export type Block = Planned & { readonly box: Box };

// Blocks of this size have a place in the memory that each thread lends again and again (vector-memory.ts); larger ones
// take new pages of the system's.
const BLOCK_BYTES = 1 << 24;
/** What a block may take when smaller ones would read the same chunks of the source again and again. */
const LARGE_BLOCK_BYTES = 1 << 28;

const widthOf = (dtype: StoredDType): number => bitsOf(dtype) / 8;

/** Bytes of a block. */
export const bytesOfBlock = ({ box, dtype }: Block): number => countOf(shapeOfBox(box)) * widthOf(dtype);

/** Bytes of a planned tensor. */
export const bytesOfPlanned = ({ plan, dtype }: Planned): number => countOf(plan.shape) * widthOf(dtype);

/** A way to cut an axis: pieces of it are `unit` times something; `rank` says how cheaply the source is read then. */
type Cut = { readonly axis: number; readonly unit: number; readonly rank: number };

/** Where a tensor may be cut, best first: between layers, between tensors of the source, between the source's rows. */
function cutsOf({ shape, moves, stackAxis }: TensorPlan): Cut[] {
  const [first] = moves;
  invariant(first, "a planned tensor has moves");
  const cuts = shape.map((size, axis): Cut | undefined => {
    if (axis === stackAxis) return { axis, unit: 1, rank: -2 };
    const extents = moves.map(({ target }) =>
      countOf((target.dims[axis] ?? []).map((factor) => factor.size)),
    );
    const [extent = 1] = extents;
    if (extent < size)
      return extents.every((each) => each === extent) ? { axis, unit: extent, rank: -1 } : undefined;
    const [leading, ...rest] = first.target.dims[axis] ?? [];
    const from = first.source.dims.findIndex(
      ([factor]) => factor !== undefined && factor.key === leading?.key,
    );
    return leading && from >= 0
      ? { axis, unit: countOf(rest.map((factor) => factor.size)), rank: from }
      : undefined;
  });
  return cuts.filter((cut) => cut !== undefined).toSorted((a, b) => a.rank - b.rank || a.axis - b.axis);
}

/** The shape of the chunks in which a tensor is written where chunks can be chosen. */
export function chunkOf({ plan, dtype }: Planned): number[] {
  const chunk = [...plan.shape];
  for (const { axis, unit } of cutsOf(plan)) {
    const bytes = countOf(chunk) * widthOf(dtype);
    if (bytes <= BLOCK_BYTES) break;
    const pieces = Math.floor((chunk[axis] ?? 1) / unit);
    const fitting = Math.max(1, Math.floor((pieces * BLOCK_BYTES) / bytes));
    chunk[axis] = unit * (divisorNear(pieces, fitting) ?? fitting);
  }
  return chunk;
}

/** The largest divisor up to a limit, unless it is much smaller: then chunks at the border are better cut off. */
function divisorNear(n: number, limit: number): number | undefined {
  for (let divisor = limit; divisor * 8 > limit; divisor--) if (n % divisor === 0) return divisor;
  return undefined;
}

/** The boxes of a tensor as blocks, each with the moves that reach it. */
export function blocksOf({ plan, dtype }: Planned, boxes: Iterable<Box>): Block[] {
  const reached = plan.moves.map((move) => ({ move, box: boxOf(move.target) }));
  const touch = (a: Box, b: Box): boolean =>
    a.every(([start, stop], axis) => start < (b[axis]?.[1] ?? 0) && stop > (b[axis]?.[0] ?? 0));
  return Array.from(boxes, (box) => {
    const moves = reached.filter((each) => touch(each.box, box)).map(({ move }) => move);
    return { plan: { ...plan, moves }, dtype, box };
  });
}

/** Blocks of whole rows, for a file in which a tensor's bytes lie one after another. */
export function rowBlocks(planned: Planned, source: TensorReader): Block[] {
  const { plan } = planned;
  const whole = wholeBox(plan.shape);
  const cut = cutsOf(plan).find(({ axis }) => axis === 0);
  const [rows = 1] = plan.shape;
  if (!cut || bytesOfPlanned(planned) <= BLOCK_BYTES) return blocksOf(planned, [whole]);
  const rowBytes = bytesOfPlanned(planned) / rows;
  const step = stepOf(plan, cut, source);
  const limit = step === undefined ? LARGE_BLOCK_BYTES : BLOCK_BYTES;
  const unit = step ?? cut.unit;
  const size = unit * Math.max(1, Math.floor(limit / (unit * rowBytes)));
  const starts = Array.from({ length: Math.ceil(rows / size) }, (_, i) => i * size);
  return blocksOf(
    planned,
    starts.map((start) => whole.with(0, [start, Math.min(rows, start + size)])),
  );
}

/** How many rows one chunk of the source is good for; nothing when each of several chunks reaches all of them. */
function stepOf({ moves, shape }: TensorPlan, { unit }: Cut, source: TensorReader): number | undefined {
  const [first] = moves;
  const [leading] = first?.target.dims[0] ?? [];
  if (!first || !leading) return undefined;
  if (isOfOneChunk(moves, source)) return unit;
  const axis = first.source.dims.findIndex((factors) => factors[0]?.key === leading.key);
  const own = countOf((first.source.dims[axis] ?? []).slice(1).map((factor) => factor.size));
  const chunk = (chunkShape(source, first.from)[axis] ?? 1) / own;
  const isDivided = chunk < leading.size && Number.isInteger(chunk);
  // Where tensors lie one after another in the rows, blocks would begin anywhere in their chunks.
  const isOne = leading.size * unit === shape[0];
  return isDivided && (isOne || (shape[0] ?? 0) % (chunk * unit) === 0) ? chunk * unit : undefined;
}

/** Whether all comes from one chunk of the source, which the reader keeps from block to block. */
function isOfOneChunk(moves: readonly Move[], source: TensorReader): boolean {
  const chunks = new Set<string>();
  for (const { from, source: part } of moves) {
    const shape = chunkShape(source, from);
    const along = (at: number, axis: number): number => Math.floor(at / (shape[axis] ?? 1));
    const box = boxOf(part);
    chunks.add(`${from} ${box.map(([start], axis) => along(start, axis))}`);
    chunks.add(`${from} ${box.map(([, stop], axis) => along(stop - 1, axis))}`);
  }
  return chunks.size === 1;
}

/** The shape of the first chunk of a source's tensor. */
function chunkShape(source: TensorReader, name: string): readonly number[] {
  for (const box of source.chunksOf(name)) return shapeOfBox(box);
  return [];
}

/** Blocks that are made together, by one thread, because they are made of the same chunks or follow each other. */
export type Batch = { readonly blocks: readonly Block[]; readonly bytes: number; readonly memory: number };

/** What a batch holds at most, unless one chunk of the source is larger: what each thread may lose when a run is cut off. */
export const BATCH_BYTES = 1 << 29;

/** Blocks in the order of the source, so that no chunk of it is read twice, in batches that share none. */
export function batchesOf(blocks: readonly Block[], source: TensorReader, limit: number): Batch[] {
  const order = new Map([...source.tensors.keys()].map((name, i) => [name, i]));
  const shapes = new Map<string, readonly number[]>();
  const keyed = blocks.map((block) => {
    const [move] = block.plan.moves;
    invariant(move, "a block has moves");
    const shape = shapes.get(move.from) ?? chunkShape(source, move.from);
    shapes.set(move.from, shape);
    const start = startIn(move, block.box);
    const chunk = start.map((at, axis) => Math.floor(at / (shape[axis] ?? 1)));
    return {
      block,
      chunkBytes: countOf(shape) * widthOf(block.dtype),
      chunk: [order.get(move.from) ?? 0, ...chunk],
      start,
    };
  });
  keyed.sort((a, b) => compare(a.chunk, b.chunk) || compare(a.start, b.start));
  const batches: { blocks: Block[]; bytes: number; memory: number }[] = [];
  let before: readonly number[] | undefined;
  for (const { block, chunk, chunkBytes } of keyed) {
    const bytes = bytesOfBlock(block);
    const last = batches.at(-1);
    const isSame = before !== undefined && compare(before, chunk) === 0;
    const memory = 2 * bytes + 2 * Math.min(chunkBytes, LARGE_BLOCK_BYTES * 4);
    if (last && (isSame || last.bytes + bytes <= limit)) {
      last.blocks.push(block);
      last.bytes += bytes;
      last.memory = Math.max(last.memory, memory);
    } else batches.push({ blocks: [block], bytes, memory });
    before = chunk;
  }
  return batches;
}

/** Where in its source the first element of a block lies, or would if the box began with the move. */
function startIn({ source, target }: Move, box: Box): readonly number[] {
  const extents = extentsOf(source.dims);
  return source.start.map((start, axis) => {
    const [leading, ...rest] = source.dims[axis] ?? [];
    const at = target.dims.findIndex(([factor]) => factor !== undefined && factor.key === leading?.key);
    if (at < 0) return start;
    const unit = countOf((target.dims[at] ?? []).slice(1).map((factor) => factor.size));
    const skipped = Math.max(0, (box[at]?.[0] ?? 0) - (target.start[at] ?? 0)) / unit;
    return Math.min(
      start + skipped * countOf(rest.map((factor) => factor.size)),
      start + (extents[axis] ?? 1) - 1,
    );
  });
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((x, i) => x !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
