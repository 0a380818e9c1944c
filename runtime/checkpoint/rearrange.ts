// Moving elements between two layouts made of the same factors.
import type { Factor } from "../../compiler/arch/dims.ts";
import { invariant } from "../../compiler/diag.ts";

/** Elements of a row-major array over `from`'s factors, row-major over `to`'s. */
export function rearrange(data: Float32Array, from: readonly Factor[], to: readonly Factor[]): Float32Array {
  const order = to.map((factor) => from.findIndex(({ key }) => key === factor.key));
  invariant(from.length === to.length && order.every((i) => i >= 0), "both layouts hold the same factors");
  if (order.every((axis, i) => axis === i)) return data;
  const strides = from.map((_, i) => from.slice(i + 1).reduce((n, { size }) => n * size, 1));
  const steps = order.map((axis) => strides[axis] ?? 0);
  const sizes = to.map(({ size }) => size);
  const out = new Float32Array(data.length);
  const inner = sizes.length - 1;
  const [innerSize, innerStep] = [sizes[inner] ?? 1, steps[inner] ?? 0];
  const index = new Array<number>(inner).fill(0);
  let base = 0;
  for (let at = 0; at < out.length; at += innerSize) {
    for (let i = 0, j = base; i < innerSize; i++, j += innerStep) out[at + i] = data[j] ?? 0;
    for (let axis = inner - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      base += steps[axis] ?? 0;
      if (next < (sizes[axis] ?? 1)) {
        index[axis] = next;
        break;
      }
      index[axis] = 0;
      base -= (steps[axis] ?? 0) * (sizes[axis] ?? 1);
    }
  }
  return out;
}
