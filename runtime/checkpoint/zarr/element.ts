// The element types of zarr v2 and v3, and how their bytes become ours: little-endian, a safetensors dtype.
import { bitsOf } from "../safetensors-header.ts";
import type { StoredDType } from "../tensors.ts";

/** An element type as zarr stores it. */
export type Element = {
  /** How readers see it: the dtype that holds it exactly. */
  readonly dtype: StoredDType;
  /** Bytes per element, stored and read. */
  readonly width: number;
  /** Signed integers narrower than a byte have a byte each, of which only so many low bits count. */
  readonly bits?: number;
  readonly isBigEndian: boolean;
};

// v2 spells numpy's kinds and sizes, after a mark for the byte order; the rest of its names are the bare ones of v3.
const NAMES: Readonly<Record<string, { readonly dtype: StoredDType; readonly v2?: string }>> = {
  bool: { dtype: "BOOL", v2: "b1" },
  int8: { dtype: "I8", v2: "i1" },
  int16: { dtype: "I16", v2: "i2" },
  int32: { dtype: "I32", v2: "i4" },
  int64: { dtype: "I64", v2: "i8" },
  uint8: { dtype: "U8", v2: "u1" },
  uint16: { dtype: "U16", v2: "u2" },
  uint32: { dtype: "U32", v2: "u4" },
  uint64: { dtype: "U64", v2: "u8" },
  float16: { dtype: "F16", v2: "f2" },
  float32: { dtype: "F32", v2: "f4" },
  float64: { dtype: "F64", v2: "f8" },
  complex64: { dtype: "C64", v2: "c8" },
  bfloat16: { dtype: "BF16" },
  float8_e4m3fn: { dtype: "F8_E4M3" },
  float8_e5m2: { dtype: "F8_E5M2" },
  float8_e4m3fnuz: { dtype: "F8_E4M3FNUZ" },
  float8_e5m2fnuz: { dtype: "F8_E5M2FNUZ" },
  float8_e8m0fnu: { dtype: "F8_E8M0" },
};

// No dtype of ours is so narrow; a whole byte holds their values. Unsigned ones are not stored by TensorStore.
const NARROW: Readonly<Record<string, number>> = { int2: 2, int4: 4 };

const elementOf = (dtype: StoredDType, isBigEndian: boolean): Element => ({
  dtype,
  width: bitsOf(dtype) / 8,
  isBigEndian,
});

/** The type that zarr v3 calls `name`, or nothing if there is no dtype for it. */
export function elementV3(name: string, isBigEndian: boolean): Element | undefined {
  const bits = Object.hasOwn(NARROW, name) ? NARROW[name] : undefined;
  if (bits !== undefined) return { ...elementOf("I8", false), bits };
  const known = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
  return known && elementOf(known.dtype, isBigEndian);
}

/** The type that zarr v2 spells `text`: `<f4`, `|b1`, or a bare name such as `bfloat16`. */
export function elementV2(text: string): Element | undefined {
  const mark = /^[<>|]/.exec(text)?.[0];
  if (mark === undefined) {
    const isSpelled = Object.hasOwn(NAMES, text) && NAMES[text]?.v2 !== undefined;
    return isSpelled ? undefined : elementV3(text, false);
  }
  const known = Object.values(NAMES).find(({ v2 }) => v2 === text.slice(1));
  if (!known) return undefined;
  const element = elementOf(known.dtype, mark === ">");
  return mark === "|" && element.width > 1 ? undefined : element;
}

/** The name zarr v3 has for a dtype; nothing for those it lacks. */
export const nameV3 = (dtype: StoredDType): string | undefined =>
  Object.keys(NAMES).find((name) => NAMES[name]?.dtype === dtype);

/** How zarr v2 spells a dtype. */
export function nameV2(dtype: StoredDType): string | undefined {
  const name = nameV3(dtype);
  const spelled = name === undefined ? undefined : NAMES[name]?.v2;
  return spelled === undefined ? name : `${bitsOf(dtype) > 8 ? "<" : "|"}${spelled}`;
}

/** Stored elements in our form; the bytes given are left as they are, for a store may still hold them. */
export function toNative({ dtype, width, bits, isBigEndian }: Element, bytes: Uint8Array): Uint8Array {
  // Both halves of a complex number are swapped by themselves.
  const unit = dtype === "C64" ? width / 2 : width;
  const isSwapped = isBigEndian && unit > 1;
  if (!isSwapped && !bits) return bytes;
  const native = Uint8Array.from(bytes);
  if (isSwapped) for (let at = 0; at < native.length; at += unit) native.subarray(at, at + unit).reverse();
  if (bits) for (const [i, byte] of native.entries()) native[i] = (byte << (32 - bits)) >> (32 - bits);
  return native;
}
