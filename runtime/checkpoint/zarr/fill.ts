// The fill value of an array: what elements are that were never written.

import { showJson } from "../../../compiler/json.ts";
import { encodeFloats, isFloatDType } from "../convert-dtype.ts";
import type { Site } from "./codecs.ts";
import type { Element } from "./element.ts";
import { failMetadata } from "./metadata.ts";

/** The bytes of one element that holds this fill value of the metadata; without a value it is zero. */
export function parseFill(site: Site, { dtype, width }: Element, value: unknown): Uint8Array {
  const bytes = new Uint8Array(width);
  if (isZero(value)) return bytes;
  const number = numberOf(value);
  const view = new DataView(bytes.buffer);
  if (number === undefined || dtype === "C64" || dtype === "F8_E8M0")
    return failMetadata(site, `q3c does not know the fill value ${showJson(value)} of ${dtype}`);
  if (dtype === "F64") view.setFloat64(0, number, true);
  else if (isFloatDType(dtype)) bytes.set(encodeFloats(dtype, Float32Array.of(number)));
  else if (Number.isSafeInteger(number)) {
    const whole = BigInt.asUintN(64, BigInt(number));
    for (let i = 0; i < width; i++) bytes[i] = Number((whole >> BigInt(8 * i)) & 0xffn);
  } else failMetadata(site, `expected a whole number to fill ${dtype} with, found ${showJson(value)}`);
  return bytes;
}

const isZero = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  value === false ||
  Object.is(value, 0) ||
  (Array.isArray(value) && value.every(isZero));

function numberOf(value: unknown): number | undefined {
  if (value === true) return 1;
  if (typeof value === "number") return value;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  return undefined;
}
