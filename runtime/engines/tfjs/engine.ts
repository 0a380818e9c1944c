// The reference engine: op by op on tfjs. Every op record is a tfjs kernel on the executing backends.
import { totalmem } from "node:os";
import * as tf from "@tensorflow/tfjs-core";
import { expand } from "../../../compiler/ir/expand.ts";
import { dropDead } from "../../../compiler/ir/rewrite.ts";
import { shapeOf } from "../../../compiler/ir/shape.ts";
import type { Block, Module, Node, TensorType, Value } from "../../../compiler/ir/types.ts";
import { ops } from "../../../compiler/ops/index.ts";
import { broadcastWalk, walk } from "../../../compiler/ops/loops.ts";
import type { RunContext } from "../../../compiler/ops/op.ts";
import type { Buffer, Engine, Executable, HostArray } from "../engine.ts";
import { type BackendName, startBackend, useBackend } from "./backend.ts";
import { onHost, tfDType } from "./host.ts";
import { isRounded, roundTo } from "./round.ts";

type Call = { readonly node: Node; readonly context: RunContext };
type TfjsBuffer = Buffer & { readonly tensor: tf.Tensor };

/** A node with the values whose last use it is: their tensors go when it has run. */
type Step = { readonly node: Node; readonly lastUses: readonly Value[] };
type Plan = {
  readonly block: Block;
  readonly steps: readonly Step[];
  readonly regions: ReadonlyMap<Block, Plan>;
};

/** Composites without a kernel are decomposed once, here. */
const lowered = (block: Block): Block =>
  dropDead(
    expand(block, ({ op }) => op.run === undefined && op.scalar === undefined && op.decompose !== undefined),
  );

function planOf(block: Block): Plan {
  const kept = new Set<Value>([...block.params, ...block.results]);
  const seen = new Set<Value>();
  const regions = new Map<Block, Plan>();
  const steps = block.nodes.toReversed().map((node): Step => {
    const lastUses = [...new Set([...node.outs, ...node.ins])].filter((x) => !kept.has(x) && !seen.has(x));
    for (const x of node.ins) seen.add(x);
    for (const x of node.outs) seen.add(x);
    for (const region of node.regions) regions.set(region, planOf(region));
    return { node, lastUses };
  });
  return { block, steps: steps.reverse(), regions };
}

function onGrid(type: TensorType, x: tf.Tensor): tf.Tensor {
  if (!isRounded(type.dtype)) return x;
  const rounded = tf.tensor(roundTo(type.dtype, x.dataSync() as Float32Array), x.shape, "float32");
  x.dispose();
  return rounded;
}

/** An elementwise op: one generated loop. */
function runScalar({ op, attrs, outs }: Node, ins: readonly tf.Tensor[]): tf.Tensor[] {
  const types = outs.map((out) => out.type);
  return onHost(ins, types, (arrays, [out]) => {
    const [type] = types;
    if (!out || !type) throw new Error(`internal: ${op.name} has no result`);
    const shape = shapeOf(type);
    const element = op.scalar?.(
      ins.map((_, i) => `a${i + 1}[p${i + 1}]`),
      attrs,
      type,
    );
    const walks = [broadcastWalk(shape, shape), ...ins.map((x) => broadcastWalk(x.shape, shape))];
    walk(`a0[p0] = ${element}`, shape, [out, ...arrays], walks);
  });
}

function runNode(node: Node, ins: readonly tf.Tensor[], plan: Plan): tf.Tensor[] {
  const context: RunContext = {
    outs: node.outs.map((out) => out.type),
    regions: node.regions,
    onHost,
    runBlock(region, args) {
      const inner = plan.regions.get(region);
      if (!inner) throw new Error("internal: a region without a plan");
      return runPlan(inner, args);
    },
  };
  const call: Call = { node, context };
  const result: unknown = tf
    .engine()
    .runKernel(node.op.name, ins as unknown as tf.NamedTensorMap, call as unknown as tf.NamedAttrMap);
  const outs = (Array.isArray(result) ? result : [result]) as tf.Tensor[];
  return node.outs.map((out, i) => {
    const made = outs[i];
    if (!made)
      throw new Error(`internal: ${node.op.name} gave ${outs.length} results for ${node.outs.length}`);
    return onGrid(out.type, made);
  });
}

/** Runs a plan; the tensors it returns are the caller's, the ones it received stay the caller's. */
function runPlan(plan: Plan, ins: readonly tf.Tensor[]): tf.Tensor[] {
  const env = new Map<Value, tf.Tensor>();
  plan.block.params.forEach((param, i) => {
    const given = ins[i];
    if (given) env.set(param, given);
  });
  const read = (x: Value): tf.Tensor => {
    const tensor = env.get(x);
    if (!tensor) throw new Error(`internal: %${x.hint} has no tensor`);
    return tensor;
  };
  for (const { node, lastUses } of plan.steps) {
    const outs = runNode(node, node.ins.map(read), plan);
    node.outs.forEach((out, i) => {
      const made = outs[i];
      if (made) env.set(out, made);
    });
    for (const x of lastUses) {
      env.get(x)?.dispose();
      env.delete(x);
    }
  }
  const given = new Set(ins);
  const returned = new Set<tf.Tensor>();
  return plan.block.results.map((x) => {
    const tensor = read(x);
    if (!given.has(tensor) && !returned.has(tensor)) {
      returned.add(tensor);
      return tensor;
    }
    return tf.clone(tensor);
  });
}

function registerOps(backendName: BackendName): void {
  for (const op of ops) {
    if (!(op.run || op.scalar) || tf.getKernel(op.name, backendName)) continue;
    tf.registerKernel({
      kernelName: op.name,
      backendName,
      kernelFunc: ({ inputs, attrs }) => {
        const { node, context } = attrs as unknown as Call;
        const ins = Object.values(inputs) as tf.Tensor[];
        return op.run
          ? tf.tidy(() => op.run?.(tf, ins, node.attrs, context) as tf.Tensor)
          : runScalar(node, ins);
      },
    });
  }
}

// wasm addresses 4 GiB, of which some is the kernels' own; the JavaScript backend has the machine's memory.
const CAPACITY: Readonly<Record<BackendName, number>> = { wasm: 3.8 * 2 ** 30, cpu: totalmem() };

/** Starts the reference engine on tfjs's wasm backend, or on its JavaScript one. */
export async function startTfjsEngine(preferred: BackendName = "wasm"): Promise<Engine> {
  const { name } = await startBackend(preferred);
  tf.enableProdMode();
  registerOps(name);
  const tensorIn = (buffer: Buffer): tf.Tensor => (buffer as TfjsBuffer).tensor;
  const bufferOf = (type: TensorType, tensor: tf.Tensor): TfjsBuffer => ({ type, tensor });
  return {
    name: `tfjs-${name}`,
    capacity: CAPACITY[name],
    compile(module: Module): Executable {
      const plan = planOf(lowered(module.body));
      return {
        run(ins) {
          useBackend(name);
          const outs = runPlan(plan, ins.map(tensorIn));
          return outs.map((tensor, i) =>
            bufferOf(module.body.results[i]?.type ?? { dtype: "f32", dims: [] }, tensor),
          );
        },
      };
    },
    upload(type: TensorType, data: HostArray): Buffer {
      useBackend(name);
      return bufferOf(type, tf.tensor(data, shapeOf(type), tfDType(type)));
    },
    download: (buffer: Buffer): HostArray => tensorIn(buffer).dataSync() as HostArray,
    release: (buffer: Buffer): void => tensorIn(buffer).dispose(),
  };
}
