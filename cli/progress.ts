// Progress of long work: one line rewritten in place on a terminal, whole lines or nothing elsewhere.
import type { Io } from "./command.ts";

/** What the work calls: how much is done, of how much, and what is being done. It prints nothing but progress. */
export type Progress = (done: number, total: number, doing?: string) => void;

/** What to call the work, and what happens where a line cannot be rewritten. */
export type ProgressOptions = {
  readonly label: string;
  readonly elsewhere: "quiet" | "lines";
  /** What is counted: things, unless it is bytes, which are shown with their rate. */
  readonly unit?: "bytes";
  /** Milliseconds from any fixed point; tests pass their own. */
  readonly now?: () => number;
};

const redrawAfter = 100;

function remaining(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000);
  if (seconds < 100) return `${seconds} s left`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 100 ? `${minutes} min left` : `${Math.ceil(minutes / 60)} h left`;
}

const bytesIn = (bytes: number, unit: number): string => (bytes / unit).toFixed(unit === 1e9 ? 2 : 0);

/** How much of how much, and for bytes how fast. */
function amount(done: number, total: number, elapsed: number, unit: ProgressOptions["unit"]): string {
  if (unit !== "bytes") return `${String(done).padStart(String(total).length)}/${total}`;
  const [size, name] = total < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  const rate = elapsed > 0 ? `  ${(done / elapsed / 1e3).toFixed(0)} MB/s` : "";
  return `${bytesIn(done, size).padStart(bytesIn(total, size).length)}/${bytesIn(total, size)} ${name}${rate}`;
}

function progressLine(
  { label, unit }: ProgressOptions,
  done: number,
  total: number,
  elapsed: number,
  doing: string,
): string {
  const parts = [`${label} ${amount(done, total, elapsed, unit)}`];
  if (done > 0 && done < total) parts.push(remaining((elapsed / done) * (total - done)));
  return [...parts, ...(doing === "" ? [] : [doing])].join("  ");
}

/** A callback that shows progress on these surroundings. When all is done, its line goes away. */
export function showProgress(io: Io, options: ProgressOptions): Progress {
  const { elsewhere, now = () => performance.now() } = options;
  const start = now();
  let drawn = Number.NEGATIVE_INFINITY;
  return (done, total, doing = "") => {
    const time = now();
    const line = progressLine(options, done, total, time - start, doing);
    if (!io.isTerminal) {
      if (elsewhere === "lines") io.err(line);
      return;
    }
    if (done >= total) io.status("");
    else if (time - drawn >= redrawAfter) {
      // A line as wide as the terminal would wrap and could not be taken back.
      io.status(line.slice(0, io.columns - 1));
      drawn = time;
    }
  };
}
