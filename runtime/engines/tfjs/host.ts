// Plain loops over a tfjs tensor's numbers. On wasm they run on its heap in place; elsewhere on copies.

import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { tfDTypeOf } from "../../../compiler/dtype.ts";
import { shapeOf } from "../../../compiler/ir/shape.ts";
import type { TensorType } from "../../../compiler/ir/types.ts";
import type { NumberArray } from "../../../compiler/ops/loops.ts";

export const hasHeap = (backend: unknown): backend is BackendWasm =>
  typeof backend === "object" && backend !== null && "typedArrayFromHeap" in backend;

/** A tensor's own numbers: what is written there is in the tensor. */
export function numbersOf(x: tf.Tensor): NumberArray {
  const backend: unknown = tf.backend();
  return hasHeap(backend) ? (backend.typedArrayFromHeap(x) as NumberArray) : (x.dataSync() as NumberArray);
}

/** Runs `compute` over the operands' numbers into fresh results of the given types, which hold anything. */
export function onHost(
  ins: readonly tf.Tensor[],
  outs: readonly TensorType[],
  compute: (ins: readonly NumberArray[], outs: readonly NumberArray[]) => void,
): tf.Tensor[] {
  const backend: unknown = tf.backend();
  if (!hasHeap(backend)) {
    const arrays = outs.map(
      (type) =>
        tf.util.getArrayFromDType(tfDTypeOf(type.dtype), tf.util.sizeFromShape(shapeOf(type))) as NumberArray,
    );
    compute(
      ins.map((x) => x.dataSync() as NumberArray),
      arrays,
    );
    return outs.map((type, i) => tf.tensor(arrays[i] as Float32Array, shapeOf(type), tfDTypeOf(type.dtype)));
  }
  const infos = outs.map((type) => backend.makeOutput(shapeOf(type), tfDTypeOf(type.dtype)));
  // Views are taken after every allocation: growing the heap moves it.
  const arrays = infos.map((info) => backend.typedArrayFromHeap(info) as NumberArray);
  compute(
    ins.map((x) => backend.typedArrayFromHeap(x) as NumberArray),
    arrays,
  );
  return infos.map((info) => tf.engine().makeTensorFromTensorInfo(info));
}
