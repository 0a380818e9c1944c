// Speed and memory of `q3c convert` on synthetic bf16 checkpoints of Qwen3-Next: tensors of their published shapes, one
// cycle of layers, and as many experts as make up the size. Each way is compared with `cp` of the same bytes on the same
// disk, in turns; of several turns (--turns=3) the medians are shown. A conversion's output is on disk when it ends, that
// of `cp` alone is not. Before each, memory is filled with the pages of another file and then of the source, as on a
// machine that is in use: on a virtual one, pages that it has not touched for a while cost several times as much.
// Arguments: sizes in GB (1.5 3 6), and the directory to work in (--at=…), which needs three times the largest size.
import { execFileSync, spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHuggingFaceConfig } from "../../dist/compiler/config/hugging-face/write.js";
import { forwardModel, loadConfig } from "../../dist/compiler/index.js";
import { huggingFaceLayout } from "../../dist/runtime/checkpoint/layout.js";
import { writeShardedSafetensors } from "../../dist/runtime/index.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const args = process.argv.slice(2);
const sizes = args.filter((arg) => !arg.startsWith("--")).map(Number);
const flagOf = (flag) => args.find((arg) => arg.startsWith(`--${flag}=`))?.slice(flag.length + 3);
const at = flagOf("at") ?? tmpdir();
const turns = Number(flagOf("turns") ?? 1);

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

const buffer = new Uint8Array(1 << 24);

function readFile(path) {
  const file = openSync(path, "r");
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

function fillMemory(other, source) {
  execFileSync("sync");
  readFile(other);
  for (const name of readdirSync(source, { recursive: true })) {
    const path = join(source, name);
    if (statSync(path).isFile()) readFile(path);
  }
}

async function copy(from, to) {
  const start = performance.now();
  const copied = await run("cp", ["-r", from, to]);
  execFileSync("sync", ["-f", to]);
  const flushed = (performance.now() - start) / 1000;
  rmSync(to, { recursive: true });
  return { ...copied, flushed };
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const mediansOf = (runs) =>
  Object.fromEntries(Object.keys(runs[0]).map((key) => [key, median(runs.map((each) => each[key]))]));

const bytesOf = (path) => Number(execFileSync("du", ["-sb", path]).toString().split("\t")[0]);
const baseline = (await q3c("--version")).peak;
console.log(`q3c --version: ${(baseline / 1e6).toFixed(0)} MB resident`);
console.log(
  "way                     GB   cp s  cp+sync s  q3c s  of cp  of cp+sync   MB/s  MB above Node  cp cpu s  q3c cpu s",
);
for (const size of sizes.length > 0 ? sizes : [1.5, 3, 6]) {
  const work = mkdtempSync(join(at, "q3c-bench-"));
  const [model, tree, back, other, pages] = ["model", "tree", "back", "other", "pages"].map((name) =>
    join(work, name),
  );
  try {
    writeModel(model, configOf(size));
    writeFileSync(pages, "");
    truncateSync(pages, totalmem());
    const measure = async (name, from, to, ...line) => {
      const bytes = bytesOf(from);
      const [copies, conversions] = [[], []];
      for (let turn = 0; turn < turns; turn++) {
        rmSync(to, { recursive: true, force: true });
        fillMemory(pages, from);
        copies.push(await copy(from, other));
        fillMemory(pages, from);
        conversions.push(await q3c("convert", from, to, ...line));
      }
      const [cp, ours] = [mediansOf(copies), mediansOf(conversions)];
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
      await measure(`to ${layout}`, model, tree, `scan_layers=${scanned}`);
      await measure(`from ${layout}`, join(tree, "0"), back);
      for (const name of readdirSync(model).filter((each) => each.endsWith(".safetensors")))
        execFileSync("cmp", [join(model, name), join(back, name)]);
      rmSync(tree, { recursive: true });
      rmSync(back, { recursive: true });
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
