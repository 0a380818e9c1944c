// Floating-point formats narrower than f32, to and from it, rounding to nearest even. Bytes are little-endian, as in
// safetensors and on every machine Node runs on.

import { invariant } from "../../compiler/diag.ts";
import type { DType } from "../../compiler/dtype.ts";
import type { Allocate } from "./tensors.ts";

/** `ieee` has infinities, `fn` only NaN at the top code, `fnuz` only NaN in place of minus zero. */
type Specials = "ieee" | "fn" | "fnuz";

type SmallFloat = {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  readonly specials: Specials;
};

const SMALL_FLOATS = {
  F16: { exponentBits: 5, mantissaBits: 10, bias: 15, specials: "ieee" },
  F8_E5M2: { exponentBits: 5, mantissaBits: 2, bias: 15, specials: "ieee" },
  F8_E4M3: { exponentBits: 4, mantissaBits: 3, bias: 7, specials: "fn" },
  F8_E5M2FNUZ: { exponentBits: 5, mantissaBits: 2, bias: 16, specials: "fnuz" },
  F8_E4M3FNUZ: { exponentBits: 4, mantissaBits: 3, bias: 8, specials: "fnuz" },
} as const satisfies Readonly<Record<string, SmallFloat>>;

type SmallFloatName = keyof typeof SMALL_FLOATS;

/** The safetensors dtypes that convert to f32. */
export type FloatDType = "F64" | "F32" | "BF16" | "F8_E8M0" | SmallFloatName;

const isSmallFloat = (dtype: string): dtype is SmallFloatName => Object.hasOwn(SMALL_FLOATS, dtype);

const STORED = { f32: "F32", bf16: "BF16", f16: "F16" } as const;
/** How the floats of the IR are stored. */
export type StoredFloat = (typeof STORED)[keyof typeof STORED];

/** How a float dtype of the IR is stored. */
export function storedFloat(dtype: DType): StoredFloat {
  invariant(dtype in STORED, `${dtype} is a float`);
  return STORED[dtype as keyof typeof STORED];
}

/** Whether a safetensors dtype converts to f32. */
export const isFloatDType = (dtype: string): dtype is FloatDType =>
  dtype === "F32" || dtype === "BF16" || dtype === "F64" || dtype === "F8_E8M0" || isSmallFloat(dtype);

function decodeCode(format: SmallFloat, code: number): number {
  const { exponentBits, mantissaBits, bias, specials } = format;
  const magnitude = code & ((1 << (exponentBits + mantissaBits)) - 1);
  const isNegative = code !== magnitude;
  const exponent = magnitude >> mantissaBits;
  const mantissa = magnitude - (exponent << mantissaBits);
  const isTop = exponent === (1 << exponentBits) - 1;
  if (specials === "ieee" && isTop && mantissa !== 0) return Number.NaN;
  if (specials === "fn" && isTop && mantissa === (1 << mantissaBits) - 1) return Number.NaN;
  if (specials === "fnuz" && isNegative && magnitude === 0) return Number.NaN;
  if (specials === "ieee" && isTop) return isNegative ? -Infinity : Infinity;
  const value =
    exponent === 0
      ? mantissa * 2 ** (1 - bias - mantissaBits)
      : (mantissa + (1 << mantissaBits)) * 2 ** (exponent - bias - mantissaBits);
  return isNegative ? -value : value;
}

const float64 = new Float64Array(1);
const halves = new Uint32Array(float64.buffer);

