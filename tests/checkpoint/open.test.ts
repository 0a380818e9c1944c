import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { openCheckpoint, openTensors } from "../../runtime/checkpoint/open.ts";
import { createOrbax } from "../../runtime/checkpoint/orbax/write.ts";
import type { Box } from "../../runtime/checkpoint/tensors.ts";
import { writeSafetensors } from "../../runtime/checkpoint/write-safetensors.ts";
import { scratch } from "../support/scratch.ts";
import { container, failure, fileOf } from "./support.ts";
import { elementsIn, slice } from "./zarr-support.ts";

test("any box of a safetensors tensor, and all of its chunks, are its elements", () => {
  const path = join(scratch(), "model.safetensors");
  const cases = fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)), { maxLength: 4 });
  fc.assert(
    fc.property(cases, fc.constantFrom("U8", "BF16", "F32", "C64"), (axes, dtype) => {
      const shape = axes.map(([size]) => size);
      const width = { U8: 1, BF16: 2, F32: 4, C64: 8 }[dtype]!;
      const bytes = Uint8Array.from({ length: elementsIn(shape) * width }, (_, i) => i);
      writeSafetensors(path, [{ name: "w", dtype, shape, bytes: () => bytes }], {}, { overwrite: true });
      const tensors = openTensors(path);
      const box = axes.map(([size, a, b]): readonly [number, number] => {
        const [start, stop] = [Math.min(a, size), Math.min(b, size)];
        return [Math.min(start, stop), Math.max(start, stop)];
      });
      for (const wanted of [box, ...tensors.chunksOf("w")])
        expect(tensors.read("w", wanted)).toEqual(slice(bytes, shape, wanted, width));
      expect(tensors.read("w")).toEqual(bytes);
      tensors.close();
    }),
    { numRuns: 50 },
  );
});

test("thin boxes of large tensors are read through a window", () => {
  const shape = [2, 2 ** 23, 3];
  const path = fileOf(container({ w: { dtype: "U8", shape, data_offsets: [0, 3 * 2 ** 24] } }));
  const start = fs.statSync(path).size;
  fs.truncateSync(path, start + 3 * 2 ** 24);
  const file = fs.openSync(path, "r+");
  const at = (i: number, j: number, k: number): number => (i * 2 ** 23 + j) * 3 + k;
  fs.writeSync(file, Uint8Array.of(7), 0, 1, start + at(1, 2 ** 23 - 1, 2));
  fs.writeSync(file, Uint8Array.of(9), 0, 1, start + at(1, 5, 2));
  fs.closeSync(file);
  const tensors = openTensors(path);
  const column = tensors.read("w", [
    [0, 2],
    [5, 2 ** 23],
    [2, 3],
  ]);
  expect(column.length).toBe(2 * (2 ** 23 - 5));
  expect([column[column.length / 2], column.at(-1)]).toEqual([9, 7]);
  expect(column.reduce((sum, byte) => sum + byte, 0)).toBe(16);
  expect([...tensors.chunksOf("w")]).toHaveLength(1);
  tensors.close();
});

test("elements that share bytes are read whole", () => {
  const path = fileOf(
    container({ w: { dtype: "F4", shape: [4], data_offsets: [0, 2] } }, Uint8Array.of(1, 2)),
  );
  const tensors = openTensors(path);
  for (const box of tensors.chunksOf("w")) expect([...tensors.read("w", box)]).toEqual([1, 2]);
  expect(failure(() => tensors.read("w", [[0, 2]]))).toMatchObject({ code: "tensor-dtype" });
  tensors.close();
});

test("the format is told from the files, and what is none of them is said with what was found", () => {
  const path = scratch();
  const box: Box = [];
  const writer = createOrbax(join(path, "run"), [{ path: ["w"], dtype: "F32", shape: [] }], { step: 4 });
  writer.write("w", box, new Uint8Array(4));
  writer.commit();
  writeSafetensors(join(path, "model.safetensors"), []);
  for (const step of ["9", "10"]) {
    fs.mkdirSync(join(path, "trained", step), { recursive: true });
    writeSafetensors(join(path, "trained", step, "model.safetensors"), []);
  }
  for (const [place, format] of [
    ["run", "orbax"],
    ["run/4", "orbax"],
    ["run/4/items", "orbax"],
    ["trained", "safetensors"],
    ["model.safetensors", "safetensors"],
    ["", "safetensors"],
  ] as const) {
    const { format: found, tensors } = openCheckpoint(join(path, place));
    expect(found).toBe(format);
    tensors.close();
  }
  expect(openTensors(join(path, "trained")).path).toBe(join(path, "trained", "10"));
  expect(failure(() => openTensors(join(path, "run", "4", "items", "d")))).toMatchObject({
    code: "checkpoint-missing",
    message: expect.stringMatching(
      /expected safetensors files, or an Orbax item, step .*; found [0-9a-f]{32}$/,
    ),
  });
  expect(failure(() => openTensors(join(path, "none"))).code).toBe("file-missing");
});

test("a run's folder is that of its steps, and a step whose tree is lost is named", () => {
  const run = scratch();
  const steps = join(run, "checkpoints");
  for (const step of [3, 7]) {
    const writer = createOrbax(steps, [{ path: ["w"], dtype: "U8", shape: [] }], { step });
    writer.write("w", [], Uint8Array.of(step));
    writer.commit();
  }
  fs.mkdirSync(join(run, "hugging_face"));
  const opened = openTensors(run);
  expect([...opened.read("w")]).toEqual([7]);
  opened.close();
  const item = join(steps, "7", "items");
  fs.rmSync(join(item, "_METADATA"));
  for (const path of [join(steps, "7"), item])
    expect(failure(() => openTensors(path))).toMatchObject({
      code: "orbax-incomplete",
      message: expect.stringContaining(`${item}: orbax-incomplete: _METADATA is missing`),
    });
});
