import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { createOrbax, type OrbaxTensor } from "../../runtime/checkpoint/orbax/write.ts";
import { writeSafetensors } from "../../runtime/checkpoint/write-safetensors.ts";
import { scratch } from "../support/scratch.ts";
import { q3c } from "./support.ts";

const TENSORS: readonly OrbaxTensor[] = [
  { path: ["params", "decoder", "layers", "w"], dtype: "BF16", shape: [3, 2], chunk: [1, 2] },
  { path: ["step"], dtype: "I64", shape: [], isScalar: true },
];

function saved(
  options: { readonly ocdbt?: boolean; readonly customMetadata?: Record<string, unknown> } = {},
): string {
  const path = scratch();
  const leaves = [{ path: ["opt_state"], empty: "Dict" } as const, { path: ["note"], text: "hi" } as const];
  const writer = createOrbax(path, TENSORS, { ...options, step: 7, leaves });
  for (const { path: keys } of TENSORS)
    for (const box of writer.chunksOf(keys.join(".")))
      writer.write(keys.join("."), box, new Uint8Array(keys[0] === "step" ? 8 : 4));
  writer.commit();
  return path;
}

test("an Orbax checkpoint: format, step, layers, tensors, the rest of the tree, and that it is whole", async () => {
  const path = saved({ customMetadata: { scan_layers: true } });
  const { code, out, err } = await q3c(["inspect", path, "--verify"]);
  expect([code, err]).toEqual([0, ""]);
  expect(out.split("\n")).toEqual([
    join(path, "7", "items"),
    "Orbax checkpoint of step 7, an OCDBT database of zarr v3 arrays",
    "scanned: the layers of a kind are one tensor",
    "2 tensors (1 BF16, 1 I64), 7 elements, 20 B",
    'noted: {"scan_layers":true}',
    "",
    "BF16  [3, 2]  12 B  params.decoder.layers.w",
    "I64   []      8 B   step",
    "Dict: opt_state",
    'string: note = "hi"',
    "",
    "whole: every chunk of 2 tensors was read, 20 B",
    "2 tensors with a check sum over every element (CRC-32C): all agree",
  ]);
});

test("as JSON, and whether layers are scanned by the names where nothing is noted", async () => {
  const { code, out } = await q3c(["inspect", saved(), "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    format: "orbax",
    step: 7,
    isScanned: true,
    elements: 7,
    bytes: 20,
    verified: false,
    tensors: [
      { name: "params.decoder.layers.w", dtype: "BF16", shape: [3, 2], bytes: 12, checksums: ["CRC-32C"] },
      {},
    ],
    nodes: [
      { name: "opt_state", kind: "Dict" },
      { name: "note", kind: "string", text: "hi" },
    ],
  });
});

test("safetensors, of which is said that it has no check sums", async () => {
  const path = join(scratch(), "model.safetensors");
  const bytes = (): Uint8Array => new Uint8Array(4);
  writeSafetensors(path, [{ name: "w", dtype: "F32", shape: [1], bytes }]);
  const { code, out } = await q3c(["inspect", path, "--verify"]);
  expect(code).toBe(0);
  expect(out.split("\n")).toEqual([
    path,
    "safetensors checkpoint, one file",
    "1 tensor (1 F32), 1 element, 4 B",
    'noted: {"format":"pt"}',
    "",
    "F32  [1]  4 B  w",
    "",
    "whole: every chunk of 1 tensor was read, 4 B",
    "safetensors has no check sums: sizes and places agree, but a changed byte looks like another value",
  ]);
});

test("every damaged tensor is named, and the exit code is 1", async () => {
  const path = saved({ ocdbt: false });
  const item = join(path, "7", "items");
  fs.rmSync(join(item, "params.decoder.layers.w", "c", "1", "0"));
  const step = join(item, "step", "c");
  fs.writeFileSync(
    step,
    fs.readFileSync(step).map((byte, i) => (i === 3 ? byte ^ 1 : byte)),
  );
  const { code, err } = await q3c(["inspect", path, "--verify"]);
  expect(code).toBe(1);
  expect(err).toContain("tensor `params.decoder.layers.w`: chunk c/1/0 is missing");
  expect(err).toContain(`${step}: chunk-damaged: tensor \`step\`: chunk c: its CRC-32C is`);
});

test.each([
  [["inspect"], "path-missing", 2],
  [["inspect", "a", "b"], "unexpected-argument", 2],
  [["inspect", "no-such-place"], "file-missing", 1],
])("%j fails with %s", async (line, code, exit) => {
  const found = await q3c(line);
  expect(found.code).toBe(exit);
  expect(found.err).toContain(code);
});
