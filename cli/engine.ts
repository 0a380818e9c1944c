// The engine of a configuration, with the passes that make programs fast to run.
import type { Config } from "../compiler/config/load.ts";
import type { Engine } from "../runtime/engines/engine.ts";

/** Starts the engine; programs are fused before it compiles them. */
export async function startEngine(config: Config): Promise<Engine> {
  const { openEngine } = await import("../runtime/engines/open.ts");
  const { runPipeline } = await import("../passes/pass.ts");
  const { fuseKernels } = await import("../passes/fuse-kernels.ts");
  return openEngine(config, (module) => runPipeline(module, [fuseKernels]));
}
