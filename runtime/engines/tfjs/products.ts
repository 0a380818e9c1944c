// Products of matrices that lie anywhere in two tensors. On wasm by a kernel of q3c's own: tfjs's packs the right side
// anew for every buffer and wants whole matrices, and small ones spend most of their time there.
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { shapeOf } from "../../../compiler/ir/shape.ts";
import type { TensorType } from "../../../compiler/ir/types.ts";
import type { NumberArray } from "../../../compiler/ops/loops.ts";
import type { Product } from "../../../compiler/ops/op.ts";
import type { Memory } from "../../wasm/words.ts";
import { hasHeap, onHost } from "./host.ts";
import { type Panel, panelOver } from "./panel-wasm.ts";

const WIDTH = 8;
const FLOAT = 4;

type Kernel = { readonly panel: Panel; readonly backend: BackendWasm; allocate(bytes: number): number };
type Internals = {
  readonly wasm: { readonly asm?: { readonly memory?: Memory }; _malloc(bytes: number): number };
};

const kernels = new WeakMap<object, Kernel | false>();

/** The kernel over a backend's memory, or nothing where there is no such memory. */
function kernelOf(backend: BackendWasm): Kernel | undefined {
  const known = kernels.get(backend);
  if (known !== undefined) return known || undefined;
  const { wasm } = backend as unknown as Internals;
  const panel = wasm.asm?.memory && panelOver(wasm.asm.memory);
  let scratch = { at: 0, bytes: 0 };
  const made: Kernel | false = panel
    ? {
        panel,
        backend,
        // One block, as large as was ever needed; what it replaces is small and stays.
        allocate(bytes) {
          if (scratch.bytes < bytes) scratch = { at: wasm._malloc(2 * bytes), bytes: 2 * bytes };
          return scratch.at;
        },
      }
    : false;
  kernels.set(backend, made);
  return made || undefined;
}

/** Every product's result in its place of one fresh tensor. */
export function products(a: tf.Tensor, b: tf.Tensor, out: TensorType, all: readonly Product[]): tf.Tensor {
  const backend: unknown = tf.backend();
  const kernel = hasHeap(backend) ? kernelOf(backend) : undefined;
  if (kernel) return onHeap(kernel, a, b, out, all);
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

function onHeap(
  kernel: Kernel,
  a: tf.Tensor,
  b: tf.Tensor,
  type: TensorType,
  all: readonly Product[],
): tf.Tensor {
  const { backend, panel } = kernel;
  const info = backend.makeOutput(shapeOf(type), "float32");
  const rows = Math.max(
    0,
    ...all.map((product) => (isTurned(product) ? product.n : product.n % WIDTH === 0 ? 0 : product.m)),
  );
  const depth = Math.max(0, ...all.map(({ k }) => k));
  const packedAt = kernel.allocate((depth + rows) * WIDTH * FLOAT);
  const edgeAt = packedAt + depth * WIDTH * FLOAT;
  // Views are taken after every allocation: growing the heap moves it.
  const [x, y, z] = [a, b, info].map((each) => backend.typedArrayFromHeap(each) as Float32Array);
  if (!x || !y || !z) throw new Error("internal: a product without operands");
  const packed = new Float32Array(z.buffer, packedAt, depth * WIDTH);
  const edge = new Float32Array(z.buffer, edgeAt, rows * WIDTH);
  for (const product of all) {
    const { m, k, n, a: left, b: right, c } = product;
    if (isTurned(product)) {
      pack(x, left.offset, left.column, left.row, k, m, packed);
      panel(
        y.byteOffset + right.offset * FLOAT,
        right.column * FLOAT,
        right.row * FLOAT,
        packedAt,
        WIDTH * FLOAT,
        edgeAt,
        WIDTH * FLOAT,
        n,
        k,
      );
      unpack(edge, n, m, z, c.offset, 1, c.row);
      continue;
    }
    for (let j = 0; j < n; j += WIDTH) {
      const width = Math.min(WIDTH, n - j);
      const from = right.offset + j * right.column;
      const isDirect = right.column === 1 && width === WIDTH;
      if (!isDirect) pack(y, from, right.row, right.column, k, width, packed);
      panel(
        x.byteOffset + left.offset * FLOAT,
        left.row * FLOAT,
        left.column * FLOAT,
        isDirect ? y.byteOffset + from * FLOAT : packedAt,
        (isDirect ? right.row : WIDTH) * FLOAT,
        width === WIDTH ? z.byteOffset + (c.offset + j) * FLOAT : edgeAt,
        (width === WIDTH ? c.row : WIDTH) * FLOAT,
        m,
        k,
      );
      if (width < WIDTH) unpack(edge, m, width, z, c.offset + j, c.row, 1);
    }
  }
  return tf.engine().makeTensorFromTensorInfo(info);
}

/**
 * Whether bᵀ·aᵀ is less work: the columns of b do not lie side by side, and a has so few rows that they are one panel.
 * A large b, such as an embedding that is also the head, is then read where it lies.
 */
const isTurned = ({ m, n, b }: Product): boolean => b.column !== 1 && m <= WIDTH && m < n;

/** Up to eight columns side by side; what the last panel lacks is zero. */
function pack(
  y: Float32Array,
  from: number,
  row: number,
  column: number,
  k: number,
  width: number,
  packed: Float32Array,
): void {
  if (width < WIDTH) packed.fill(0, 0, k * WIDTH);
  for (let j = 0; j < width; j++) {
    let at = from + j * column;
    for (let to = j; to < k * WIDTH; to += WIDTH) {
      packed[to] = y[at] as number;
      at += row;
    }
  }
}

function unpack(
  edge: Float32Array,
  m: number,
  width: number,
  z: Float32Array,
  offset: number,
  row: number,
  column: number,
): void {
  for (let i = 0; i < m; i++)
    for (let j = 0; j < width; j++) z[offset + i * row + j * column] = edge[i * WIDTH + j] as number;
}
