// Diagnostics: what went wrong, where, and what to do. Offsets inside, lines and carets only when printed.

/** A text that positions refer to. `file` is the name shown to the user. */
export type Source = { readonly file: string; readonly text: string };

/** Half-open range of offsets in a source. */
export type Span = { readonly source: Source; readonly start: number; readonly end: number };

export type Note = { readonly message: string; readonly at?: Span | undefined };

/**
 * One problem. `code` is kebab-case and stable; `message` says what is wrong, what was expected and what was
 * found; `notes` point at the other places involved; `help` says what to do.
 */
export type Diagnostic = {
  readonly code: string;
  readonly message: string;
  readonly at?: Span | undefined;
  readonly notes?: readonly Note[];
  readonly help?: string | undefined;
};

/** The one error class thrown on purpose; everything else is a bug of ours. */
export class Q3Error extends Error {
  readonly diagnostics: readonly Diagnostic[];
  /** Exit status of the command line: 1, or 2 for configuration errors as in MaxText. */
  readonly exitCode: number;
  constructor(diagnostics: Diagnostic | readonly Diagnostic[], exitCode = 1) {
    const list: readonly Diagnostic[] = "code" in diagnostics ? [diagnostics] : diagnostics;
    super(list.map(formatDiagnostic).join("\n"));
    this.name = "Q3Error";
    this.diagnostics = list;
    this.exitCode = exitCode;
  }
}

export function fail(diagnostic: Diagnostic, exitCode?: number): never {
  throw new Q3Error(diagnostic, exitCode);
}

/** A condition that only a bug of ours can break. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`internal: ${message}`);
}

export function lineAndColumn(source: Source, offset: number): { line: number; column: number } {
  const before = source.text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - before.lastIndexOf("\n") };
}

/** `file:line:col` of a span's start. */
export function formatPlace(span: Span): string {
  const { line, column } = lineAndColumn(span.source, span.start);
  return `${span.source.file}:${line}:${column}`;
}

function frame(span: Span): string {
  const { text } = span.source;
  const from = text.lastIndexOf("\n", span.start - 1) + 1;
  const newline = text.indexOf("\n", span.start);
  const to = newline < 0 ? text.length : newline;
  const width = Math.max(1, Math.min(span.end, to) - span.start);
  const indent = text.slice(from, span.start).replace(/[^\t]/g, " ");
  return `  ${text.slice(from, to)}\n  ${indent}${"^".repeat(width)}`;
}

export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { code, message, at, notes = [], help } = diagnostic;
  const lines = [`${at ? `${formatPlace(at)}: ` : ""}${code}: ${message}`];
  if (at) lines.push(frame(at));
  for (const note of notes) {
    lines.push(`${note.at ? `${formatPlace(note.at)}: ` : ""}note: ${note.message}`);
    if (note.at) lines.push(frame(note.at));
  }
  if (help) lines.push(`help: ${help}`);
  return lines.join("\n");
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The candidate nearest to a mistyped name, as a help sentence, or nothing when none is near. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === undefined ? undefined : `did you mean \`${best}\`?`;
}
