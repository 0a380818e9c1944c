// Qwen3-Next 80B-A3B through all passes of a training step: in seconds, as large for many layers as for few when they are
// scanned, and in time that grows as the layers do when they are not.
import { resolve } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { allNodes } from "../../compiler/ir/rewrite.ts";
import { lossProgram, rematPolicyOf } from "../../compiler/training.ts";
import { trainingPipeline } from "../../passes/index.ts";
import { runPipeline } from "../../passes/pass.ts";
import { remat } from "../../passes/remat.ts";

/** Seconds of processor time, the better of two runs, and the nodes there are afterwards. */
function compiled(layers: number, isScanned: boolean): { readonly seconds: number; readonly nodes: number } {
  const config = loadConfig(
    [
      "base",
      "model_name=qwen3-next-80b-a3b",
      "override_model_config=true",
      `base_num_decoder_layers=${layers}`,
      "per_device_batch_size=1",
      "max_target_length=1024",
      "base_output_directory=unused",
    ],
    { env: {}, cwd: process.cwd(), modelsDir: resolve("models") },
  );
  const runs = [1, 2].map(() => {
    const started = process.cpuUsage();
    const passes = trainingPipeline({ scanLayers: isScanned, remat: remat(rematPolicyOf(config)) });
    const { body } = runPipeline(lossProgram(config).module, passes);
    return { seconds: process.cpuUsage(started).user / 1e6, nodes: [...allNodes(body)].length };
  });
  return { seconds: Math.min(...runs.map(({ seconds }) => seconds)), nodes: runs[0]!.nodes };
}

test("scanned: three seconds, and no more nodes for more layers", () => {
  const [few, some, all] = [12, 24, 48].map((layers) => compiled(layers, true));
  expect([some!.nodes, all!.nodes]).toEqual([few!.nodes, few!.nodes]);
  expect(all!.seconds).toBeLessThan(3);
});

test("layer by layer: time grows as the layers do", () => {
  const [few, some, all] = [12, 24, 48].map((layers) => compiled(layers, false).seconds);
  // The second dozen tells what a dozen costs; the next two cost twice that, or less than thrice on a busy machine.
  expect(all! - some!).toBeLessThan(3 * Math.max(some! - few!, few! / 2));
});
