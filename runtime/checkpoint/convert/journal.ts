// What a conversion has finished, kept beside its unfinished output, so that a run that was cut off can be gone on with.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { fail } from "../../../compiler/diag.ts";
import { isRecord } from "../../../compiler/json.ts";
import { readText, writing } from "../../files.ts";
import { isRunning, isTaken, ownMark, take } from "../../running.ts";
import type { DonePart } from "./work.ts";

const NAME = "q3c-convert.jsonl";

/** The journal of an unfinished output: one line for the work as a whole, then one for each part that is on disk. */
export type Journal = { add(part: DonePart): void; close(): void };

/** A short name for a description of work: the same only for the same work. */
export const fingerprint = (description: unknown): string =>
  createHash("sha256").update(JSON.stringify(description)).digest("hex");

/**
 * The parts that the journal in a directory says are done, the last word on each; nothing when it is of other work, or
 * there is no directory. A directory with something else in it, or one that another process or another conversion of
 * this one writes to, is refused.
 */
export function readJournal(directory: string, work: string): readonly DonePart[] | undefined {
  if (!fs.existsSync(directory) || fs.readdirSync(directory).length === 0) return undefined;
  const path = join(directory, NAME);
  if (!fs.existsSync(path))
    fail({
      code: "checkpoint-unfinished",
      message: "in the way: another save is writing there, or was cut off",
      at: { file: directory },
      help: "remove it if nothing is saving there",
    });
  const [head, ...rest] = readText(path).split("\n").map(parseLine);
  const { pid, mark } = rest.findLast((line) => line?.["pid"] !== undefined) ?? {};
  const isAtWork = (id: number): boolean =>
    id === process.pid ? isTaken(directory) : isRunning(id, typeof mark === "string" ? mark : undefined);
  if (typeof pid === "number" && isAtWork(pid))
    fail({
      code: "checkpoint-unfinished",
      message: `process ${pid} is writing there`,
      at: { file: directory },
      help: "wait for it, or end it first",
    });
  if (head?.["work"] !== work) return undefined;
  const parts = rest.flatMap((line) => {
    const [part, sum] = [line?.["part"], line?.["sum"]];
    const isPart = typeof part === "number" && (typeof sum === "number" || sum === null);
    return isPart ? [[part, sum] as const] : [];
  });
  return Array.from(new Map(parts), ([part, sum]) => ({ part, sum }));
}

// The last line may have been cut off with the run.
function parseLine(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Empties a directory for new work, its journal last: without one, nobody would know whose the rest is. */
export function clearFor(directory: string, work: string): void {
  writing(directory, () => {
    fs.mkdirSync(directory, { recursive: true });
    for (const name of fs.readdirSync(directory))
      if (name !== NAME) fs.rmSync(join(directory, name), { recursive: true });
    fs.writeFileSync(join(directory, NAME), line({ work }));
  });
}

/** Goes on with the journal of a directory, which from now on is this process's. */
export function openJournal(directory: string): Journal {
  const path = join(directory, NAME);
  const file = writing(path, () => fs.openSync(path, "a"));
  const append = (text: string): void =>
    writing(path, () => {
      fs.writeSync(file, text);
      fs.fdatasyncSync(file);
    });
  // The line before may have been cut off.
  append(`\n${line({ pid: process.pid, mark: ownMark() })}`);
  const leave = take(directory);
  return {
    add: (part) => append(line(part)),
    close() {
      leave();
      fs.closeSync(file);
    },
  };
}

const line = (value: object): string => `${JSON.stringify(value)}\n`;

/** Removes the journal of an output that is whole. */
export const removeJournal = (directory: string): void => fs.rmSync(join(directory, NAME), { force: true });
