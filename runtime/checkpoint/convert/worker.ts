// A thread that does tasks of a conversion, one after another, as they are posted to it.
import { parentPort, workerData } from "node:worker_threads";
import { type Diagnostic, invariant, Q3Error } from "../../../compiler/diag.ts";
import { openTensors } from "../open.ts";
import { type DonePart, doTask, type TargetPlan, type Task } from "./work.ts";

/** What a thread is started with. */
export type Start = { readonly source: string; readonly target: TargetPlan };

/** What it answers: bytes written meanwhile, then the part or what went wrong. */
export type Answer =
  | { readonly kind: "wrote"; readonly bytes: number }
  | { readonly kind: "done"; readonly done: DonePart }
  | { readonly kind: "failed"; readonly diagnostics: readonly Diagnostic[] }
  | { readonly kind: "bug"; readonly error: unknown };

const port = parentPort;
invariant(port, "this module runs in a worker thread");
const { source: path, target } = workerData as Start;
const source = openTensors(path);
const answer = (message: Answer): void => port.postMessage(message);

port.on("message", async (task: Task) => {
  try {
    const done = await doTask(source, target, task, (bytes) => answer({ kind: "wrote", bytes }));
    answer({ kind: "done", done });
  } catch (error) {
    if (error instanceof Q3Error) answer({ kind: "failed", diagnostics: error.diagnostics });
    else answer({ kind: "bug", error });
  }
});
