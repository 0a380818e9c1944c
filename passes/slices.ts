// Slices as canonicalize sees them: which follow each other, what they read of a concatenate, how they join.

import { invariant } from "../compiler/diag.ts";
import { dim, dimAt, range } from "../compiler/ir/shape.ts";
import type { Node, Value } from "../compiler/ir/types.ts";
import type { K } from "../compiler/ops/k.ts";
import { at } from "../compiler/ops/op.ts";

/** What a slice is of. */
export const wholeOf = ({ ins }: Node): Value => at(ins, 0);
/** Where a slice starts, by axis. */
export const startsOf = ({ attrs }: Node): readonly number[] => attrs["starts"] as readonly number[];
/** Where a slice ends, by axis: past its last element. */
export const limitsOf = ({ attrs }: Node): readonly number[] => attrs["limits"] as readonly number[];
const widthOf = (slice: Node, axis: number): number =>
  (limitsOf(slice)[axis] ?? 0) - (startsOf(slice)[axis] ?? 0);

/** Slices that follow each other as one. */
export function joined(k: K<Value>, slices: readonly Node[]): Value {
  const [first, last] = [slices[0], slices.at(-1)];
  invariant(first && last, "there are slices");
  return k.one("slice", [wholeOf(first)], { starts: startsOf(first), limits: limitsOf(last) });
}

/** The only operand of a concatenate that a slice along its axis reads, and where that operand starts. */
export function partRead(
  whole: Node,
  axis: number,
  start: number,
  limit: number,
): { part: Value; from: number } | undefined {
  let from = 0;
  for (const part of whole.ins) {
    const end = from + dimAt(part.type, axis).size;
    if (start >= from && limit <= end) return { part, from };
    from = end;
  }
  return undefined;
}

/** From `start` on, slices one wide that some values give in turn, by value; or a single operand, without turns. */
export type Turns = { readonly start: number; readonly turns: readonly (readonly Node[])[] };

/** Operands of a concatenate, those that are slices of some values in turn together. */
export function takingTurns(slices: readonly (Node | undefined)[], axis: number): readonly Turns[] {
  const nextOfSame: number[] = [];
  const seen = new Map<Value, number>();
  for (const [i, slice] of [...slices.entries()].toReversed()) {
    if (!slice) continue;
    nextOfSame[i] = seen.get(wholeOf(slice)) ?? Number.NaN;
    seen.set(wholeOf(slice), i);
  }
  const parts: Turns[] = [];
  for (let start = 0; start < slices.length; ) {
    const count = (nextOfSame[start] ?? Number.NaN) - start;
    let length = 0;
    for (; count >= 2 && start + length < slices.length; length++) {
      const slice = slices[start + length];
      if (!slice || widthOf(slice, axis) !== 1) break;
      if (length >= count && !follows(slices[start + length - count], slice, axis)) break;
    }
    const run = slices
      .slice(start, start + (length >= 2 * count ? length - (length % count) : 0))
      .filter((slice) => slice !== undefined);
    const turns = run.length > 0 ? range(count) : [];
    parts.push({ start, turns: turns.map((turn) => run.filter((_, i) => i % count === turn)) });
    start += Math.max(run.length, 1);
  }
  return parts;
}

/** Values cut along an axis as slices say, the first piece of each, then the second of each, and so on. */
export function sideBySide(k: K<Value>, turns: readonly (readonly Node[])[], axis: number): Value {
  const sides = turns.map((slices) => {
    const x = joined(k, slices);
    return k.reshape(x, x.type.dims.toSpliced(axis + 1, 0, dim("_", 1)));
  });
  const joint = k.concat(sides, axis + 1);
  const [count, each] = [dimAt(joint.type, axis), dimAt(joint.type, axis + 1)];
  return k.reshape(joint, joint.type.dims.toSpliced(axis, 2, dim(count.label, count.size * each.size)));
}

/** Whether a slice starts along the axis where another of the same value ends, and is like it elsewhere. */
export function follows(before: Node | undefined, next: Node | undefined, axis: number): boolean {
  if (!before || !next || wholeOf(before) !== wholeOf(next)) return false;
  return startsOf(next).every((start, i) =>
    i === axis
      ? start === limitsOf(before)[i]
      : start === startsOf(before)[i] && limitsOf(next)[i] === limitsOf(before)[i],
  );
}
