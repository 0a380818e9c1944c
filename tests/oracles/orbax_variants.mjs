// The side of q3c for orbax_variants.py: dumps a checkpoint as JSON, or writes one of every variant.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openTensors } from "../../dist/runtime/checkpoint/open.js";
import { createOrbax, openOrbaxPart } from "../../dist/runtime/checkpoint/orbax/write.js";
import { bitsOf } from "../../dist/runtime/checkpoint/safetensors-header.js";

const [, , command, path] = process.argv;
const base64 = (bytes) => Buffer.from(bytes).toString("base64");

function dump() {
  const reader = openTensors(path);
  const entries = [...reader.tensors.values()].map(({ name, dtype, shape }) => [
    name,
    { dtype, shape, bytes: base64(reader.read(name)) },
  ]);
  console.log(JSON.stringify(Object.fromEntries(entries)));
}

let seed = 1;
const random = (length) =>
  Uint8Array.from({ length }, () => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed >> 16;
  });

const DTYPES = [
  ...["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"],
  ...["U16", "I16", "F16", "BF16", "U32", "I32", "F32", "U64", "I64", "F64", "C64"],
];

const TREES = {
  dtypes: DTYPES.map((dtype) => ({ path: ["d", dtype], dtype, shape: [3, 4], chunk: [2, 4] })),
  // As MaxText saves a training state, one chunk per layer, and some of every other shape.
  state: [
    { path: ["step"], dtype: "I64", shape: [], isScalar: true },
    {
      path: ["params", "params", "decoder", "layers", "wi_0", "kernel"],
      dtype: "BF16",
      shape: [8, 3, 6],
      chunk: [8, 1, 6],
    },
    { path: ["params", "params", "border"], dtype: "F32", shape: [5, 7], chunk: [2, 3] },
    { path: ["params", "params", "empty"], dtype: "F32", shape: [0, 3] },
    { path: ["opt_state", 0, "count"], dtype: "I32", shape: [] },
    { path: ["opt_state", 0, "mu", "params", "w"], dtype: "F32", shape: [11] },
  ],
};

/** Bytes for a whole tensor, and writing its chunks through one of the writers. */
function fill(tensor, writer) {
  const name = tensor.path.join(".");
  const width = bitsOf(tensor.dtype) / 8;
  const whole = random(tensor.shape.reduce((n, size) => n * size, width)).map((byte) =>
    tensor.dtype === "BOOL" ? byte & 1 : byte,
  );
  for (const box of writer.chunksOf(name)) {
    const indices = box.reduce(
      (outer, [start, stop]) =>
        outer.flatMap((index) => Array.from({ length: stop - start }, (_, i) => [...index, start + i])),
      [[]],
    );
    const offsets = indices.map(
      (index) => index.reduce((at, i, axis) => at * tensor.shape[axis] + i, 0) * width,
    );
    writer.write(name, box, Uint8Array.from(offsets.flatMap((at) => [...whole.subarray(at, at + width)])));
  }
  return [name, { dtype: tensor.dtype, shape: tensor.shape, bytes: base64(whole) }];
}

function write() {
  mkdirSync(path, { recursive: true });
  const expected = {};
  for (const ocdbt of [true, false])
    for (const zarr3 of [true, false])
      for (const step of [12, undefined])
        for (const [tree, tensors] of Object.entries(TREES))
          for (const parts of [0, 2]) {
            const form = `${ocdbt ? "ocdbt" : "files"}-zarr${zarr3 ? 3 : 2}`;
            const at = `${tree}-${form}${step === undefined ? "" : "-step"}${parts > 0 ? "-parts" : ""}`;
            const options = { ocdbt, zarr3, step, customMetadata: { scan_layers: true } };
            const writer = createOrbax(join(path, at), tensors, options);
            const others = Array.from({ length: parts }, (_, i) => openOrbaxPart(writer.plan, i + 1));
            const entries = tensors.map((tensor, i) => fill(tensor, [writer, ...others][i % (parts + 1)]));
            for (const part of others) part.commit();
            writer.commit();
            const paths = Object.fromEntries(tensors.map(({ path: keys }) => [keys.join("."), keys]));
            expected[at] = [step ?? null, Object.fromEntries(entries), paths];
          }
  writeFileSync(join(path, "expected.json"), JSON.stringify(expected));
}

({ dump, write })[command]();
