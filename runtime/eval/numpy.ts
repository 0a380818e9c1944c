// NumPy arrays as a pickle spells them, and their numbers.

import { halfOf } from "../checkpoint/convert-dtype.ts";
import type { FileBytes, PickleValue } from "./pickle.ts";

/** An element type: how many bytes an element has, and how its number is read from little-endian bytes. */
type Element = { readonly size: number; readonly read: (view: DataView, offset: number) => number };

export type NumpyDType = { readonly kind: "dtype"; readonly name: string; readonly element: Element };

/** An array whose bytes lie in a file. Without dtype and bytes: an array that has not got its state yet. */
export type NumpyArray = {
  readonly kind: "array";
  readonly shape: readonly number[];
  readonly dtype: NumpyDType | undefined;
  /** Whether the first index runs fastest. */
  readonly isFortran: boolean;
  readonly bytes: FileBytes | undefined;
};

export type WholeArray = NumpyArray & { readonly dtype: NumpyDType; readonly bytes: FileBytes };

/** The names that pickles of arrays refer to, and what a call of each gives. NumPy 2 moved its modules. */
export const NUMPY_NAMES: ReadonlyMap<string, "class" | "dtype" | "reconstruct" | "frombuffer" | "scalar"> =
  new Map([
    ["numpy.ndarray", "class"],
    ["numpy.dtype", "dtype"],
    ...["numpy.core", "numpy._core"].flatMap(
      (core) =>
        [
          [`${core}.multiarray._reconstruct`, "reconstruct"],
          [`${core}.multiarray.scalar`, "scalar"],
          [`${core}.numeric._frombuffer`, "frombuffer"],
        ] as const,
    ),
  ]);

const elements: ReadonlyMap<string, Element> = new Map<string, Element>([
  ["f2", { size: 2, read: (view, at) => halfOf(view.getUint16(at, true)) }],
  ["f4", { size: 4, read: (view, at) => view.getFloat32(at, true) }],
  ["f8", { size: 8, read: (view, at) => view.getFloat64(at, true) }],
  ["b1", { size: 1, read: (view, at) => view.getUint8(at) }],
  ["i1", { size: 1, read: (view, at) => view.getInt8(at) }],
  ["u1", { size: 1, read: (view, at) => view.getUint8(at) }],
  ["i2", { size: 2, read: (view, at) => view.getInt16(at, true) }],
  ["u2", { size: 2, read: (view, at) => view.getUint16(at, true) }],
  ["i4", { size: 4, read: (view, at) => view.getInt32(at, true) }],
  ["u4", { size: 4, read: (view, at) => view.getUint32(at, true) }],
  ["i8", { size: 8, read: (view, at) => Number(view.getBigInt64(at, true)) }],
  ["u8", { size: 8, read: (view, at) => Number(view.getBigUint64(at, true)) }],
]);

/** Refuses what is being read, at its place. */
type Refuse = (problem: string) => never;

/** `numpy.dtype(name, …)`. */
export function dtypeFrom([name]: readonly PickleValue[], refuse: Refuse): NumpyDType {
  const element = typeof name === "string" ? elements.get(name) : undefined;
  if (!element)
    return refuse(
      `an array of dtype ${JSON.stringify(name)}; the known ones are ${[...elements.keys()].join(", ")}`,
    );
  return { kind: "dtype", name: String(name), element };
}

const isSize = (value: PickleValue): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** `_frombuffer(bytes, dtype, shape, order)`, and what an array's state says in another order. */
export function arrayFrom([bytes, dtype, shape, order]: readonly PickleValue[], refuse: Refuse): WholeArray {
  if (typeof dtype !== "object" || dtype?.kind !== "dtype") return refuse("an array without a dtype");
  if (typeof shape !== "object" || shape?.kind !== "tuple" || !shape.items.every(isSize))
    return refuse("an array whose shape is not a tuple of sizes");
  if (typeof bytes !== "object" || bytes?.kind !== "bytes") return refuse("an array without its bytes");
  const wanted = shape.items.reduce((n, size) => n * size, dtype.element.size);
  if (wanted !== bytes.length)
    return refuse(
      `an array [${shape.items.join(", ")}] of ${dtype.name} takes ${wanted} bytes, it has ${bytes.length}`,
    );
  const isFortran = order === "F" && shape.items.length > 1;
  if (isFortran && shape.items.length > 2) return refuse("an array of three axes or more in Fortran order");
  return { kind: "array", shape: shape.items, dtype, isFortran, bytes };
}

/** `scalar(dtype, bytes)`: one number. */
export function scalarFrom(
  [dtype, bytes]: readonly PickleValue[],
  read: (bytes: FileBytes) => Uint8Array,
  refuse: Refuse,
): number {
  const array = arrayFrom([bytes ?? null, dtype ?? null, { kind: "tuple", items: [] }, "C"], refuse);
  const [number = Number.NaN] = decode(array, read(array.bytes), new Float64Array(1));
  return number;
}

/** The numbers of an array, whose bytes these are, in row-major order. */
export function decode<Out extends Float32Array | Float64Array>(
  { dtype: { element }, shape, isFortran }: WholeArray,
  bytes: Uint8Array,
  out: Out,
): Out {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [rows = 1, columns = 1] = shape;
  for (let i = 0; i < out.length; i++) {
    const from = isFortran ? (i % columns) * rows + Math.floor(i / columns) : i;
    out[i] = element.read(view, from * element.size);
  }
  return out;
}
