// Exact numbers from every safetensors dtype that counts: integers, booleans and floats, as doubles.

import { fail } from "../../compiler/diag.ts";
import { decodeFloats, type FloatDType, isFloatDType } from "./convert-dtype.ts";
import type { Entry, SafetensorsDType } from "./safetensors-header.ts";

const INTEGERS = {
  BOOL: { width: 1, at: (view: DataView, offset: number) => view.getUint8(offset) },
  U8: { width: 1, at: (view: DataView, offset: number) => view.getUint8(offset) },
  I8: { width: 1, at: (view: DataView, offset: number) => view.getInt8(offset) },
  U16: { width: 2, at: (view: DataView, offset: number) => view.getUint16(offset, true) },
  I16: { width: 2, at: (view: DataView, offset: number) => view.getInt16(offset, true) },
  U32: { width: 4, at: (view: DataView, offset: number) => view.getUint32(offset, true) },
  I32: { width: 4, at: (view: DataView, offset: number) => view.getInt32(offset, true) },
  U64: { width: 8, at: (view: DataView, offset: number) => view.getBigUint64(offset, true) },
  I64: { width: 8, at: (view: DataView, offset: number) => view.getBigInt64(offset, true) },
} as const;

/** The safetensors dtypes whose elements are numbers that a double can hold, 64-bit integers up to 2^53. */
export type NumberDType = FloatDType | keyof typeof INTEGERS;

/** Whether a dtype converts to doubles. */
export const isNumberDType = (dtype: SafetensorsDType): dtype is NumberDType =>
  Object.hasOwn(INTEGERS, dtype) || isFloatDType(dtype);

/** Decodes elements into `out` from its element `at`; `entry` is named when one of them has no exact double. */
export function decodeNumbers(
  entry: Entry,
  dtype: NumberDType,
  bytes: Uint8Array,
  out: Float64Array,
  at: number,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (dtype === "F64") {
    for (let i = 0; i < bytes.length / 8; i++) out[at + i] = view.getFloat64(i * 8, true);
    return;
  }
  if (isFloatDType(dtype)) {
    const values = new Float32Array(Math.min(out.length - at, bytes.length));
    decodeFloats(dtype, bytes, values);
    out.set(values, at);
    return;
  }
  const integer = INTEGERS[dtype];
  for (let i = 0; i < bytes.length / integer.width; i++) {
    const exact = integer.at(view, i * integer.width);
    const value = Number(exact);
    if (!Number.isSafeInteger(value)) {
      fail({
        code: "tensor-value",
        message: `tensor \`${entry.name}\`: element ${at + i} is ${exact}, which no double holds exactly`,
        at: { file: entry.file },
      });
    }
    out[at + i] = value;
  }
}
