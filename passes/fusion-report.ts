// What fusion did: groups by shape, launches before and after, bytes that no longer move.
import { byteSize, formatDims } from "../compiler/ir/shape.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
import { fused } from "../compiler/ops/fused.ts";

type Seen = { readonly title: string; readonly ops: number; readonly bytes: number; count: number };

const bytesOf = (values: readonly Value[]): number => values.reduce((n, x) => n + byteSize(x.type), 0);
/** Memory that nodes read and write one by one. A reshape moves nothing. */
const moved = (nodes: readonly Node[]): number =>
  nodes.reduce((n, each) => n + (isLaunch(each) ? bytesOf(each.ins) + bytesOf(each.outs) : 0), 0);
const isLaunch = ({ op, attrs }: Node): boolean => op.moves?.(attrs).kind !== "reshape";

function launches(block: Block): number {
  let count = 0;
  for (const each of block.nodes) {
    if (isLaunch(each)) count++;
    if (each.op !== fused) for (const region of each.regions) count += launches(region);
  }
  return count;
}

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;

function sizeSaid(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

export class FusionReport {
  private readonly groups = new Map<string, Seen>();
  private readonly counts = { before: 0, after: 0 };

  before(block: Block): void {
    this.counts.before = launches(block);
  }

  after(block: Block): void {
    this.counts.after = launches(block);
  }

  add(region: Block): void {
    const ops = region.nodes.map(({ op }) => op.name);
    const title = `${region.results.map((x) => `%${x.hint}: ${x.type.dtype}[${formatDims(x.type.dims)}]`).join(", ")} = ${ops.join(" ")}`;
    const key = `${region.params.map((x) => formatDims(x.type.dims)).join(";")} ${title.replaceAll(/%[\w.]+/g, "%")}`;
    const bytes = moved(region.nodes) - bytesOf(region.params) - bytesOf(region.results);
    const seen = this.groups.get(key) ?? { title, ops: ops.length, bytes, count: 0 };
    seen.count++;
    this.groups.set(key, seen);
  }

  lines(): string[] {
    const seen = [...this.groups.values()];
    const total = (of: (each: Seen) => number): number =>
      seen.reduce((n, each) => n + of(each) * each.count, 0);
    const { before, after } = this.counts;
    return [
      `${plural(
        total(() => 1),
        "group",
      )} of ${plural(
        total(({ ops }) => ops),
        "op",
      )}, ${seen.length} different; launches ${before} -> ${after}; ${sizeSaid(total(({ bytes }) => bytes))} less moved a run`,
      ...seen.map(({ count, title, bytes }) => `${count} x ${title}; ${sizeSaid(bytes)} less moved`),
    ];
  }
}
