// Elements are moved as if one at a time, whatever the loops and the width.
import { randomBytes } from "node:crypto";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { moveElements } from "../../runtime/checkpoint/move-elements.ts";

/** Axes of an array, the order they have on the other side, and how much lies around the moved elements there. */
const moves = fc
  .array(
    fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 5 }) }, fc.integer({ min: 15, max: 40 })),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .filter((sizes) => sizes.reduce((n, size) => n * size, 1) <= 20_000)
  .chain((sizes) =>
    fc.record({
      sizes: fc.constant(sizes),
      order: fc.shuffledSubarray([...sizes.keys()], { minLength: sizes.length }),
      margins: fc.array(fc.nat(2), { minLength: sizes.length, maxLength: sizes.length }),
      start: fc.nat(5),
      width: fc.constantFrom(1, 2, 4, 8),
      askew: fc.nat(3),
    }),
  );

/** How far apart neighbours along each axis of a row-major array lie. */
const stridesOf = (sizes: readonly number[]): number[] =>
  sizes.map((_, axis) => sizes.slice(axis + 1).reduce((n, size) => n * size, 1));

test("loops over any axes in any order, into part of a larger array", () => {
  fc.assert(
    fc.property(moves, ({ sizes, order, margins, start, width, askew }) => {
      const count = sizes.reduce((n, size) => n * size, 1);
      const steps = stridesOf(sizes);
      const room = order.map((axis) => sizes[axis]! + margins[axis]!);
      const strides = stridesOf(room);
      const toSize = room.reduce((n, size) => n * size, 1) + start;
      const bytes = Uint8Array.from({ length: askew + count * width }, (_, i) => (i * 89 + 7) & 255).subarray(
        askew,
      );
      const out = new Uint8Array(toSize * width);
      const loops = order.map((axis, i) => ({ size: sizes[axis]!, from: steps[axis]!, to: strides[i]! }));
      moveElements({ bytes, start: 0 }, { bytes: out, start }, loops, width);
      const expected = new Uint8Array(out.length);
      for (let n = 0; n < count; n++) {
        const index = sizes.map((size, axis) => Math.floor(n / steps[axis]!) % size);
        const to = start + order.reduce((at, axis, i) => at + index[axis]! * strides[i]!, 0);
        expected.set(bytes.subarray(n * width, (n + 1) * width), to * width);
      }
      expect(Buffer.compare(out, expected)).toBe(0);
    }),
  );
});

test("nothing to move moves nothing", () => {
  const out = Uint8Array.of(1, 2);
  moveElements(
    { bytes: new Uint8Array(), start: 0 },
    { bytes: out, start: 0 },
    [{ size: 0, from: 1, to: 1 }],
    2,
  );
  expect(out).toEqual(Uint8Array.of(1, 2));
});

// More than fits in a tile of the vector kernel, along either axis or both; sides are no multiples of anything.
test.each([
  [1, 2101, 1033],
  [2, 1501, 1103],
  [2, 5, 300_007],
  [4, 131_075, 6],
  [4, 1025, 1030],
])("matrices of %d-byte elements, %d x %d, as part of wider ones", (width, rows, columns) => {
  const [pitch, toPitch] = [columns + 3, rows + 2];
  const bytes = randomBytes(rows * pitch * width);
  const out = new Uint8Array(columns * toPitch * width);
  const loops = [
    { size: columns, from: 1, to: toPitch },
    { size: rows, from: pitch, to: 1 },
  ];
  moveElements({ bytes, start: 0 }, { bytes: out, start: 1 }, loops, width);
  const expected = new Uint8Array(out.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      for (let byte = 0; byte < width; byte++)
        expected[(1 + column * toPitch + row) * width + byte] = bytes[(row * pitch + column) * width + byte]!;
  expect(Buffer.compare(out, expected)).toBe(0);
});
