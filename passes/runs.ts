// Segments that repeat.
import type { Segment } from "./segments.ts";

/**
 * Segments in a row that repeat: `count` rounds of `cycle` segments from the one at `start`, `slack` more that follow in
 * the same rhythm; and their nodes.
 */
export type Run = {
  readonly start: number;
  readonly cycle: number;
  readonly count: number;
  readonly slack: number;
  readonly from: number;
  readonly to: number;
};

/** A run moved right, within its slack. */
export function moved({ start, cycle, count, slack }: Run, by: number, segments: readonly Segment[]): Run {
  return placed({ start: start + by, cycle, count, slack: slack - by }, segments);
}

function placed(run: Omit<Run, "from" | "to">, segments: readonly Segment[]): Run {
  const { start, cycle, count } = run;
  return { ...run, from: segments[start]?.from ?? 0, to: segments[start + cycle * count - 1]?.to ?? 0 };
}

/** The longest cycle that is looked for, in segments: a layer of attention and experts has two. */
const LONGEST = 64;

/**
 * The repetition that covers most nodes, the shorter cycle and the earlier place if two cover the same; then likewise
 * what is before it and what is after it. So no two parts of what is left repeat, nor do the runs among each other: the
 * repetition that they would be parts of covers more. `settle` may move a run right within its slack.
 */
export function runsOf(
  segments: readonly Segment[],
  keyOf: (segment: Segment) => string,
  settle: (run: Run) => Run = (run) => run,
): Run[] {
  const ids = new Map<string, number>();
  const row = segments.map((segment) => {
    const key = keyOf(segment);
    if (!ids.has(key)) ids.set(key, ids.size);
    return ids.get(key);
  });
  const longest = Math.min(LONGEST, Math.floor(row.length / 2));
  /** How long the row equals itself moved by a cycle, from each segment on. */
  const lasting = Array.from({ length: longest }, (_, i) => {
    const same = new Array<number>(row.length).fill(0);
    for (let at = row.length - 2 - i; at >= 0; at--)
      if (row[at] === row[at + i + 1]) same[at] = (same[at + 1] ?? 0) + 1;
    return same;
  });
  const readsParameters = (start: number, end: number): boolean =>
    segments.slice(start, end).some((each) => each.readsParameters);

  function bestIn(low: number, high: number): Run | undefined {
    let best: Run | undefined;
    lasting.slice(0, (high - low) >> 1).forEach((same, i) => {
      const cycle = i + 1;
      for (let start = low; start + 2 * cycle <= high; start++) {
        const span = Math.min((same[start] ?? 0) + cycle, high - start);
        const count = Math.floor(span / cycle);
        if (count === 1) continue;
        const run = placed({ start, cycle, count, slack: span - count * cycle }, segments);
        const isLonger = !best || run.to - run.from > best.to - best.from;
        if (isLonger && readsParameters(start, start + cycle)) best = run;
      }
    });
    return best;
  }

  function runsIn(low: number, high: number): Run[] {
    const found = bestIn(low, high);
    if (!found) return [];
    const run = settle(found);
    return [...runsIn(low, run.start), run, ...runsIn(run.start + run.cycle * run.count, high)];
  }
  return runsIn(0, row.length);
}
