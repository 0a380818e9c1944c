// Products of matrices that lie anywhere in two tensors. On wasm by kernels of q3c's own: tfjs's packs the right side
// anew for every buffer and wants whole matrices, and small ones spend most of their time there.
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { invariant } from "../../../compiler/diag.ts";
import { shapeOf } from "../../../compiler/ir/shape.ts";
import type { TensorType } from "../../../compiler/ir/types.ts";
import type { NumberArray } from "../../../compiler/ops/loops.ts";
import type { Product } from "../../../compiler/ops/op.ts";
import type { Memory } from "../../wasm/words.ts";
import { byColumnsOver } from "./by-columns-wasm.ts";
import { byRowsOver } from "./by-rows-wasm.ts";
import { type Kernels, multiplyOn, scratchFloats } from "./heap-products.ts";
import { hasHeap, onHost } from "./host.ts";

/** What multiplies in a backend's memory. */
type Machine = {
  readonly kernels: Kernels;
  readonly backend: BackendWasm;
  /** The address of so many bytes, until it is asked again. */
  allocate(bytes: number): number;
};
type Internals = {
  readonly wasm: { readonly asm?: { readonly memory?: Memory }; _malloc(bytes: number): number };
};

const machines = new WeakMap<object, Machine | false>();

/** The machine over a backend's memory, or nothing where there is no such memory or no vectors. */
function machineOf(backend: BackendWasm): Machine | undefined {
  const known = machines.get(backend) ?? openMachine(backend);
  machines.set(backend, known);
  return known || undefined;
}

function openMachine(backend: BackendWasm): Machine | false {
  const { wasm } = backend as unknown as Internals;
  const memory = wasm.asm?.memory;
  const [byRows, byColumns] = memory ? [byRowsOver(memory), byColumnsOver(memory)] : [];
  if (!byRows || !byColumns) return false;
  let scratch = { at: 0, bytes: 0 };
  return {
    kernels: { byRows, byColumns },
    backend,
    // One block, as large as was ever needed; what it replaces is small and stays.
    allocate(bytes) {
      if (scratch.bytes < bytes) scratch = { at: wasm._malloc(2 * bytes), bytes: 2 * bytes };
      return scratch.at;
    },
  };
}

/** Every product's result in its place of one fresh tensor. */
export function products(a: tf.Tensor, b: tf.Tensor, out: TensorType, all: readonly Product[]): tf.Tensor {
  const backend: unknown = tf.backend();
  const machine = hasHeap(backend) ? machineOf(backend) : undefined;
  if (machine) return onHeap(machine, a, b, out, all);
  const [made] = onHost([a, b], [out], ([x, y], [z]) => {
    if (x && y && z) for (const product of all) multiply(product, x, y, z);
  });
  return made as tf.Tensor;
}

function multiply({ m, k, n, a, b, c }: Product, x: NumberArray, y: NumberArray, z: NumberArray): void {
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++)
        sum +=
          (x[a.offset + i * a.row + p * a.column] as number) *
          (y[b.offset + p * b.row + j * b.column] as number);
      z[c.offset + i * c.row + j] = sum;
    }
}

/** Which float of a heap lies at an address: a whole number, for a division might give a fraction and is slow to index with. */
const indexOf = (address: number): number => address >>> 2;

function onHeap(
  { backend, kernels, allocate }: Machine,
  a: tf.Tensor,
  b: tf.Tensor,
  type: TensorType,
  all: readonly Product[],
): tf.Tensor {
  const info = backend.makeOutput(shapeOf(type), "float32");
  const floats = all.reduce((most, product) => Math.max(most, scratchFloats(product)), 0);
  const scratch = indexOf(allocate(floats * Float32Array.BYTES_PER_ELEMENT));
  // Views are taken after every allocation: growing the heap moves it.
  const [x, y, z] = [a, b, info].map((each) => backend.typedArrayFromHeap(each) as Float32Array);
  invariant(x && y && z, "a product has operands and a result");
  const heap = { floats: new Float32Array(z.buffer), scratch };
  const [left, right, result] = [x, y, z].map(({ byteOffset }) => indexOf(byteOffset)) as [
    number,
    number,
    number,
  ];
  for (const { m, k, n, a, b, c } of all)
    multiplyOn(heap, kernels, {
      m,
      k,
      n,
      a: { offset: left + a.offset, row: a.row, column: a.column },
      b: { offset: right + b.offset, row: b.row, column: b.column },
      c: { offset: result + c.offset, row: c.row, column: 1 },
    });
  return tf.engine().makeTensorFromTensorInfo(info);
}
