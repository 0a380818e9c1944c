// Element types: names as printed in IR, byte widths, the tfjs dtype that holds their numbers, and the other spellings
// users write.
import { invariant } from "./diag.ts";

const DTYPES = {
  f32: { bytes: 4, float: true, tfjs: "float32", aliases: ["float32", "F32"] },
  bf16: { bytes: 2, float: true, tfjs: "float32", aliases: ["bfloat16", "BF16"] },
  f16: { bytes: 2, float: true, tfjs: "float32", aliases: ["float16", "F16"] },
  i32: { bytes: 4, float: false, tfjs: "int32", aliases: ["int32", "I32"] },
  bool: { bytes: 1, float: false, tfjs: "bool", aliases: ["BOOL"] },
} as const;

export type DType = keyof typeof DTYPES;

export const dtypes = Object.keys(DTYPES) as readonly DType[];
export const bytesOf = (dtype: DType): number => DTYPES[dtype].bytes;
/** The tfjs dtype that holds a dtype's numbers. */
export const tfDTypeOf = (dtype: DType): "float32" | "int32" | "bool" => DTYPES[dtype].tfjs;
export const isFloat = (dtype: DType): boolean => DTYPES[dtype].float;

/** The dtype a user or a file names (`bfloat16`, `BF16`, `bf16`), or nothing. */
export const findDType = (name: string): DType | undefined =>
  dtypes.find((dtype) => dtype === name || (DTYPES[dtype].aliases as readonly string[]).includes(name));

/** The dtype that a configuration names, which has let no other name through. */
export function dtypeNamed(name: string): DType {
  const dtype = findDType(name);
  invariant(dtype, `the configuration let the dtype ${name} through`);
  return dtype;
}
