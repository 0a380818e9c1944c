// What `q3c inspect` prints.

import { counted } from "../compiler/diag.ts";
import { formatBytes } from "../compiler/plan/report.ts";
import type { Inspection } from "../runtime/checkpoint/inspect.ts";
import { table } from "./layout.ts";

/** `70 F32, 1 I64`: how many of each. */
function tally(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}

const LAYERS: ReadonlyMap<boolean | undefined, string> = new Map([
  [true, "scanned: the layers of a kind are one tensor"],
  [false, "not scanned: every layer has tensors of its own"],
]);

/** What a checkpoint holds: the whole, then every tensor. */
export function inspectionLines(found: Inspection): readonly string[] {
  const { format, storage, step, isScanned, tensors, nodes, metadata, elements, bytes } = found;
  const kind = format === "orbax" ? "Orbax" : "safetensors";
  const absent = tensors.reduce((sum, { absentChunks }) => sum + absentChunks, 0);
  const layers = LAYERS.get(isScanned);
  const rows = tensors.map(({ name, dtype, shape, bytes: size }) => [
    dtype,
    `[${shape.join(", ")}]`,
    formatBytes(size),
    name,
  ]);
  return [
    found.path,
    `${kind} checkpoint${step === undefined ? "" : ` of step ${step}`}, ${storage}`,
    ...(layers === undefined ? [] : [layers]),
    `${counted(tensors.length, "tensor")} (${tally(tensors.map(({ dtype }) => dtype))}), ${counted(elements, "element")}, ${formatBytes(bytes)}`,
    ...(absent > 0 ? [`${counted(absent, "chunk")} left out: they hold nothing but the fill value`] : []),
    ...(Object.keys(metadata).length > 0 ? [`noted: ${JSON.stringify(metadata)}`] : []),
    "",
    ...table(rows, Number.POSITIVE_INFINITY, ""),
    ...nodes.map(
      ({ name, kind: empty, text }) =>
        `${empty}: ${name}${text === undefined ? "" : ` = ${JSON.stringify(text)}`}`,
    ),
  ];
}

/** What it means that all of it could be read. */
export function verdictLines({ tensors, format, bytes }: Inspection): readonly string[] {
  const under = tensors.filter(({ checksums }) => checksums.length > 0);
  const bare = tensors.length - under.length;
  const sums = [...new Set(under.flatMap(({ checksums }) => checksums))].join(", ");
  return [
    `whole: every chunk of ${counted(tensors.length, "tensor")} was read, ${formatBytes(bytes)}`,
    ...(under.length > 0
      ? [`${counted(under.length, "tensor")} with a check sum over every element (${sums}): all agree`]
      : []),
    ...(bare > 0
      ? [
          format === "safetensors"
            ? "safetensors has no check sums: sizes and places agree, but a changed byte looks like another value"
            : `${counted(bare, "tensor")} without a check sum over the elements: sizes and places agree, but a changed byte may look like another value`,
        ]
      : []),
  ];
}
