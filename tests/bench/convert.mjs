// Speed and memory of `q3c convert` on synthetic bf16 checkpoints of Qwen3-Next: tensors of their published shapes, one
// cycle of layers, and as many experts as make up the size. Each way is compared with `cp` of the same bytes on the same
// disk right before it, flushed to disk like the conversion's own output. Arguments: sizes in GB (1.5 3 6), then the
// directory to work in (--at=…), which needs three times the largest size.
import { execFileSync, spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHuggingFaceConfig } from "../../dist/compiler/config/hugging-face.js";
import { forwardModel, loadConfig } from "../../dist/compiler/index.js";
import { huggingFaceLayout } from "../../dist/runtime/checkpoint/layout.js";
import { writeShardedSafetensors } from "../../dist/runtime/index.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const args = process.argv.slice(2);
const sizes = args.filter((arg) => !arg.startsWith("--")).map(Number);
const at = args.find((arg) => arg.startsWith("--at="))?.slice(5) ?? tmpdir();

const EXPERT_GB = (4 * 3 * 512 * 2048 * 2) / 1e9;
const REST_GB = 1.56;

function configOf(gigabytes) {
  const experts = Math.max(2, Math.round((gigabytes - REST_GB) / EXPERT_GB));
  const keys = [
    "model_name=qwen3-next-80b-a3b",
    "override_model_config=true",
    "base_num_decoder_layers=4",
    `num_experts=${experts}`,
    "num_experts_per_tok=2",
    "weight_dtype=bfloat16",
    "base_output_directory=unused",
  ];
  return loadConfig(["base", ...keys], { env: {}, cwd: root, modelsDir: `${root}models` });
}

function writeModel(directory, config) {
  const noise = randomFillSync(new Uint8Array(1 << 24));
  const tensors = [...huggingFaceLayout(forwardModel(config).params)].map(([name, { shape }]) => ({
    name,
    shape,
    dtype: "BF16",
    *bytes() {
      for (let left = shape.reduce((n, x) => n * x, 2); left > 0; left -= noise.length)
        yield noise.subarray(0, Math.min(left, noise.length));
    },
  }));
  mkdirSync(directory);
  writeShardedSafetensors(directory, tensors);
  writeFileSync(join(directory, "config.json"), JSON.stringify(toHuggingFaceConfig(config)));
}

/** Runs a program; seconds, seconds of processor time, and the largest resident set in bytes, as far as /proc says. */
async function run(program, line) {
  const start = performance.now();
  const child = spawn(program, line, { stdio: ["ignore", "ignore", "inherit"] });
  let [peak, ticks] = [0, 0];
  const watch = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const [, , , , , , , , , , , , , user, system] = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(
        " ",
      );
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024);
      ticks = Number(user) + Number(system);
    } catch {
      // It has ended.
    }
  }, 20);
  const code = await new Promise((resolve) => child.on("exit", resolve));
  clearInterval(watch);
  if (code !== 0) throw new Error(`${program} ${line.join(" ")}: exit code ${code}`);
  return { seconds: (performance.now() - start) / 1000, processor: ticks / 100, peak };
}

const q3c = (...line) => run(process.execPath, [join(root, "dist/cli/main.js"), ...line]);

async function copy(from, to) {
  execFileSync("sync");
  const start = performance.now();
  const copied = await run("cp", ["-r", from, to]);
  execFileSync("sync", ["-f", to]);
  const flushed = (performance.now() - start) / 1000;
  rmSync(to, { recursive: true });
  execFileSync("sync");
  return { ...copied, flushed };
}

const bytesOf = (path) => Number(execFileSync("du", ["-sb", path]).toString().split("\t")[0]);
const baseline = (await q3c("--version")).peak;
console.log(`q3c --version: ${(baseline / 1e6).toFixed(0)} MB resident`);
console.log(
  "way                     GB   cp s  cp+sync s  q3c s  of cp  of cp+sync   MB/s  MB above Node  cp cpu s  q3c cpu s",
);
for (const size of sizes.length > 0 ? sizes : [1.5, 3, 6]) {
  const work = mkdtempSync(join(at, "q3c-bench-"));
  const [model, tree, back, other] = ["model", "tree", "back", "other"].map((name) => join(work, name));
  try {
    writeModel(model, configOf(size));
    const measure = async (name, from, ...line) => {
      const bytes = bytesOf(from);
      const cp = await copy(from, other);
      const ours = await q3c("convert", ...line);
      const row = [
        name.padEnd(20),
        (bytes / 1e9).toFixed(2).padStart(5),
        cp.seconds.toFixed(1).padStart(6),
        cp.flushed.toFixed(1).padStart(10),
        ours.seconds.toFixed(1).padStart(6),
        `${((100 * cp.seconds) / ours.seconds).toFixed(0)} %`.padStart(6),
        `${((100 * cp.flushed) / ours.seconds).toFixed(0)} %`.padStart(11),
        (bytes / ours.seconds / 1e6).toFixed(0).padStart(6),
        ((ours.peak - baseline) / 1e6).toFixed(0).padStart(14),
        cp.processor.toFixed(1).padStart(9),
        ours.processor.toFixed(1).padStart(10),
      ];
      console.log(row.join(" "));
    };
    for (const scanned of [true, false]) {
      const layout = scanned ? "stacked" : "single";
      await measure(`to ${layout}`, model, model, tree, `scan_layers=${scanned}`);
      await measure(`from ${layout}`, join(tree, "0/items"), tree, back);
      for (const name of readdirSync(model).filter((each) => each.endsWith(".safetensors")))
        execFileSync("cmp", [join(model, name), join(back, name)]);
      rmSync(tree, { recursive: true });
      rmSync(back, { recursive: true });
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
