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

/** Prints what is doubtful about a configuration. */
export function printWarnings({ warnings }: Config, io: Io, json: boolean): void {
  for (const warning of warnings)
    io.err(
      json ? JSON.stringify({ warning: diagnosticJson(warning) }) : `warning: ${formatDiagnostic(warning)}`,
    );
}
