// The reference engine: op by op on tfjs. Every op record is a tfjs kernel on the executing backends.
import { totalmem } from "node:os";
import * as tf from "@tensorflow/tfjs-core";
import { tfDTypeOf } from "../../../compiler/dtype.ts";
import { elements, shapeOf } from "../../../compiler/ir/shape.ts";
import type { TensorType } from "../../../compiler/ir/types.ts";
import { isLoop } from "../../../compiler/ops/fused.ts";
import { ops } from "../../../compiler/ops/index.ts";
import { at } from "../../../compiler/ops/op.ts";
import { roundTo } from "../../../compiler/ops/round.ts";
import { executable, scheduleOf } from "../../../compiler/plan/schedule.ts";
import type { Buffer, Engine, Executable, HostArray } from "../engine.ts";
import { type BackendName, startBackend, useBackend } from "./backend.ts";
import { type Call, runAsLoop, TensorMachine } from "./machine.ts";

type TfjsBuffer = Buffer & { readonly tensor: tf.Tensor };

function registerOps(backendName: BackendName): void {
  for (const op of ops) {
    if (!(op.run || isLoop(op)) || tf.getKernel(op.name, backendName)) continue;
    tf.registerKernel({
      kernelName: op.name,
      backendName,
      kernelFunc: ({ inputs, attrs }) => {
        const { node, context } = attrs as unknown as Call;
        const ins = Object.values(inputs) as tf.Tensor[];
        return op.run
          ? tf.tidy(() => op.run?.(tf, ins, node.attrs, context) as tf.Tensor)
          : runAsLoop(node, ins);
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
    compile(module, { donated = [] } = {}): Executable {
      const body = executable(module.body);
      const given = body.params.map((_, i) => donated.includes(i));
      const schedule = scheduleOf(body, given);
      const made = {
        peakBytes: 0,
        run(ins: readonly Buffer[]): Buffer[] {
          useBackend(name);
          const machine = new TensorMachine();
          const outs = machine.start(schedule, ins.map(tensorIn), given);
          made.peakBytes = machine.peak;
          return outs.map((tensor, i) => bufferOf(at(body.results, i).type, tensor));
        },
      };
      return made;
    },
    bytesOf: (type) => elements(type) * tf.util.bytesPerElement(tfDTypeOf(type.dtype)),
    upload(type: TensorType, data: HostArray): Buffer {
      useBackend(name);
      // Weights made or read in f32 start on the grid of the dtype they are held in.
      const held = data instanceof Float32Array ? roundTo(type.dtype, data) : data;
      return bufferOf(type, tf.tensor(held, shapeOf(type), tfDTypeOf(type.dtype)));
    },
    download: (buffer: Buffer): HostArray => tensorIn(buffer).dataSync() as HostArray,
    release: (buffer: Buffer): void => tensorIn(buffer).dispose(),
  };
}
