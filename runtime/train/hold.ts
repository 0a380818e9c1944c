// One process at a time trains a run: each says that it does with a file in the run's directory, named by its id.
import * as fs from "node:fs";
import { join } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { failWrite } from "../files.ts";
import { isRunning } from "../running.ts";

const PREFIX = ".training-";

/**
 * Takes a run's directory until the function that it gives is called or the process ends. A directory that another
 * process trains in is refused; what processes left there that are gone is removed.
 */
export function holdRun(directory: string): () => void {
  const own = join(directory, `${PREFIX}${process.pid}`);
  try {
    fs.mkdirSync(directory, { recursive: true });
    // Written before others are looked for: of two that start at once, one at least sees the other.
    fs.writeFileSync(own, "");
  } catch (error) {
    failWrite(own, error);
  }
  const release = (): void => {
    process.removeListener("exit", release);
    fs.rmSync(own, { force: true });
  };
  // Ctrl-C exits without going back through the callers.
  process.once("exit", release);
  for (const pid of othersIn(directory)) {
    const file = join(directory, `${PREFIX}${pid}`);
    if (!isRunning(pid)) {
      fs.rmSync(file, { force: true });
      continue;
    }
    release();
    fail({
      code: "run-held",
      message: `${directory}: process ${pid} trains this run`,
      help: `wait for it, or choose another run_name; if it is no training, remove ${file}`,
    });
  }
  return release;
}

const othersIn = (directory: string): readonly number[] =>
  fs
    .readdirSync(directory)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => Number(name.slice(PREFIX.length)))
    .filter((pid) => Number.isInteger(pid) && pid > 0 && pid !== process.pid);
