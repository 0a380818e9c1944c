import { expect, test } from "@jest/globals";
import { bytesOfBlock, rowBlocks } from "../../runtime/checkpoint/convert/blocks.ts";
import { planCopy, type TensorPlan } from "../../runtime/checkpoint/plan.ts";
import type { TensorReader } from "../../runtime/checkpoint/tensors.ts";

const MIB = 2 ** 20;
const shape = [400 * 1024, 1024];

/** A source with one tensor whose chunks are of a shape. */
const sourceOf = (chunk: readonly number[]): TensorReader => ({
  path: "memory",
  tensors: new Map([["w", { name: "w", dtype: "BF16", shape }]]),
  read: () => new Uint8Array(),
  chunksOf: () => [chunk.map((size) => [0, size] as const)],
  close() {},
});

const copied = planCopy({ name: "w", dtype: "BF16", shape });
const transposed: TensorPlan = {
  ...copied,
  shape: shape.toReversed(),
  moves: copied.moves.map(({ from, source, target }) => ({
    from,
    source,
    target: { start: target.start, dims: target.dims.toReversed() },
  })),
};

test.each([
  ["all that is one chunk", copied, shape, 16],
  ["all that is one chunk, transposed", transposed, shape, 16],
  ["chunks of rows", copied, [1024, 1024], 16],
  ["chunks of rows of which the last is short", copied, [1000, 1024], 16],
  ["chunks of columns of which the last is short", transposed, [400 * 1024, 13], 16],
  [
    "chunks that each reach all rows, of which small blocks would read all again and again",
    copied,
    [shape[0]!, 256],
    256,
  ],
])("blocks of %s", (_claim, plan, chunk, mib) => {
  const blocks = rowBlocks({ plan, dtype: "BF16" }, sourceOf(chunk));
  const sizes = blocks.map((block) => bytesOfBlock(block));
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(800 * MIB);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(mib * MIB);
  expect(Math.max(...sizes)).toBeGreaterThan((mib * MIB) / 2);
});
