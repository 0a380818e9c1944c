// An acyclic graph whose vertices are being joined, kept in topological order (after Pearce and Kelly): a search for a
// way from one vertex to another never leaves the stretch of the order between them.

import { bug } from "../compiler/diag.ts";
/** Vertices in topological order, joined one pair at a time. */
export class Contraction<V> {
  private readonly slots: (V | undefined)[];
  private readonly rank: Map<V, number>;
  private readonly next: (vertex: V) => Iterable<V>;

  /** Vertices in a topological order, and the vertices that each leads to. */
  constructor(vertices: readonly V[], next: (vertex: V) => Iterable<V>) {
    this.slots = [...vertices];
    this.rank = new Map(vertices.map((vertex, i) => [vertex, i]));
    this.next = next;
  }

  rankOf(vertex: V): number {
    return this.rank.get(vertex) ?? bug("a vertex without a rank");
  }

  /** The same vertex under another identity. */
  rename(from: V, to: V): void {
    const rank = this.rankOf(from);
    this.slots[rank] = to;
    this.rank.set(to, rank);
  }

  /** What one of two vertices leads to before the other, or nothing when a way through it leads back to the other. */
  between(a: V, b: V): ReadonlySet<V> | undefined {
    const [low, high] = this.rankOf(a) < this.rankOf(b) ? [a, b] : [b, a];
    const end = this.rankOf(high);
    const found = new Set<V>();
    const waiting = [...this.next(low)].filter((vertex) => vertex !== high);
    for (let vertex = waiting.pop(); vertex !== undefined; vertex = waiting.pop()) {
      if (vertex === high) return undefined;
      if (found.has(vertex) || this.rankOf(vertex) > end) continue;
      found.add(vertex);
      waiting.push(...this.next(vertex));
    }
    return found;
  }

  /** Puts `joined` in the place of two vertices: after what the later one needs, before what `between` found. */
  join(a: V, b: V, joined: V, between: ReadonlySet<V>): void {
    const [start, end] = [this.rankOf(a), this.rankOf(b)].sort((x, y) => x - y) as [number, number];
    const stretch = this.slots
      .slice(start, end + 1)
      .filter((vertex): vertex is V & {} => vertex !== undefined && vertex !== a && vertex !== b);
    const order = [
      ...stretch.filter((vertex) => !between.has(vertex)),
      joined,
      ...stretch.filter((vertex) => between.has(vertex)),
    ];
    for (let slot = start; slot <= end; slot++) {
      const vertex = order[slot - start];
      this.slots[slot] = vertex;
      if (vertex !== undefined) this.rank.set(vertex, slot);
    }
  }
}
