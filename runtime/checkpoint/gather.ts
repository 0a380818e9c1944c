// Making a box of a planned tensor out of the source's tensors.
import type { Factor } from "../../compiler/arch/dims.ts";
import { fail, invariant } from "../../compiler/diag.ts";
import { allocate, allocateAgain } from "../files.ts";
import { convertFloats, isFloatDType } from "./convert-dtype.ts";
import { extentsOf } from "./layout.ts";
import { moveElements, stepsOf } from "./move-elements.ts";
import { boxOf, type FactoredBox, type Move, type TensorPlan } from "./plan.ts";
import { bitsOf } from "./safetensors-header.ts";
import type { Allocate, Box, StoredDType, TensorReader } from "./tensors.ts";

/** Memory for what is gathered, and for what it is made of, one piece after another. */
export type Rooms = { readonly source: Allocate; readonly target: Allocate };

/** The bytes of a box of a planned tensor, row-major, in a dtype. The box cuts no factor but the first of an axis. */
export function gather(
  plan: TensorPlan,
  box: Box,
  source: TensorReader,
  dtype: StoredDType,
  rooms: Rooms = { source: allocate, target: allocate },
): Uint8Array {
  const shape = box.map(([start, stop]) => stop - start);
  const width = bitsOf(dtype) / 8;
  const out = rooms.target(shape.reduce((n, size) => n * size, width));
  for (const move of plan.moves) {
    const part = within(move, box);
    if (!part) continue;
    const bytes = readAs(source, part.from, boxOf(part.source), dtype, rooms.source);
    const steps = stepsOf(part.source.dims, extentsOf(part.source.dims));
    const strides = stepsOf(part.target.dims, shape);
    const loops = part.target.dims.flat().map(({ key, size }) => {
      const from = steps.get(key);
      const to = strides.get(key);
      invariant(from !== undefined && to !== undefined, `both sides of a move have the factor ${key}`);
      return { size, from, to };
    });
    const start = part.target.start.reduce(
      (at, first, axis) => at * (shape[axis] ?? 1) + first - (box[axis]?.[0] ?? 0),
      0,
    );
    moveElements({ bytes, start: 0 }, { bytes: out, start }, loops, width);
  }
  return out;
}

/** What of a move lands in a box of its target; nothing when none does. */
function within(move: Move, box: Box): Move | undefined {
  let { source, target } = move;
  for (const [axis, [start, stop]] of boxOf(move.target).entries()) {
    const [first, end] = box[axis] ?? [0, 0];
    const [low, high] = [Math.max(start, first), Math.min(stop, end)];
    if (low >= high) return undefined;
    if (low === start && high === stop) continue;
    const [leading, ...rest] = target.dims[axis] ?? [];
    invariant(leading, "an axis of extent one is not cut");
    const step = sizeOf(rest);
    const range = [(low - start) / step, (high - start) / step] as const;
    invariant(
      range.every(Number.isInteger),
      `a box cuts only the first factor of an axis, not ${leading.key}`,
    );
    [source, target] = [cut(source, leading.key, range), cut(target, leading.key, range)];
  }
  return { from: move.from, source, target };
}

const sizeOf = (factors: readonly Factor[]): number => factors.reduce((n, { size }) => n * size, 1);

/** The box with a range of one factor, which comes first in its axis. */
function cut(
  { start, dims }: FactoredBox,
  key: string,
  [first, end]: readonly [number, number],
): FactoredBox {
  const axis = dims.findIndex((factors) => factors.some((factor) => factor.key === key));
  const [leading, ...rest] = dims[axis] ?? [];
  invariant(leading?.key === key, `${key} leads its axis`);
  return {
    start: start.with(axis, (start[axis] ?? 0) + first * sizeOf(rest)),
    dims: dims.with(axis, [{ key, size: end - first }, ...rest]),
  };
}

// What is converted is moved before the next is. A block of 16 MiB takes twice as much in a wider dtype.
const converted = allocateAgain(1 << 25);

/** A box of a stored tensor in a dtype; between dtypes of floats, values are rounded to nearest even. */
function readAs(
  source: TensorReader,
  name: string,
  box: Box,
  dtype: StoredDType,
  room: Allocate,
): Uint8Array {
  const stored = source.tensors.get(name);
  invariant(stored, `${name} is in ${source.path}`);
  const bytes = source.read(name, box, room);
  if (stored.dtype === dtype) return bytes;
  if (!isFloatDType(stored.dtype) || !isFloatDType(dtype) || dtype === "F8_E8M0")
    return fail({
      code: "tensor-dtype",
      message: `tensor \`${name}\` is ${stored.dtype}, which does not convert to ${dtype}`,
      at: { file: source.path },
    });
  return convertFloats(stored.dtype, bytes, dtype, converted);
}
