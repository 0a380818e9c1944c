// The Python that runs transformers, when a command asks for it.
import type { Python } from "../runtime/eval/transformers-logits.ts";
import type { Io } from "./command.ts";
import { transformersScript } from "./package.ts";

/** By flag, by Q3C_PYTHON, or the usual one. */
export const pythonOf = (flag: string | undefined, { env, cwd, err }: Io): Python => ({
  command: flag ?? (env["Q3C_PYTHON"] || "python3"),
  script: transformersScript,
  env,
  cwd,
  err,
});