// floor(log2 |value|) of a double that is neither zero nor subnormal, which holds for every nonzero f32.
function binaryExponent(value: number): number {
  float64[0] = value;
  return (((halves[1] ?? 0) >>> 20) & 0x7ff) - 1023;
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

function encodeCode(format: SmallFloat, value: number): number {
  const { exponentBits, mantissaBits, bias, specials } = format;
  const signBit = 1 << (exponentBits + mantissaBits);
  const sign = value < 0 || Object.is(value, -0) ? signBit : 0;
  const infinity = ((1 << exponentBits) - 1) << mantissaBits;
  const nan =
    specials === "fnuz"
      ? signBit
      : specials === "fn"
        ? sign | (signBit - 1)
        : infinity | (1 << (mantissaBits - 1));
  if (Number.isNaN(value)) return nan;
  const overflow = specials === "ieee" ? sign | infinity : nan;
  if (!Number.isFinite(value)) return overflow;
  if (value === 0) return specials === "fnuz" ? 0 : sign;
  const exponent = Math.max(binaryExponent(value), 1 - bias);
  const units = roundToEven(Math.abs(value) * 2 ** (mantissaBits - exponent));
  // A carry out of the mantissa lands in the exponent, and one out of the subnormals in the first normal code.
  const code = units + ((exponent + bias - 1) << mantissaBits);
  const largest = specials === "ieee" ? infinity - 1 : specials === "fn" ? signBit - 2 : signBit - 1;
  if (code > largest) return overflow;
  return code === 0 && specials === "fnuz" ? 0 : sign | code;
}

const tables = new Map<string, Uint32Array>();

/** The bits of the f32 that each code stands for. */
function decodeTable(dtype: "F8_E8M0" | SmallFloatName): Uint32Array {
  const known = tables.get(dtype);
  if (known) return known;
  // F8_E8M0 is a bare exponent: 2^(code - 127), the last code NaN.
  const values =
    dtype === "F8_E8M0"
      ? Float32Array.from({ length: 256 }, (_, code) => (code === 255 ? Number.NaN : 2 ** (code - 127)))
      : Float32Array.from({ length: dtype === "F16" ? 65536 : 256 }, (_, code) =>
          decodeCode(SMALL_FLOATS[dtype], code),
        );
  const table = new Uint32Array(values.buffer);
  // A NaN keeps its sign and its payload, as in bf16 and in the processors' own conversions.
  if (dtype === "F16")
    for (let code = 0x7c01; code <= 0xffff; code++)
      if ((code & 0x7fff) > 0x7c00)
        table[code] = ((code & 0x8000) << 16) | 0x7fc00000 | ((code & 0x3ff) << 13);
  tables.set(dtype, table);
  return table;
}

const float32 = new Float32Array(1);
const word = new Uint32Array(float32.buffer);

/** The number that the 16 bits of an F16 are. */
export function halfOf(bits: number): number {
  word[0] = decodeTable("F16")[bits] ?? 0;
  return float32[0] ?? 0;
}

const WIDTH: Readonly<Record<FloatDType, number>> = {
  F64: 8,
  F32: 4,
  BF16: 2,
  F16: 2,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E5M2FNUZ: 1,
  F8_E4M3FNUZ: 1,
  F8_E8M0: 1,
};

// Typed arrays want aligned offsets; bytes that lie askew in their buffer are copied first.
function aligned(bytes: Uint8Array, width: number): { buffer: ArrayBufferLike; offset: number } {
  if (bytes.byteOffset % width === 0) return { buffer: bytes.buffer, offset: bytes.byteOffset };
  return { buffer: bytes.slice().buffer, offset: 0 };
}

function decodeBf16(codes: Uint16Array, out: Float32Array, at: number): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < codes.length; i++) bits[at + i] = (codes[i] ?? 0) << 16;
}

