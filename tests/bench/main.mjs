// Speed of the engine on the model of examples/train.yml: tokens a second, training and forward. With
// Q3C_BENCH_PYTHON naming a Python that has transformers, the same model runs there in the same call, on as many
// threads as q3c uses, and the ratio is printed.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { toHuggingFaceConfig } from "../../dist/compiler/config/hugging-face/write.js";
import { forwardModel, loadConfig, modelFlops } from "../../dist/compiler/index.js";
import { openForward, openTrainer, startingWeights, startTfjsEngine } from "../../dist/runtime/index.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const args = ["examples/train.yml", "enable_checkpointing=false", ...process.argv.slice(2)];
const config = loadConfig(args, { env: {}, cwd: root, modelsDir: `${root}models` });
const { values } = config;
const [rows, length] = [values.micro_batch_size_to_train_on, values.max_target_length];
const tokens = rows * length;
const ROUNDS = 7;

const median = (xs) => xs.toSorted((a, b) => a - b)[xs.length >> 1];
const seconds = (run) => {
  run();
  return median(
    Array.from({ length: ROUNDS }, () => {
      const start = performance.now();
      run();
      return (performance.now() - start) / 1000;
    }),
  );
};

const ids = Int32Array.from({ length: tokens + 1 }, (_, i) => (i * 7919 + 13) % values.vocab_size);
const batch = {
  rows,
  length,
  inputs: ids.subarray(0, tokens),
  targets: ids.subarray(1),
  weights: new Float32Array(tokens).fill(1),
};

const engine = await startTfjsEngine();
const trainer = openTrainer(config, engine, (params) => startingWeights(config, params));
const trainSeconds = seconds(() => trainer.step([batch]));
trainer.release();
const weights = startingWeights(config, forwardModel(config).params);
const forward = openForward(config, engine, weights);
const row = [...ids.subarray(0, length)];
const forwardSeconds = seconds(() => forward.run(row));
forward.release();

const flops = modelFlops(config);
const ours = { train: tokens / trainSeconds, forward: length / forwardSeconds };
const show = (name, rate, gflops) =>
  console.log(
    `${name.padEnd(28)} ${rate.toFixed(0).padStart(8)} tokens/s ${gflops.toFixed(2).padStart(8)} GFLOP/s`,
  );
console.log(`model of examples/train.yml, ${rows} × ${length} tokens a training step, median of ${ROUNDS}`);
show(`${engine.name} training`, ours.train, (3 * flops) / trainSeconds / 1e9);
show(`${engine.name} forward`, ours.forward, ((flops / tokens) * length) / forwardSeconds / 1e9);

const python = process.env["Q3C_BENCH_PYTHON"];
if (python) {
  const peer = fileURLToPath(new URL("peer.py", import.meta.url));
  const input = JSON.stringify({ config: toHuggingFaceConfig(config), rows, length, rounds: ROUNDS });
  const result = JSON.parse(
    execFileSync(python, [peer], { input, stdio: ["pipe", "pipe", "ignore"] }).toString(),
  );
  show("transformers training", result.train, (3 * flops * result.train) / tokens / 1e9);
  show("transformers forward", result.forward, (flops * result.forward) / tokens / 1e9);
  console.log(
    `ratio to transformers (1 thread): training ${(ours.train / result.train).toFixed(2)}, forward ${(ours.forward / result.forward).toFixed(2)}`,
  );
} else {
  console.log(
    "no peer: set Q3C_BENCH_PYTHON to a Python with torch and transformers to compare in the same run",
  );
}
