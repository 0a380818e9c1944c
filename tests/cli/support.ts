// Calling q3c in this process, and whole-text goldens.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect } from "@jest/globals";
import type { Command, Io } from "../../cli/command.ts";
import { runLine } from "../../cli/dispatch.ts";
import { commands } from "../../cli/main.ts";

export type Outcome = {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly statuses: readonly string[];
};

/** Surroundings that keep what is printed. */
export function recordingIo(given: Partial<Io> = {}) {
  let begun = "";
  const out: string[] = [];
  const err: string[] = [];
  const statuses: string[] = [];
  const io: Io = {
    out: (line) => void out.push(line),
    write(text) {
      const lines = `${begun}${text}`.split("\n");
      begun = lines.pop() ?? "";
      out.push(...lines);
    },
    err: (line) => void err.push(line),
    status: (line) => void statuses.push(line),
    isTerminal: false,
    whenInterrupted: () => {},
    untilStopped: async () => {},
    env: {},
    cwd: process.cwd(),
    columns: 100,
    ...given,
  };
  return { io, out, err, statuses };
}

/** Runs a command line on a table of commands, the real one unless given. */
export async function q3c(
  line: readonly string[],
  { table = commands, io: given = {} }: { table?: readonly Command[]; io?: Partial<Io> } = {},
): Promise<Outcome> {
  const { io, out, err, statuses } = recordingIo(given);
  const code = await runLine(table, line, io);
  return { code, out: out.join("\n"), err: err.join("\n"), statuses };
}

/** Compares a text with a stored one; UPDATE_GOLDENS=1 stores it instead. */
export function expectGolden(name: string, text: string): void {
  const folder = new URL("./goldens/", import.meta.url);
  const file = new URL(name, folder);
  if (process.env["UPDATE_GOLDENS"]) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, `${text}\n`);
  }
  if (!existsSync(file)) throw new Error(`no golden ${name}; UPDATE_GOLDENS=1 writes it`);
  expect(`${text}\n`).toBe(readFileSync(file, "utf8"));
}