/** Decodes elements of a safetensors dtype into `out`, from its element `at`; F64 is rounded, the others are exact. */
export function decodeFloats(dtype: FloatDType, bytes: Uint8Array, out: Float32Array, at = 0): void {
  const width = WIDTH[dtype];
  const count = bytes.length / width;
  invariant(
    Number.isInteger(count) && at + count <= out.length,
    `${bytes.length} bytes of ${dtype} into ${out.length}`,
  );
  const { buffer, offset } = aligned(bytes, width);
  if (dtype === "F32") out.set(new Float32Array(buffer, offset, count), at);
  else if (dtype === "F64") out.set(new Float64Array(buffer, offset, count), at);
  else if (dtype === "BF16") decodeBf16(new Uint16Array(buffer, offset, count), out, at);
  else {
    const table = decodeTable(dtype);
    const codes = width === 2 ? new Uint16Array(buffer, offset, count) : bytes;
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < count; i++) bits[at + i] = table[codes[i] ?? 0] ?? 0;
  }
}

// Adding half a unit less the parity of the kept part rounds to nearest even, and to infinity on overflow.
function encodeBf16(values: Float32Array, codes: Uint16Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] ?? 0;
    const isNaN32 = (word & 0x7fffffff) > 0x7f800000;
    codes[i] = isNaN32 ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

// The bits of an f32 that are half of f16's smallest number, its smallest normal one, and the first to become infinity.
const F16_HALF_OF_LEAST = 0x33000000;
const F16_NORMAL = 0x38800000;
const F16_OVERFLOW = 0x477ff000;

function encodeF16(values: Float32Array, codes: Uint16Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] ?? 0;
    codes[i] = ((word >>> 16) & 0x8000) | encodeMagnitude(word & 0x7fffffff);
  }
}

function encodeMagnitude(word: number): number {
  if (word > 0x7f800000) return 0x7e00 | ((word >>> 13) & 0x3ff);
  if (word >= F16_OVERFLOW) return 0x7c00;
  if (word >= F16_NORMAL) return (word - 0x38000000 + 0xfff + ((word >>> 13) & 1)) >>> 13;
  if (word <= F16_HALF_OF_LEAST) return 0;
  const mantissa = (word & 0x7fffff) | 0x800000;
  const shift = 126 - (word >>> 23);
  return (mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift;
}

/** The dtypes that f32 is rounded to. */
type Encoded = Exclude<FloatDType, "F8_E8M0">;

/** Encodes values, rounding to nearest even; what is too large becomes infinity, or NaN where there is none. */
export function encodeFloats(dtype: Encoded, values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * WIDTH[dtype]);
  encodeInto(dtype, values, bytes);
  return bytes;
}

/** The same into bytes, which begin where typed arrays may. */
function encodeInto(dtype: Encoded, values: Float32Array, out: Uint8Array): void {
  const { buffer, byteOffset } = out;
  const { length } = values;
  if (dtype === "F32") new Float32Array(buffer, byteOffset, length).set(values);
  else if (dtype === "F64") new Float64Array(buffer, byteOffset, length).set(values);
  else if (dtype === "BF16") encodeBf16(values, new Uint16Array(buffer, byteOffset, length));
  else if (dtype === "F16") encodeF16(values, new Uint16Array(buffer, byteOffset, length));
  else {
    const format = SMALL_FLOATS[dtype];
    for (let i = 0; i < length; i++) out[i] = encodeCode(format, values[i] ?? 0);
  }
}

// Values that are on their way from one dtype to another: few enough to stay in the processor's cache.
const PASSING = 1 << 14;

/** Elements of a dtype in another, in `room`, which begins where typed arrays may; rounded as `encodeFloats` does. */
export function convertFloats(from: FloatDType, bytes: Uint8Array, to: Encoded, room: Allocate): Uint8Array {
  const [width, outWidth] = [WIDTH[from], WIDTH[to]];
  const count = bytes.length / width;
  const out = room(count * outWidth);
  const passing = new Float32Array(Math.min(count, PASSING));
  for (let start = 0; start < count; start += PASSING) {
    const stop = Math.min(count, start + PASSING);
    const values = passing.subarray(0, stop - start);
    decodeFloats(from, bytes.subarray(start * width, stop * width), values);
    encodeInto(to, values, out.subarray(start * outWidth, stop * outWidth));
  }
  return out;
}
