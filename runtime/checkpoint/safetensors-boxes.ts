// Safetensors as tensors that are read by boxes: a tensor is one row-major array in its file.
import { fail } from "../../compiler/diag.ts";
import { allocate } from "../files.ts";
import {
  chunkBoxes,
  chunkOfRows,
  copyBox,
  countOf,
  isSameBox,
  offsetOf,
  requireInside,
  shapeOfBox,
  wholeBox,
} from "./box.ts";
import type { Safetensors } from "./safetensors.ts";
import { bitsOf, type Entry } from "./safetensors-header.ts";
import type { Allocate, Box, TensorReader } from "./tensors.ts";

// What lies between the elements of a box is read with them as long as it fits in here: one read for many.
const WINDOW = 1 << 24;

/** The tensors of an open file or directory of safetensors. Closing them closes it. */
export function tensorsOf(path: string, file: Safetensors): TensorReader {
  return {
    path,
    tensors: file.entries,
    read(name, box, room = allocate) {
      const entry = file.find(name);
      if (!box || isSameBox(box, wholeBox(entry.shape))) return file.readRaw(name, room);
      requireInside(box, entry.shape, name);
      return readBox(file, entry, box, room);
    },
    chunksOf(name) {
      const { dtype, shape } = file.find(name);
      const width = bitsOf(dtype) / 8;
      return width < 1 ? [wholeBox(shape)] : chunkBoxes(shape, chunkOfRows(shape, width));
    },
    close: () => file.close(),
  };
}

function readBox(
  file: Safetensors,
  { name, file: path, dtype, shape }: Entry,
  box: Box,
  room: Allocate,
): Uint8Array {
  const width = bitsOf(dtype) / 8;
  if (width < 1)
    fail({
      code: "tensor-dtype",
      message: `tensor \`${name}\`: elements of ${dtype} share bytes, so it can only be read whole`,
      at: { file: path },
    });
  const whole = wholeBox(shape);
  const [rows, ...inner] = box;
  // Whole rows lie together.
  if (rows && isSameBox(inner, whole.slice(1))) {
    const row = countOf(shape.slice(1)) * width;
    return file.readRange(name, rows[0] * row, (rows[1] - rows[0]) * row, room);
  }
  const out = room(countOf(shapeOfBox(box)) * width);
  const take = (rows: Box): void => {
    const offset = offsetOf(rows, shape) * width;
    const bytes = file.readRange(name, offset, countOf(shapeOfBox(rows)) * width);
    copyBox({ box: rows, bytes }, { box, bytes: out }, width);
  };
  // Where the axes before one are at a single index each, neighbours along it are one run of the file.
  const visit = (fixed: Box): void => {
    const axis = fixed.length;
    const inner = whole.slice(axis + 1);
    const row = countOf(shapeOfBox(inner)) * width;
    const [first, end] = box[axis] ?? [0, 1];
    const isRun = isSameBox(inner, box.slice(axis + 1));
    if (row > WINDOW && !isRun) for (let i = first; i < end; i++) visit([...fixed, [i, i + 1]]);
    else {
      const step = isRun ? end - first : Math.floor(WINDOW / row);
      for (let i = first; i < end; i += step) take([...fixed, [i, Math.min(i + step, end)], ...inner]);
    }
  };
  if (out.length > 0) visit([]);
  return out;
}
