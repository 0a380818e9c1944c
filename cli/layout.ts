// Laying out text for a terminal: paragraphs and tables that keep to a width.

/** Breaks a text at spaces into lines of at most `width`; a longer word stays whole. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Breaks a shell's line between its words into lines of at most `width` that paste as the one; a longer word stays whole. */
export function wrapShell(text: string, width: number): readonly string[] {
  const words = text.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? [];
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length + 2 <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(lines.length === 0 ? word : `  ${word}`);
  }
  return lines.map((line, i) => (i < lines.length - 1 ? `${line} \\` : line));
}

/** Lines of rows whose last column is wrapped and whose others are as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[], width: number, indent = "  "): readonly string[] {
  const count = Math.max(0, ...rows.map((row) => row.length - 1));
  const widths = Array.from({ length: count }, (_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? "").length)),
  );
  return rows.flatMap((row) => {
    const before = indent + widths.map((w, i) => `${(row[i] ?? "").padEnd(w)}  `).join("");
    const room = Math.max(30, width - before.length);
    const wrapped = wrap(row[count] ?? "", room);
    return wrapped.map((line, i) => `${i === 0 ? before : " ".repeat(before.length)}${line}`.trimEnd());
  });
}

/** Lines of rows whose columns are as wide as their widest cell: names to the left, then numbers, to the right. */
export function numberTable(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
