// Places in one arena for memory with known lifetimes: in order of time, each in the smallest gap that holds it.

export type Lifetime = { readonly bytes: number; readonly from: number; readonly to: number };
type Gap = { readonly start: number; readonly end: number };

export type Arena = {
  /** Where each lifetime's memory begins, in the order given. */
  readonly offsets: readonly number[];
  readonly bytes: number;
};

// Vector loads of any engine may rely on it.
const ALIGNMENT = 64;
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Offsets so that no two lifetimes that meet in time meet in memory. */
export function placed(lifetimes: readonly Lifetime[]): Arena {
  const offsets = lifetimes.map(() => 0);
  const starting = lifetimes.map((_, i) => i).sort((a, b) => from(lifetimes, a) - from(lifetimes, b));
  const ending: number[] = [];
  let gaps: Gap[] = [];
  let bytes = 0;
  for (const i of starting) {
    const lifetime = lifetimes[i];
    if (!lifetime) continue;
    while (ending.length > 0 && to(lifetimes, ending[0] ?? 0) <= lifetime.from) {
      const ended = ending.shift() ?? 0;
      gaps = withGap(gaps, offsets[ended] ?? 0, aligned(lifetimes[ended]?.bytes ?? 0));
    }
    const size = aligned(lifetime.bytes);
    const gap = smallest(gaps, size);
    const last = gaps.at(-1);
    const atEnd = last && last.end === bytes ? last : { start: bytes, end: bytes };
    const { start, end } = gap ?? atEnd;
    offsets[i] = start;
    bytes = Math.max(bytes, start + size);
    gaps = gaps.filter((each) => each.start !== start);
    if (end > start + size) gaps = withGap(gaps, start + size, end - start - size);
    insert(ending, i, (each) => to(lifetimes, each));
  }
  return { offsets, bytes };
}

const from = (lifetimes: readonly Lifetime[], i: number): number => lifetimes[i]?.from ?? 0;
const to = (lifetimes: readonly Lifetime[], i: number): number => lifetimes[i]?.to ?? 0;

function smallest(gaps: readonly Gap[], size: number): Gap | undefined {
  let best: Gap | undefined;
  for (const gap of gaps) {
    const own = gap.end - gap.start;
    if (own >= size && size > 0 && (!best || own < best.end - best.start)) best = gap;
  }
  return best;
}

/** The gaps with one more, joined to its neighbours; in order of place. */
function withGap(gaps: readonly Gap[], start: number, size: number): Gap[] {
  if (size === 0) return [...gaps];
  const before = gaps.filter((gap) => gap.end <= start);
  const after = gaps.filter((gap) => gap.start >= start + size);
  const left = before.at(-1)?.end === start ? before.pop() : undefined;
  const right = after[0]?.start === start + size ? after.shift() : undefined;
  return [...before, { start: left?.start ?? start, end: right?.end ?? start + size }, ...after];
}

/** Puts an item into a list sorted by a key. */
function insert(items: number[], item: number, key: (item: number) => number): void {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(items[middle] ?? 0) <= key(item)) low = middle + 1;
    else high = middle;
  }
  items.splice(low, 0, item);
}
