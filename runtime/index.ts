// What the runtime offers to programs: engines, forward runs, training, checkpoints and checks.
export { openTensors } from "./checkpoint/open.ts";
export { openOrbax } from "./checkpoint/orbax/read.ts";
export { createOrbax, openOrbaxPart } from "./checkpoint/orbax/write.ts";
export { openSafetensors } from "./checkpoint/safetensors.ts";
export { saveHuggingFace } from "./checkpoint/save.ts";
export { writeSafetensors, writeShardedSafetensors } from "./checkpoint/write-safetensors.ts";
export { continueGreedily, generate } from "./decode/generate.ts";
export { type Generator, openGenerator } from "./decode/generator.ts";
export type { Engine, Executable } from "./engines/engine.ts";
export { openEngine } from "./engines/open.ts";
export { startTfjsEngine } from "./engines/tfjs/engine.ts";
export { checkLogits } from "./eval/check-logits.ts";
export { type Forward, openForward } from "./forward.ts";
export { startingWeights } from "./starting-weights.ts";
export { train } from "./train/train.ts";
export { openTrainer, type Trainer } from "./train/trainer.ts";
