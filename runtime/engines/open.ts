// The engine a configuration asks for.
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { type Engine, optimizing } from "./engine.ts";
import { startTfjsEngine } from "./tfjs/engine.ts";

/** Starts the configuration's engine; `auto` is the best one there is. What it compiles goes through `optimize`. */
export async function openEngine(
  config: Config,
  optimize: (module: Module) => Module = (module) => module,
): Promise<Engine> {
  const { engine } = config.values;
  if (engine === "auto" || engine === "tfjs") return optimizing(await startTfjsEngine(), optimize);
  return fail(
    {
      code: "engine-missing",
      message: `q3c has no ${engine} engine yet`,
      at: config.spanOf("engine"),
      help: "use engine=auto or engine=tfjs",
    },
    2,
  );
}
