// Host arrays hold float32; a narrower dtype is float32 numbers rounded onto its grid after every op.
import type { DType } from "../dtype.ts";

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

/** Nearest bf16, ties to even, as a float32. */
function toBf16(x: number): number {
  word[0] = x;
  const b = bits[0] ?? 0;
  if ((b & 0x7fffffff) > 0x7f800000) return Number.NaN;
  bits[0] = (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000;
  return word[0] ?? 0;
}

/** Nearest f16, ties to even, as a float32: 11 significant bits, the smallest step 2^-24, overflow to infinity. */
function toF16(exact: number): number {
  const x = Math.fround(exact);
  const magnitude = Math.abs(x);
  if (!Number.isFinite(x) || magnitude === 0) return x;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  const step = 2 ** (exponent - 10);
  const scaled = magnitude / step;
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  const result = rounded * step;
  return Math.sign(x) * (result > 65504 ? Number.POSITIVE_INFINITY : result);
}

/** By dtype: what puts a number onto the dtype's grid. */
export const rounders: Partial<Record<DType, (x: number) => number>> = { bf16: toBf16, f16: toF16 };

/** Puts every element onto the dtype's grid; nothing to do for 32-bit dtypes. */
export function roundTo(dtype: DType, data: Float32Array): Float32Array {
  const rounder = rounders[dtype];
  return rounder ? data.map(rounder) : data;
}

export const isRounded = (dtype: DType): boolean => rounders[dtype] !== undefined;
