// The configuration that a command's arguments mean.
import type { Config } from "../compiler/config/load.ts";
import { formatDiagnostic } from "../compiler/diag.ts";
import type { Io } from "./command.ts";
import { diagnosticJson } from "./failure.ts";
import { modelsDir } from "./package.ts";

/** Loads the configuration of positional and key=value arguments. */
export async function readConfig(args: readonly string[], { env, cwd }: Io): Promise<Config> {
  const { loadConfig } = await import("../compiler/config/load.ts");
  return loadConfig(args, { env, cwd, modelsDir });
}

/** Where output goes is no matter to a command that writes none. */
const OUTPUT = "no-output-directory";

/** Prints what is doubtful about a configuration, for a command that writes output or one that does not. */
export function printWarnings({ warnings }: Config, io: Io, json: boolean, writes: boolean): void {
  for (const warning of warnings.filter(({ code }) => writes || code !== OUTPUT))
    io.err(
      json ? JSON.stringify({ warning: diagnosticJson(warning) }) : `warning: ${formatDiagnostic(warning)}`,
    );
}

/**
 * Loads the configuration of a command that reads a model and its tokenizer, which must lie on this machine, and saves
 * nothing of a run; prints its warnings.
 */
export async function readModelConfig(args: readonly string[], io: Io, json: boolean): Promise<Config> {
  const config = await readConfig(args, io);
  const { requireLocal } = await import("../compiler/config/remote.ts");
  requireLocal(config, "load_parameters_path", "tokenizer_path");
  printWarnings(config, io, json, false);
  return config;
}
