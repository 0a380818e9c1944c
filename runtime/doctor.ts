// What this machine offers q3c: engines are started and checked, not looked up.
import { accessSync, constants } from "node:fs";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { delimiter, join } from "node:path";
import { env } from "@tensorflow/tfjs-core";
import { blockBuilder, value } from "../compiler/ir/build.ts";
import { dim, tensor } from "../compiler/ir/shape.ts";
import type { Engine } from "./engines/engine.ts";
import type { BackendName } from "./engines/tfjs/backend.ts";
import { startTfjsEngine } from "./engines/tfjs/engine.ts";
import { reason } from "./files.ts";
import { random } from "./random.ts";

/** One thing looked at: what was found, and what that means. Without an "ok" where one is needed, nothing runs. */
export type Finding = {
  readonly what: string;
  readonly verdict: "ok" | "note" | "bad";
  readonly found: string;
  readonly meaning: string;
};

/** All findings, and the engine that commands will run on, if there is one. */
export type Checkup = {
  readonly findings: readonly Finding[];
  readonly engine: string | null;
  readonly canRun: boolean;
};

/** What a checkup depends on besides the machine itself. */
export type Surroundings = {
  readonly version: string;
  readonly nodeVersion: string;
  readonly env: Readonly<Record<string, string | undefined>>;
};

const leastNode = 20;
const side = 64;
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function checkNode(nodeVersion: string): Finding {
  const isNew = Number.parseInt(nodeVersion, 10) >= leastNode;
  const meaning = isNew ? "new enough" : `too old: q3c needs Node ${leastNode} or newer`;
  return { what: "node", verdict: isNew ? "ok" : "bad", found: nodeVersion, meaning };
}

function checkMachine(): readonly Finding[] {
  const model = cpus()[0]?.model.trim() || "unknown model";
  const limit = process.constrainedMemory();
  const total = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  return [
    {
      what: "platform",
      verdict: "ok",
      found: `${process.platform} ${process.arch}`,
      meaning: "q3c brings nothing built for one platform",
    },
    {
      what: "cpu",
      verdict: "ok",
      found: `${availableParallelism()} cores, ${model}`,
      meaning: "q3c computes on one core",
    },
    {
      what: "memory",
      verdict: "ok",
      found: `${gib(total)}, ${gib(Math.min(total, freemem()))} free`,
      meaning:
        "training in float32 takes 16 bytes per parameter (weight, gradient and Adam's two moments) and room for activations",
    },
  ];
}

/** The largest error of a product of two random matrices on an engine, against a plain loop. */
function productError(engine: Engine): number {
  const square = tensor("f32", [dim("_", side), dim("_", side)]);
  const stream = random(0);
  const [a, b] = [0, 1].map(() => Float32Array.from({ length: side * side }, () => stream.normal())) as [
    Float32Array,
    Float32Array,
  ];
  const params = [value("a", square), value("b", square)] as const;
  const builder = blockBuilder();
  const results = [builder.k.matmul(...params)];
  const module = {
    name: "product",
    roles: params.map(() => "input" as const),
    body: { params, nodes: builder.nodes, results },
  };
  const ins = [a, b].map((data) => engine.upload(square, data));
  const outs = engine.compile(module).run(ins);
  const found = outs.map((out) => engine.download(out))[0] ?? [];
  for (const buffer of [...ins, ...outs]) engine.release(buffer);
  let worst = 0;
  for (let i = 0; i < side * side; i++) {
    let sum = 0;
    for (let j = 0; j < side; j++) sum += (a[i - (i % side) + j] ?? 0) * (b[j * side + (i % side)] ?? 0);
    // Not Math.max alone: nan must not pass for right.
    const error = Math.abs((found[i] ?? Number.NaN) - sum);
    worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error);
  }
  return worst;
}

const tolerance = 1e-4;

async function startFailure(backend: BackendName): Promise<string | undefined> {
  try {
    const engine = await startTfjsEngine(backend);
    if (engine.name !== `tfjs-${backend}`) return "does not start";
    const error = productError(engine);
    return error <= tolerance ? undefined : `starts, but a ${side}×${side} product is off by ${error}`;
  } catch (error) {
    return `fails: ${reason(error)}`;
  }
}

async function checkWasm(): Promise<Finding> {
  const failure = await startFailure("wasm");
  if (failure !== undefined)
    return {
      what: "tfjs-wasm",
      verdict: "note",
      found: failure,
      meaning: "the default engine is missing; tfjs-cpu takes its place and is much slower",
    };
  const [simd, threads] = await Promise.all(
    ["WASM_HAS_SIMD_SUPPORT", "WASM_HAS_MULTITHREAD_SUPPORT"].map((flag) => env().getAsync(flag)),
  );
  const found = `starts, a ${side}×${side} product is right; SIMD ${simd ? "yes" : "no"}, threads ${threads ? "yes" : "no"}`;
  return {
    what: "tfjs-wasm",
    verdict: "ok",
    found,
    meaning: "the default engine; it holds at most 4 GiB of tensors",
  };
}

async function checkCpu(): Promise<Finding> {
  const failure = await startFailure("cpu");
  const found = failure ?? `starts, a ${side}×${side} product is right`;
  const meaning = failure
    ? "there is nothing to fall back to"
    : "plain JavaScript, slow; runs where wasm does not start";
  return { what: "tfjs-cpu", verdict: failure ? "note" : "ok", found, meaning };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function checkCompiler(path: string | undefined): Finding {
  const folders = (path ?? "").split(delimiter).filter((folder) => folder !== "");
  const names = ["cc", "clang", "gcc"].filter((name) =>
    folders.some((folder) => isProgram(join(folder, name))),
  );
  const meaning = "not used: this version has no engine that compiles to native code";
  return { what: "C compiler", verdict: "note", found: names.join(", ") || "none on PATH", meaning };
}

/** Looks at everything q3c depends on here. */
export async function checkUp({ version, nodeVersion, env: variables }: Surroundings): Promise<Checkup> {
  const node = checkNode(nodeVersion);
  // One after the other: both engines share tfjs's one current backend.
  const wasm = await checkWasm();
  const cpu = await checkCpu();
  const engine = [wasm, cpu].find(({ verdict }) => verdict === "ok")?.what ?? null;
  const findings: readonly Finding[] = [
    { what: "q3c", verdict: "ok", found: version, meaning: "compiles and runs Qwen3-Next and its relatives" },
    node,
    ...checkMachine(),
    wasm,
    cpu,
    checkCompiler(variables["PATH"]),
  ];
  return { findings, engine, canRun: node.verdict === "ok" && engine !== null };
}
