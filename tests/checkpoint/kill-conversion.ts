// Conversions in a process that is killed, again and again, until it is let go on to its end.
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { expect } from "@jest/globals";
import { openTensors } from "../../runtime/checkpoint/open.ts";
import { digestsAt } from "./convert-support.ts";

const MODEL = "tests/goldens/maxtext-tiny";

/** A program that converts in two threads, a little at a time so that there is much to be cut off. */
function writeProgram(compiled: string): string {
  const path = join(compiled, "convert-slowly.js");
  fs.writeFileSync(
    path,
    `import { loadConfig } from "./compiler/config/load.js";
import { forwardModel } from "./compiler/model.js";
import { prepareConversion } from "./runtime/checkpoint/convert/convert.js";
const [source, output, scanned] = process.argv.slice(2);
const keys = ["base", "model_name=${MODEL}", "base_output_directory=unused"];
const config = loadConfig(keys, { env: {}, cwd: process.cwd(), modelsDir: "models" });
const prepared = prepareConversion({
  source, output, to: undefined, params: { own: forwardModel(config).params, draft: [] }, dtype: undefined, files: undefined,
  tree: { scanned: scanned === "true", scanAxis: 1 }, config: () => ({}), batchBytes: 1 << 16,
});
process.stdout.write("begun");
await prepared.run(2, () => undefined);
prepared.close();
`,
  );
  return path;
}

/** Runs a conversion, killed so many milliseconds after it has begun if that is given; whether it came to its end. */
function run(line: readonly string[], killAfter?: number): Promise<boolean> {
  const child = spawn(process.execPath, [...line], { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.once("data", () => {
    if (killAfter !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfter);
  });
  return new Promise((resolve, reject) => {
    child.once("close", (code, signal) => {
      if (code !== 0 && signal === null) reject(new Error(`the conversion failed with ${code}`));
      else resolve(signal === null);
    });
  });
}

/** Kills a conversion there and one back `count` times in all, and compares what they end with. */
export async function conversionSurvivesKills(
  compiled: string,
  directory: string,
  count: number,
  random: () => number,
): Promise<void> {
  const program = writeProgram(compiled);
  let from = MODEL;
  for (const [i, name] of ["tree", "back"].entries()) {
    const [output, whole] = [join(directory, name), join(directory, `whole-${name}`)];
    const line = [program, from, output, `${random() < 0.5}`];
    const began = performance.now();
    await run([program, from, whole, line.at(-1) ?? ""]);
    const takes = performance.now() - began;
    for (let kill = i; kill < count; kill += 2) {
      await run(line, random() * takes);
      // What is at its place is whole, what is not whole is not at its place.
      const place = name === "tree" ? join(output, "0") : output;
      if (fs.existsSync(place)) expect(digestsAt(place)).toEqual(digestsAt(whole));
      else expect(() => openTensors(output)).toThrow();
      // A conversion that had come to its end all the same is begun anew.
      if (fs.existsSync(place)) fs.rmSync(output, { recursive: true });
    }
    await run(line);
    expect(digestsAt(output)).toEqual(digestsAt(whole));
    const names = fs.readdirSync(name === "tree" ? join(output, "0") : output);
    expect(names.filter((each) => each.endsWith(".jsonl"))).toEqual([]);
    from = output;
  }
  expect(digestsAt(from)).toEqual(digestsAt(MODEL));
  expect(fs.readdirSync(directory).toSorted()).toEqual(["back", "tree", "whole-back", "whole-tree"]);
}
