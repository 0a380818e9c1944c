// The work of a conversion that any thread can do: making the blocks of a batch and writing them as one part.
import { setImmediate as breathe } from "node:timers/promises";
import { Q3Error } from "../../../compiler/diag.ts";
import { crc32c } from "../crc32c.ts";
import { openSafetensorsPart, readPart, type SafetensorsPlan } from "../create-safetensors.ts";
import { gather } from "../gather.ts";
import { isPartFinished, type OrbaxPlan, openOrbaxPart, readOrbaxPart } from "../orbax/write.ts";
import type { TensorReader, TensorWriter } from "../tensors.ts";
import { lend } from "../vector-memory.ts";
import { type Block, bytesOfBlock } from "./blocks.ts";

/** What is being written. Plain data, to be posted to a worker thread. */
export type TargetPlan =
  | { readonly kind: "orbax"; readonly orbax: OrbaxPlan }
  | { readonly kind: "safetensors"; readonly safetensors: SafetensorsPlan };

/** Blocks that become one part, numbered from 1. */
export type Task = { readonly part: number; readonly blocks: readonly Block[] };

/**
 * A part that is on disk, and the CRC-32C of its blocks' bytes in their order; null where the format itself keeps each
 * block under a check sum.
 */
export type DonePart = { readonly part: number; readonly sum: number | null };

function openPart(target: TargetPlan, part: number): TensorWriter {
  return target.kind === "orbax"
    ? openOrbaxPart(target.orbax, part)
    : openSafetensorsPart(target.safetensors);
}

/** Makes and writes the blocks of a task. `wrote` hears of every block's bytes; between two, Ctrl-C is heard. */
export async function doTask(
  source: TensorReader,
  target: TargetPlan,
  { part, blocks }: Task,
  wrote: (bytes: number) => void,
): Promise<DonePart> {
  const writer = openPart(target, part);
  let sum = target.kind === "orbax" ? null : 0;
  try {
    for (const block of blocks) {
      // A block is written before the next is made.
      const phase = writer.phaseOf?.(block.plan.name, block.box);
      const rooms = { source: lend("source"), target: lend("target", phase) };
      const bytes = gather(block.plan, block.box, source, block.dtype, rooms);
      writer.write(block.plan.name, block.box, bytes);
      if (sum !== null) sum = crc32c(bytes, sum);
      wrote(bytesOfBlock(block));
      await breathe();
    }
    writer.commit();
  } catch (error) {
    writer.abandon();
    throw error;
  }
  return { part, sum };
}

/** Whether a part that an earlier run wrote is still what it was. */
export function isIntact(target: TargetPlan, task: Task, sum: number | null): boolean {
  if (target.kind === "orbax" && !isPartFinished(target.orbax, task.part)) return false;
  try {
    return sumOf(target, task, sum !== null) === (sum ?? 0);
  } catch (error) {
    // What is damaged is made again.
    if (error instanceof Q3Error) return false;
    throw error;
  }
}

/** Reads a part again, which checks it as far as its format can, and sums its bytes if that is wanted: 0 if not. */
function sumOf(target: TargetPlan, { part, blocks }: Task, isWanted: boolean): number {
  const reader = target.kind === "orbax" ? readOrbaxPart(target.orbax, part) : readPart(target.safetensors);
  try {
    let sum = 0;
    for (const { plan, box } of blocks) {
      const bytes = reader.read(plan.name, box);
      if (isWanted) sum = crc32c(bytes, sum);
    }
    return sum;
  } finally {
    reader.close();
  }
}
