// The arrays that a loop nest reads and writes, and its loops once neighbours that every array crosses as one are
// joined.
import { at } from "./op.ts";

/** One array under one walk: where it begins, and how far one step of each loop moves in it. */
export type Access = {
  /** The array: operands come first, then index lines, results, sums and row buffers. */
  readonly array: number;
  readonly offset: number;
  strides: readonly number[];
};

/** Loops after joining. */
export type Nest = {
  readonly sizes: readonly number[];
  /** Loops before this one are of rows. */
  readonly rows: number;
  /** How many joined loops stand for the first `depth` loops. */
  depthOf(depth: number): number;
};

/** Joins neighbouring loops, never across a barrier, and restates the accesses over what is left. */
export function joinLoops(
  sizes: readonly number[],
  rows: number,
  barriers: ReadonlySet<number>,
  accesses: readonly Access[],
): Nest {
  const joined: number[] = [];
  const last: number[] = [];
  sizes.forEach((size, loop) => {
    const before = last.at(-1);
    const isOne =
      before !== undefined &&
      !barriers.has(loop) &&
      loop !== rows &&
      accesses.every(({ strides }) => at(strides, before) === at(strides, loop) * size);
    if (isOne) {
      joined[joined.length - 1] = at(joined, joined.length - 1) * size;
      last[last.length - 1] = loop;
    } else {
      joined.push(size);
      last.push(loop);
    }
  });
  for (const access of accesses) access.strides = last.map((loop) => at(access.strides, loop));
  const depthOf = (depth: number): number => last.filter((loop) => loop < depth).length;
  return { sizes: joined, rows: depthOf(rows), depthOf };
}

/** The innermost loop that moves in an array, counted from one; 0 when none does. */
export const depthOfAccess = ({ strides }: Access): number =>
  strides.findLastIndex((stride) => stride !== 0) + 1;
