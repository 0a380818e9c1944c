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
 * From left to right, of what begins here the repetition that covers most; the shorter cycle if two cover the same.
 * `settle` may move a run right within its slack.
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
  const runs: Run[] = [];
  for (let start = 0; start < row.length; ) {
    const found = bestAt(start);
    const run = found && settle(found);
    if (run) runs.push(run);
    start = run ? run.start + run.cycle * run.count : start + 1;
  }
  return runs;

  function bestAt(start: number): Run | undefined {
    let best: Run | undefined;
    lasting.forEach((same, i) => {
      const cycle = i + 1;
      const span = (same[start] ?? 0) + cycle;
      const count = Math.floor(span / cycle);
      const isLonger = count > 1 && (!best || count * cycle > best.count * best.cycle);
      if (isLonger && segments.slice(start, start + cycle).some((each) => each.readsParameters))
        best = placed({ start, cycle, count, slack: span - count * cycle }, segments);
    });
    return best;
  }
}
