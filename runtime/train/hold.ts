// One at a time trains a run: each process says that it does with a file in the run's directory, named by its id, which
// holds its mark.
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { readText, writing } from "../files.ts";
import { isRunning, isTaken, ownMark, take } from "../running.ts";

const PREFIX = ".training-";

/**
 * Takes a run's directory until the function that it gives is called or the process ends. A directory that is trained
 * in, by another process or by this one, is refused; what processes left there that are gone is removed.
 */
export function holdRun(directory: string): () => void {
  const made = writing(directory, () => fs.mkdirSync(directory, { recursive: true }));
  if (isTaken(directory))
    fail({
      code: "run-held",
      message: "this process is already training this run",
      at: { file: directory },
      help: "wait for it, or choose another run_name",
    });
  const own = join(directory, `${PREFIX}${process.pid}`);
  // Written before others are looked for: of two that start at once, one at least sees the other.
  writing(own, () => fs.writeFileSync(own, ownMark()));
  const leave = take(directory);
  const release = (): void => {
    process.removeListener("exit", release);
    leave();
    fs.rmSync(own, { force: true });
    // A run that never began leaves nothing.
    if (made !== undefined) removeEmpty(directory, made);
  };
  // Ctrl-C exits without going back through the callers.
  process.once("exit", release);
  for (const pid of othersIn(directory)) {
    const file = join(directory, `${PREFIX}${pid}`);
    if (!isRunning(pid, fs.existsSync(file) ? readText(file) : undefined)) {
      fs.rmSync(file, { force: true });
      continue;
    }
    release();
    fail({
      code: "run-held",
      message: `process ${pid} is training this run`,
      at: { file: directory },
      help: `wait for it, or choose another run_name; if that process is not training, remove ${file}`,
    });
  }
  return release;
}

/** Removes a directory and those above it, up to one that is `last`, as long as nothing is in them. */
function removeEmpty(directory: string, last: string): void {
  try {
    fs.rmdirSync(directory);
  } catch {
    return;
  }
  if (directory !== last) removeEmpty(dirname(directory), last);
}

const othersIn = (directory: string): readonly number[] =>
  fs
    .readdirSync(directory)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => Number(name.slice(PREFIX.length)))
    .filter((pid) => Number.isInteger(pid) && pid > 0 && pid !== process.pid);
