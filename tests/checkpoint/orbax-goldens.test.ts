// Checkpoints that Orbax wrote, in every variant; made by tests/oracles/orbax_variants.py.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { openOrbax } from "../../runtime/checkpoint/orbax/read.ts";
import { bitsOf, isSafetensorsDType } from "../../runtime/checkpoint/safetensors-header.ts";
import { slice } from "./zarr-support.ts";

const folder = fileURLToPath(new URL("orbax-goldens", import.meta.url));

type Entry = { readonly dtype: string; readonly shape: readonly number[]; readonly bytes: string };
const expected: Readonly<Record<string, Readonly<Record<string, Entry>>>> = JSON.parse(
  readFileSync(join(folder, "expected.json"), "utf8"),
);

test.each(Object.keys(expected))("%s", (at) => {
  const found = openOrbax(join(folder, at));
  const wanted = Object.entries(expected[at]!);
  expect(new Set(found.tensors.keys())).toEqual(new Set(wanted.map(([name]) => name)));
  for (const [name, { dtype, shape, bytes }] of wanted) {
    if (!isSafetensorsDType(dtype)) throw new Error(`${dtype} of ${name}`);
    const all = new Uint8Array(Buffer.from(bytes, "base64"));
    expect(found.tensors.get(name)).toEqual({ name, dtype, shape });
    expect(found.read(name)).toEqual(all);
    for (const box of found.chunksOf(name))
      expect(found.read(name, box)).toEqual(slice(all, shape, box, bitsOf(dtype) / 8));
    expect(found.countAbsent(name)).toBe(0);
  }
  found.close();
});

test("the whole tree comes back: numbers, strings, lists and what is empty", () => {
  const found = openOrbax(join(folder, "mixed-ocdbt-zarr3"));
  const kinds = new Map(found.leaves.map(({ path, kind }) => [JSON.stringify(path), kind]));
  expect(kinds.get('["arrays","BF16"]')).toBe("np.ndarray");
  expect(kinds.get('["list",0]')).toBe("np.ndarray");
  expect(kinds.get('["list",1,0]')).toBe("np.ndarray");
  expect(kinds.get('["list",1,1]')).toBe("None");
  expect(kinds.get('["list",2]')).toBe("Dict");
  expect(kinds.get('["nothing"]')).toBe("List");
  expect(kinds.get('["none"]')).toBe("None");
  for (const name of ["whole", "half", "number"]) expect(kinds.get(`["${name}"]`)).toBe("scalar");
  expect([...found.strings]).toEqual([["note", "text"]]);
  found.close();
});

test("a training state has its step, its optimizer and what MaxText noted", () => {
  const found = openOrbax(join(folder, "train-ocdbt-zarr3"));
  expect(found).toMatchObject({ step: 3, customMetadata: { scan_layers: true } });
  const inOptimizer = [...found.tensors.keys()].filter((name) => name.startsWith("opt_state."));
  expect(inOptimizer).toContain("opt_state.1.0.mu.params.decoder.layers.layer_0.mlp.routed_experts.wi_0");
  expect(new Int32Array(found.read("step").slice().buffer)[0]).toBe(3);
  found.close();
});
