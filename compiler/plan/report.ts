// A memory plan for readers and for tools.

import { counted } from "../diag.ts";
import { formatType } from "../ir/shape.ts";
import type { Allocation, MemoryPlan } from "./memory.ts";

/** `12.5 MiB` */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KiB`;
  return bytes < 1024 ** 3
    ? `${(bytes / 1024 ** 2).toFixed(1)} MiB`
    : `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

/** How many of the largest tensors at the peak are listed. */
const MOST = 8;

/** A memory plan as JSON. */
export type MemoryReport = {
  readonly program: string;
  readonly peak_bytes: number;
  readonly peak_after: string;
  readonly arena_bytes: number;
  readonly operand_bytes: number;
  readonly result_bytes: number;
  readonly in_place: { readonly results: number; readonly bytes: number };
  readonly at_peak: readonly {
    readonly name: string;
    readonly type: string;
    readonly bytes: number;
    readonly count: number;
  }[];
};

/** What is live at the peak, alike tensors together, the most bytes first. */
function atPeak({ peak, allocations }: MemoryPlan): MemoryReport["at_peak"] {
  const alike = new Map<string, { name: string; type: string; bytes: number; count: number }>();
  const isLive = ({ from, to }: Allocation): boolean => from <= peak.time && to > peak.time;
  for (const { name, type, bytes } of allocations.filter(isLive)) {
    const key = `${name} ${formatType(type)}`;
    const seen = alike.get(key) ?? { name, type: formatType(type), bytes: 0, count: 0 };
    seen.bytes += bytes;
    seen.count++;
    alike.set(key, seen);
  }
  return [...alike.values()].sort((a, b) => b.bytes - a.bytes);
}

function memoryReport(plan: MemoryPlan): MemoryReport {
  return {
    program: plan.name,
    peak_bytes: plan.peak.bytes,
    peak_after: plan.peak.after,
    arena_bytes: plan.arenaBytes,
    operand_bytes: plan.operandBytes,
    result_bytes: plan.resultBytes,
    in_place: { results: plan.inPlace.count, bytes: plan.inPlace.bytes },
    at_peak: atPeak(plan),
  };
}

/** A memory plan as text: sums, then the largest tensors at the peak. */
export function memoryLines(plan: MemoryPlan): string[] {
  const report = memoryReport(plan);
  const { count, bytes } = plan.inPlace;
  const shown = report.at_peak.slice(0, MOST);
  const rest = report.at_peak.slice(MOST).reduce((n, each) => n + each.bytes, 0);
  return [
    `peak ${formatBytes(plan.peak.bytes)} (${plan.peak.bytes} bytes) after ${plan.peak.after}; operands ${formatBytes(plan.operandBytes)}, results ${formatBytes(plan.resultBytes)}`,
    `arena ${formatBytes(plan.arenaBytes)} (${plan.arenaBytes} bytes) for ${plan.allocations.length} allocations`,
    `in place: ${counted(count, "result")}, ${formatBytes(bytes)}`,
    ...shown.map(
      (each) =>
        `at the peak: ${each.count > 1 ? `${each.count} x ` : ""}%${each.name}: ${each.type}, ${formatBytes(each.bytes)}`,
    ),
    ...(rest > 0 ? [`at the peak: ${report.at_peak.length - MOST} more, ${formatBytes(rest)}`] : []),
  ];
}
