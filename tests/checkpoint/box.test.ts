import { expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  bandsOf,
  chunkBox,
  chunksIn,
  copyBox,
  gridOf,
  halvesOf,
  indices,
  intersect,
  isWithin,
  permute,
  runAround,
  shapeOfBox,
  wholeBox,
  widened,
} from "../../runtime/checkpoint/box.ts";
import type { Box } from "../../runtime/checkpoint/tensors.ts";
import { elementsIn, indicesOf, offsetOf } from "./zarr-support.ts";

const span = fc.tuple(fc.nat(4), fc.nat(4)).map(([start, size]) => [start, start + size] as const);
const boxes = (rank: number): fc.Arbitrary<Box> => fc.array(span, { minLength: rank, maxLength: rank });
const ranks = fc.nat(4);

const counted = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i % 255) + 1);
const local = (index: readonly number[], box: Box): number[] => index.map((i, axis) => i - box[axis]![0]);

test("copying moves exactly the elements that both boxes hold", () => {
  const cases = ranks.chain((rank) => fc.tuple(boxes(rank), boxes(rank), fc.constantFrom(1, 2, 4, 8, 32)));
  fc.assert(
    fc.property(cases, ([from, to, width]) => {
      const source = counted(elementsIn(shapeOfBox(from)) * width);
      const target = new Uint8Array(elementsIn(shapeOfBox(to)) * width);
      const wanted = target.slice();
      for (const index of indicesOf(to).filter((at) =>
        at.every((i, n) => from[n]![0] <= i && i < from[n]![1]),
      )) {
        const read = offsetOf(shapeOfBox(from), local(index, from)) * width;
        wanted.set(source.subarray(read, read + width), offsetOf(shapeOfBox(to), local(index, to)) * width);
      }
      copyBox({ box: from, bytes: source }, { box: to, bytes: target }, width);
      expect(target).toEqual(wanted);
    }),
    { numRuns: 300 },
  );
});

test("the chunks of a grid that touch a box are those that have elements of it", () => {
  const cases = ranks.chain((rank) => {
    const sizes = fc.array(fc.nat(7), { minLength: rank, maxLength: rank });
    return fc.tuple(
      sizes,
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: rank, maxLength: rank }),
      boxes(rank),
    );
  });
  fc.assert(
    fc.property(cases, ([shape, chunk, drawn]) => {
      const box = intersect(drawn, wholeBox(shape));
      const all = indicesOf(wholeBox(gridOf(shape, chunk)));
      expect([
        ...indices(
          shape.map(() => 0),
          gridOf(shape, chunk),
        ),
      ]).toEqual(all);
      const touched = all.filter((index) => box && intersect(chunkBox(index, chunk), box));
      expect(box ? [...chunksIn(box, chunk)] : []).toEqual(touched);
    }),
  );
});

test("permuting axes puts every element at its place", () => {
  const cases = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }).chain((shape) => {
    const axes = shape.map((_, axis) => axis);
    return fc.tuple(
      fc.constant(shape),
      fc.shuffledSubarray(axes, { minLength: axes.length }),
      fc.constantFrom(1, 2, 8),
    );
  });
  fc.assert(
    fc.property(cases, ([shape, order, width]) => {
      const bytes = counted(elementsIn(shape) * width);
      const found = permute(bytes, shape, order, width);
      const ordered = order.map((axis) => shape[axis]!);
      for (const index of indicesOf(wholeBox(ordered))) {
        const original = shape.map((_, axis) => index[order.indexOf(axis)]!);
        const [read, write] = [offsetOf(shape, original) * width, offsetOf(ordered, index) * width];
        expect(found.subarray(write, write + width)).toEqual(bytes.subarray(read, read + width));
      }
    }),
  );
});

/** A box, the shape of an array that it lies in, and a number of elements. */
const boxesInArrays = (max: number) =>
  ranks
    .chain((rank) =>
      fc.tuple(
        boxes(rank),
        fc.array(fc.nat(3), { minLength: rank, maxLength: rank }),
        fc.integer({ min: 1, max }),
      ),
    )
    .map(([box, beyond, limit]) => {
      const shape = box.map(([, stop], axis) => stop + (beyond[axis] ?? 0));
      return [box, shape, limit] as const;
    });

test("the bands of a box are all of it, in order, and no larger with what lies around them than they may be", () => {
  fc.assert(
    fc.property(boxesInArrays(40), ([box, shape, limit]) => {
      const bands = [...bandsOf(box, shape, limit)];
      expect(bands.flatMap(indicesOf)).toEqual(indicesOf(box));
      for (const band of bands)
        expect(elementsIn(shapeOfBox(runAround(band, shape)))).toBeLessThanOrEqual(limit);
      const starts = bands.map((band) =>
        offsetOf(
          shape,
          runAround(band, shape).map(([start]) => start),
        ),
      );
      expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    }),
    { numRuns: 300 },
  );
});

test("a box is widened around itself, within its array, as far as it may be", () => {
  fc.assert(
    fc.property(boxesInArrays(400), ([box, shape, limit]) => {
      fc.pre(elementsIn(shapeOfBox(box)) > 0);
      const wide = widened(box, shape, limit);
      expect(isWithin(box, wide) && isWithin(wide, wholeBox(shape))).toBe(true);
      const size = elementsIn(shapeOfBox(wide));
      expect(size <= limit || size === elementsIn(shapeOfBox(box))).toBe(true);
      if (elementsIn(shape) <= limit) expect(wide).toEqual(wholeBox(shape));
    }),
    { numRuns: 300 },
  );
});

test("a box is cut in two between chunks, again and again until each lies in one", () => {
  const cases = ranks.chain((rank) =>
    fc.tuple(boxes(rank), fc.array(fc.integer({ min: 1, max: 4 }), { minLength: rank, maxLength: rank })),
  );
  const cut = (box: Box, chunk: readonly number[]): Box[] => {
    const halves = halvesOf(box, chunk);
    return halves.length === 0 ? [box] : halves.flatMap((half) => cut(half, chunk));
  };
  fc.assert(
    fc.property(cases, ([box, chunk]) => {
      fc.pre(elementsIn(shapeOfBox(box)) > 0);
      const parts = cut(box, chunk);
      const wanted = [...chunksIn(box, chunk)].map((index) => intersect(chunkBox(index, chunk), box)!);
      expect(parts.map(String).toSorted()).toEqual(wanted.map(String).toSorted());
    }),
    { numRuns: 300 },
  );
});
