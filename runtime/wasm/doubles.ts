// Words for sums in double precision over floats, two at a time.
import { ADD, type Code, each, get, seq, set, simd } from "./words.ts";

/** Two floats as doubles: v128.load64_zero, f64x2.promote_low_f32x4. */
export const loadPair = (offset = 0): Code => [...simd(93), 2, offset, ...simd(95)];
/** One float as two doubles: f32.load, f64.promote_f32, f64x2.splat. */
export const loadSplat: Code = [0x2a, 2, 0, 0xbb, ...simd(20)];
/**
 * A float of each of `count` rows, as `loadSplat` has it, into the locals that `into` names. The first row's lies at the
 * address in `first`, and `pitch` leads to the next; `at` is overwritten.
 */
export const splatRows = (
  count: number,
  { first, pitch, at }: { readonly first: number; readonly pitch: number; readonly at: number },
  into: (row: number) => number,
): Code =>
  each(count, (row) =>
    seq(
      row === 0 ? get(first) : seq(get(at), get(pitch), ADD),
      seq(set(at), get(at), loadSplat, set(into(row))),
    ),
  );
/** Two doubles as floats, which the words below store: f32x4.demote_f64x2_zero. */
export const demote = simd(94);
/** Both of them side by side: v128.store64_lane. */
export const storePair = (offset = 0): Code => [...simd(91), 2, offset, 0];
/** One of them: v128.store32_lane. */
export const storeLane = (lane: number): Code => [...simd(90), 2, 0, lane];
export const zeros: Code = [...simd(12), ...new Array<number>(16).fill(0)];
export const times = simd(242);
export const plus = simd(240);
