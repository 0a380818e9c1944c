// What fusion did: groups by shape, launches before and after, bytes that no longer move.

import { counted } from "../compiler/diag.ts";
import { byteSize, elements, formatDims } from "../compiler/ir/shape.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
import { fused } from "../compiler/ops/fused.ts";
import { formatBytes } from "../compiler/plan/report.ts";

type Seen = {
  readonly results: string;
  readonly said: string;
  readonly ops: number;
  readonly bytes: number;
  count: number;
};

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

/** Counts what fusion found, for the remarks of the pass. */
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
    const ops = region.nodes
      .filter(({ ins }) => ins.length > 0)
      .filter(isLaunch)
      .map(({ op }) => op.name);
    const widest = [...region.nodes.flatMap(({ outs }) => outs), ...region.params].reduce((x, y) =>
      elements(x.type) >= elements(y.type) ? x : y,
    );
    const results = region.results.map((x) => `%${x.hint}`).join(", ");
    const said = `${ops.join(", ")} over [${formatDims(widest.type.dims)}]`;
    const key = `${region.params.map((x) => formatDims(x.type.dims)).join(";")} ${region.results.length} ${said}`;
    const bytes = moved(region.nodes) - bytesOf(region.params) - bytesOf(region.results);
    const seen = this.groups.get(key) ?? { results, said, ops: region.nodes.length, bytes, count: 0 };
    seen.count++;
    this.groups.set(key, seen);
  }

  lines(): string[] {
    const seen = [...this.groups.values()];
    const total = (of: (each: Seen) => number): number =>
      seen.reduce((n, each) => n + of(each) * each.count, 0);
    const { before, after } = this.counts;
    const groups = counted(
      total(() => 1),
      "group",
    );
    const ops = counted(
      total((each) => each.ops),
      "op",
    );
    const saved = formatBytes(total(({ bytes }) => bytes));
    if (seen.length === 0) return ["nothing to fuse"];
    return [
      `${groups} of ${ops}, ${seen.length} different; launches ${before} -> ${after}; ${saved} less moved`,
      ...seen.map(
        ({ count, results, said, bytes }) =>
          `${count > 1 ? `${count} x ` : ""}${results}: ${said}; ${formatBytes(bytes)} less moved`,
      ),
    ];
  }
}
