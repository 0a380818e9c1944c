// How errors leave the command line: as text for people or as JSON for programs, with an exit code.
import {
  type Diagnostic,
  messageAt,
  type Note,
  type Place,
  Q3Error,
  type Span,
  toPlace,
} from "../compiler/diag.ts";
import type { Io } from "./command.ts";

const internalExit = 70;

/** A place as JSON shows it; what is not known of it is null. */
export function placeJson(at: Span | Place | undefined) {
  const { file, line, column }: Partial<Place> = at ? toPlace(at) : {};
  return { file: file ?? null, line: line ?? null, column: column ?? null };
}

const noteJson = (note: Note) => ({ message: messageAt(note), ...placeJson(note.at) });

/** A diagnostic as JSON shows it: all that its text says but the line shown from the file. Every field is always there. */
export const diagnosticJson = (diagnostic: Diagnostic) => ({
  code: diagnostic.code,
  ...noteJson(diagnostic),
  help: diagnostic.help ?? null,
  notes: (diagnostic.notes ?? []).map(noteJson),
});

/** Prints what was thrown, with its stack on demand, and says the exit code: the error's own, or 70 for a bug of ours. */
export function reportFailure(
  error: unknown,
  io: Pick<Io, "err">,
  { json, debug }: { readonly json: boolean; readonly debug: boolean },
): number {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const isOurs = error instanceof Q3Error;
  if (json) {
    for (const one of isOurs ? error.diagnostics : [bugOf(error)])
      io.err(JSON.stringify({ error: { ...diagnosticJson(one), ...(debug ? { stack } : {}) } }));
  } else {
    const { code, message, help } = bugOf(error);
    io.err(isOurs ? error.message : `${code}: ${message}\n${help}`);
    if (debug) io.err(stack);
  }
  return isOurs ? error.exitCode : internalExit;
}

/** What a bug of ours is told as. */
const bugOf = (error: unknown): Diagnostic => ({
  code: "internal",
  message: (error instanceof Error ? error.message : String(error))
    .replace(/^internal: /, "")
    .replaceAll("\n", " "),
  help: "this is a bug in q3c; rerun with --debug for the stack",
});
