// Diagnostics: what went wrong, where, and what to do. Offsets inside, lines and carets only when printed.

/** A text that positions refer to. `file` is the name shown to the user. */
export type Source = { readonly file: string; readonly text: string };

/** Half-open range of offsets in a source. */
export type Span = { readonly source: Source; readonly start: number; readonly end: number };

/** A place of which no text is shown: a file or folder, a line and column as far as known, and what of it in words. */
export type Place = {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  /** As `tensor \`lm_head.weight\`` or `row 3`. */
  readonly part?: string;
};

/** More to say about a problem, and where. */
export type Note = { readonly message: string; readonly at?: Span | Place | undefined };

/**
 * One problem. `code` is kebab-case and stable; `message` says what is wrong, what was expected and what was
 * found, `at` in which text or file; `notes` point at the other places involved; `help` says what to do.
 */
export type Diagnostic = {
  readonly code: string;
  readonly message: string;
  readonly at?: Span | Place | undefined;
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

/** Throws one diagnostic as a Q3Error; `exitCode` is what the command ends with, 1 unless told. */
export function fail(diagnostic: Diagnostic, exitCode?: number): never {
  throw new Q3Error(diagnostic, exitCode);
}

/** Fails for what only a bug of ours can bring about. */
export function bug(message: string): never {
  throw new Error(`internal: ${message}`);
}

/** A condition that only a bug of ours can break. Where saying so takes time, `bug` says it only then. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) bug(message);
}

function lineAndColumn(source: Source, offset: number): { line: number; column: number } {
  const before = source.text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - before.lastIndexOf("\n") };
}

/** The place where a span starts; another place is its own. */
export const toPlace = (at: Span | Place): Place =>
  "source" in at ? { file: at.source.file, ...lineAndColumn(at.source, at.start) } : at;

/** `file:line:col`, as far as known. */
export function formatPlace(at: Span | Place): string {
  const { file, line, column } = toPlace(at);
  return [file, line, column].filter((one) => one !== undefined).join(":");
}

/** A message with the part of its place that it is about. */
export const messageAt = ({ message, at }: Note): string =>
  at && "part" in at ? `${at.part}: ${message}` : message;

// The text of a span, underlined; of another place there is none.
function frame(at: Span | Place | undefined): readonly string[] {
  if (!at || !("source" in at)) return [];
  const { source, start, end } = at;
  const { text } = source;
  const from = text.lastIndexOf("\n", start - 1) + 1;
  const newline = text.indexOf("\n", start);
  const to = newline < 0 ? text.length : newline;
  const width = Math.max(1, Math.min(end, to) - start);
  const indent = text.slice(from, start).replace(/[^\t]/g, " ");
  return [`  ${text.slice(from, to)}`, `  ${indent}${"^".repeat(width)}`];
}

function saidAt(kind: string, note: Note): readonly string[] {
  const place = note.at ? `${formatPlace(note.at)}: ` : "";
  return [`${place}${kind}: ${messageAt(note)}`, ...frame(note.at)];
}

/** The diagnostic as a terminal shows it: place and message, the line with carets under it, notes, help. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { code, notes = [], help } = diagnostic;
  return [
    ...saidAt(code, diagnostic),
    ...notes.flatMap((note) => saidAt("note", note)),
    ...(help ? [`help: ${help}`] : []),
  ].join("\n");
}

/** A count with its noun: `1 node`, `3 nodes`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

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
