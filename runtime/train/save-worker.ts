// A thread that writes checkpoints, one after another, as they are posted to it.
import { parentPort } from "node:worker_threads";
import { type Diagnostic, invariant, Q3Error } from "../../compiler/diag.ts";
import { type StateSave, writeSave } from "./checkpoints.ts";

/** What it answers to each. */
export type Answer =
  | { readonly kind: "saved" }
  | { readonly kind: "failed"; readonly diagnostics: readonly Diagnostic[] }
  | { readonly kind: "bug"; readonly error: unknown };

const port = parentPort;
invariant(port, "this module runs in a worker thread");
const answer = (message: Answer): void => port.postMessage(message);

port.on("message", (save: StateSave) => {
  try {
    writeSave(save);
    answer({ kind: "saved" });
  } catch (error) {
    if (error instanceof Q3Error) answer({ kind: "failed", diagnostics: error.diagnostics });
    else answer({ kind: "bug", error });
  }
});
