// How errors leave the command line: as text for people or as JSON for programs, with an exit code.
import { type Diagnostic, lineAndColumn, Q3Error, type Span } from "../compiler/diag.ts";
import type { Io } from "./command.ts";

const internalExit = 70;

/** Where a span starts, as JSON shows it. */
export const placeJson = (at: Span) => ({ file: at.source.file, ...lineAndColumn(at.source, at.start) });

const nowhere = { file: null, line: null, column: null };

/** A diagnostic as JSON shows it; what it does not say is null. */
export const diagnosticJson = ({ code, message, at, help }: Diagnostic) => ({
  code,
  message,
  ...(at ? placeJson(at) : nowhere),
  help: help ?? null,
});

/** Prints what was thrown and says the exit code: the error's own, or 70 for a bug of ours. */
export function reportFailure(
  error: unknown,
  io: Pick<Io, "err">,
  { json, debug }: { readonly json: boolean; readonly debug: boolean },
): number {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  if (error instanceof Q3Error) {
    if (json) for (const one of error.diagnostics) io.err(JSON.stringify({ error: diagnosticJson(one) }));
    else io.err(error.message);
    if (debug) io.err(stack);
    return error.exitCode;
  }
  const said = error instanceof Error ? error.message : String(error);
  const message = said.replace(/^internal: /, "").replaceAll("\n", " ");
  const help = "this is a bug in q3c; rerun with --debug for the stack";
  if (json) io.err(JSON.stringify({ error: diagnosticJson({ code: "internal", message, help }) }));
  else io.err(`internal: ${message}\n${help}`);
  if (debug) io.err(stack);
  return internalExit;
}
