// Small arithmetic on types and dims.

import { bug } from "../diag.ts";
import type { DType } from "../dtype.ts";
import { bytesOf } from "../dtype.ts";
import type { Dim, TensorType } from "./types.ts";

export const dim = (label: string, size: number): Dim => ({ label, size });
export const tensor = (dtype: DType, dims: readonly Dim[]): TensorType => ({ dtype, dims });
export const shapeOf = (type: TensorType): number[] => type.dims.map((d) => d.size);
/** How many elements dims span; 1 for none. */
export const sizeOf = (dims: readonly Dim[]): number => dims.reduce((n, d) => n * d.size, 1);
export const elements = (type: TensorType): number => sizeOf(type.dims);
/** Bytes at the dtype's own width, as a checkpoint stores it; an engine may take more. */
export const byteSize = (type: TensorType): number => elements(type) * bytesOf(type.dtype);
export const rankOf = (type: TensorType): number => type.dims.length;

/** The dim at an axis; an axis beyond the rank is a bug of the caller. */
export const dimAt = (type: TensorType, axis: number): Dim =>
  type.dims[axis] ?? bug(`axis ${axis} of ${formatType(type)}`);

/** Dims equal in size and in name. */
export const sameDims = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  a.length === b.length && a.every((d, i) => d.size === b[i]?.size && d.label === b[i]?.label);
export const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && sameDims(a.dims, b.dims);

/** The label two dims agree on, or nothing when they carry different names. */
export function joinLabels(a: string, b: string): string | undefined {
  if (a === b || b === "_") return a;
  return a === "_" ? b : undefined;
}

/** `batch=2, seq=8` */
export const formatDims = (dims: readonly Dim[]): string =>
  dims.map((d) => `${d.label}=${d.size}`).join(", ");
/** `f32[batch=2, seq=8]` */
export const formatType = (type: TensorType): string => `${type.dtype}[${formatDims(type.dims)}]`;

/** The items but those at the given axes. */
export const without = <X>(items: readonly X[], axes: readonly number[]): X[] =>
  items.filter((_, i) => !axes.includes(i));
export const replaceAt = <X>(items: readonly X[], index: number, item: X): X[] =>
  items.map((x, i) => (i === index ? item : x));
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
