// q3c's conversions are MaxText's, lose nothing on the way there and back, and outlive being cut off.
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { prepareConversion } from "../../runtime/checkpoint/convert/convert.ts";
import { encodeFloats } from "../../runtime/checkpoint/convert-dtype.ts";
import { mergeOcdbt } from "../../runtime/checkpoint/ocdbt/write.ts";
import { openOrbax } from "../../runtime/checkpoint/orbax/read.ts";
import { createOrbax } from "../../runtime/checkpoint/orbax/write.ts";
import { openSafetensors } from "../../runtime/checkpoint/safetensors.ts";
import { bitsOf } from "../../runtime/checkpoint/safetensors-header.ts";
import { INDEX } from "../../runtime/checkpoint/safetensors-layout.ts";
import { writeShardedSafetensors } from "../../runtime/checkpoint/write-safetensors.ts";
import { scratch } from "../support/scratch.ts";
import { conversionOf, convert, digestsAt, sha256, tensorsAt, weightFiles } from "./convert-support.ts";

const MAXTEXT = "tests/goldens/maxtext-tiny";

describe("MaxText's own conversion", () => {
  test.each([
    ["scanned", true],
    ["unscanned", false],
  ] as const)("%s: the same paths, shapes, dtypes and values, restored by Orbax", async (name, scanned) => {
    const wanted = JSON.parse(fs.readFileSync(`${MAXTEXT}/${name}.json`, "utf8"));
    const path = await convert(conversionOf(MAXTEXT, MAXTEXT, join(scratch(), "out"), { scanned }));
    const names: Record<string, string> = { F32: "float32", I64: "int64" };
    const found = Object.fromEntries(
      Object.entries(tensorsAt(path)).map(([tensor, { dtype, shape, bytes }]) => [
        tensor,
        { dtype: names[dtype], shape, sha256: sha256(bytes) },
      ]),
    );
    expect(found).toEqual(wanted);
    expect(openOrbax(path).customMetadata).toEqual({ scan_layers: scanned });
  });
});

describe("there and back", () => {
  test.each([
    [MAXTEXT, true],
    [MAXTEXT, false],
    ["tests/goldens/mtp", false],
    ["tests/goldens/random-a", false],
    ["tests/goldens/random-b", false],
    ["tests/goldens/qwen3-dense", true],
    ["tests/goldens/qwen3-dense", false],
  ])("%s, layers stacked: %s: the same file, with what lay beside it", async (model, scanned) => {
    const directory = scratch();
    const tree = await convert(conversionOf(model, model, join(directory, "tree"), { scanned }));
    const back = await convert(conversionOf(model, tree, join(directory, "back"), { scanned }));
    expect(weightFiles(back)).toEqual(weightFiles(model));
    for (const name of ["config.json", "generation_config.json"])
      expect(fs.readFileSync(join(back, name), "utf8")).toBe(fs.readFileSync(join(model, name), "utf8"));
    expect(fs.readdirSync(directory).toSorted()).toEqual(["back", "tree"]);
  });

  test("from MaxText's tree alone, the model is written as transformers names it", async () => {
    const directory = scratch();
    const tree = await convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "tree")));
    fs.rmSync(join(directory, "tree/0/hugging_face"), { recursive: true });
    const back = await convert(conversionOf(MAXTEXT, tree, join(directory, "back")));
    expect(weightFiles(back)).toEqual(weightFiles(MAXTEXT));
    const config = JSON.parse(fs.readFileSync(join(back, "config.json"), "utf8"));
    expect(config).toMatchObject({ model_type: "qwen3_next", num_hidden_layers: 4, dtype: "float32" });
  });

  test("tensors mtp.* that the architecture does not declare go along", async () => {
    const directory = scratch();
    const model = join(directory, "model");
    fs.cpSync("tests/goldens/qwen3-dense", model, { recursive: true });
    const own = Object.entries(tensorsAt(model)).map(([name, stored]) => ({ name, ...stored }));
    const extra = {
      name: "mtp.layers.1.norm.weight",
      dtype: "BF16",
      shape: [2, 3],
      bytes: new Uint8Array(12).fill(7),
    };
    fs.rmSync(join(model, "model.safetensors"));
    writeShardedSafetensors(
      model,
      [...own, extra].map(({ bytes, ...tensor }) => ({ ...tensor, bytes: () => bytes })) as never,
    );
    const tree = await convert(conversionOf(model, model, join(directory, "tree")));
    expect(openOrbax(tree).tensors.get("params.params.hugging_face.mtp.layers.1.norm.weight")).toMatchObject({
      dtype: "BF16",
      shape: [2, 3],
    });
    const back = await convert(conversionOf(model, tree, join(directory, "back")));
    expect(weightFiles(back)).toEqual(weightFiles(model));
  });
});

/** A model's checkpoint with random bits for numbers, in shards, with experts fused or one by one. */
function randomModel(
  directory: string,
  { fused, shardBytes, seed }: { fused: boolean; shardBytes: number; seed: number },
): void {
  fs.mkdirSync(directory);
  fs.copyFileSync(join(MAXTEXT, "config.json"), join(directory, "config.json"));
  const reader = openSafetensors(MAXTEXT);
  let state = seed | 1;
  const random = (length: number): Uint8Array =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return state >>> 24;
    });
  const experts = [...reader.entries.values()].filter(({ name }) => name.includes(".experts."));
  const rest = [...reader.entries.values()].filter(({ name }) => !name.includes(".experts."));
  const fusions = [0, 1, 2, 3].flatMap((layer) => [
    { name: `model.layers.${layer}.mlp.experts.gate_up_proj`, shape: [8, 64, 64] },
    { name: `model.layers.${layer}.mlp.experts.down_proj`, shape: [8, 64, 32] },
  ]);
  writeShardedSafetensors(
    directory,
    [...rest, ...(fused ? fusions : experts)].map(({ name, shape }) => ({
      name,
      shape,
      dtype: "BF16",
      bytes: () => random(shape.reduce((n, size) => n * size, 2)),
    })),
    {},
    { maxShardBytes: shardBytes },
  );
  reader.close();
}

test("random bf16 checkpoints in shards, experts fused or not, come back as the same files", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        fused: fc.boolean(),
        scanned: fc.boolean(),
        shardBytes: fc.integer({ min: 1 << 12, max: 1 << 20 }),
        seed: fc.integer(),
      }),
      async ({ scanned, ...given }) => {
        const directory = scratch();
        const model = join(directory, "model");
        randomModel(model, given);
        const tree = await convert(conversionOf(model, model, join(directory, "tree"), { scanned }));
        const other = await convert(
          conversionOf(model, tree, join(directory, "other"), { scanned: !scanned, to: "maxtext" }),
        );
        const back = await convert(conversionOf(model, other, join(directory, "back")));
        expect(weightFiles(back)).toEqual(weightFiles(model));
        if (fs.existsSync(join(model, INDEX)))
          expect(fs.readFileSync(join(back, INDEX), "utf8")).toBe(
            fs.readFileSync(join(model, INDEX), "utf8"),
          );
        fs.rmSync(directory, { recursive: true });
      },
    ),
    { numRuns: 3 },
  );
});

test("a link in the source's folder that leads nowhere is no reason not to convert", async () => {
  const directory = scratch();
  const model = join(directory, "model");
  randomModel(model, { fused: false, shardBytes: 1 << 20, seed: 6 });
  const wanted = weightFiles(model);
  fs.symlinkSync(join(directory, "gone"), join(model, "README.md"));
  const tree = await convert(conversionOf(model, model, join(directory, "tree")));
  expect(weightFiles(await convert(conversionOf(model, tree, join(directory, "back"))))).toEqual(wanted);
});

test("the index of another writer stays as it is, unless it would not be true any more", async () => {
  const directory = scratch();
  const model = join(directory, "model");
  randomModel(model, { fused: false, shardBytes: 1 << 16, seed: 5 });
  const { metadata, weight_map: map } = JSON.parse(fs.readFileSync(join(model, INDEX), "utf8"));
  const names = Object.entries(map).toReversed();
  const text = JSON.stringify({
    weight_map: Object.fromEntries(names),
    metadata: { ...metadata, total_parameters: 7 },
  });
  fs.writeFileSync(join(model, INDEX), text);
  const tree = await convert(conversionOf(model, model, join(directory, "tree")));
  const back = await convert(conversionOf(model, tree, join(directory, "back")));
  expect(fs.readFileSync(join(back, INDEX), "utf8")).toBe(text);
  const dtype = { name: "float32", stored: "F32" } as const;
  const wide = await convert(conversionOf(model, tree, join(directory, "wide"), { dtype }));
  expect(JSON.parse(fs.readFileSync(join(wide, INDEX), "utf8"))).toEqual({
    metadata: { total_size: 2 * metadata.total_size },
    weight_map: map,
  });
});

describe("a tied head that lies in the file again", () => {
  const TIED = "tests/goldens/qwen3-dense";
  const [EMBEDDING, HEAD] = ["model.embed_tokens.weight", "lm_head.weight"];

  /** The model with the tensors that `change` makes of its own. */
  function changed(change: (own: Stored[]) => readonly Stored[]): string {
    const directory = join(scratch(), "model");
    fs.mkdirSync(directory);
    fs.copyFileSync(join(TIED, "config.json"), join(directory, "config.json"));
    const own = Object.entries(tensorsAt(TIED)).map(([name, stored]) => ({ name, ...stored }));
    writeShardedSafetensors(
      directory,
      change(own).map(({ name, dtype, shape, bytes }) => ({ name, dtype, shape, bytes: () => bytes })),
      {},
      { maxShardBytes: 40_000 },
    );
    return directory;
  }

  type Stored = ReturnType<typeof tensorsAt>[string] & { readonly name: string };
  const headOf = (own: readonly Stored[]) => own.filter(({ name }) => name === EMBEDDING);

  test("is the embedding, and comes back", async () => {
    const model = changed((own) => [...own, ...headOf(own).map((one) => ({ ...one, name: HEAD }))]);
    const out = dirname(model);
    const tree = await convert(conversionOf(model, model, join(out, "tree")));
    expect(digestsAt(tree)).toEqual(digestsAt(await convert(conversionOf(TIED, TIED, join(out, "plain")))));
    const back = await convert(conversionOf(model, tree, join(out, "back")));
    expect(weightFiles(back)).toEqual(weightFiles(model));
  });

  test("is the embedding where that is missing", async () => {
    const model = changed((own) => own.map((one) => (one.name === EMBEDDING ? { ...one, name: HEAD } : one)));
    const out = dirname(model);
    const tree = await convert(conversionOf(model, model, join(out, "tree")));
    expect(tensorsAt(tree)["params.params.token_embedder.embedding"]).toBeDefined();
    expect(weightFiles(await convert(conversionOf(model, tree, join(out, "back"))))).toEqual(
      weightFiles(model),
    );
  });

  test("is refused when it holds other numbers, or is of another shape", () => {
    const refusal = (change: (one: Stored) => Stored) => {
      const model = changed((own) => [...own, ...headOf(own).map((one) => ({ ...change(one), name: HEAD }))]);
      return () => prepareConversion(conversionOf(model, model, join(dirname(model), "tree")));
    };
    expect(refusal((one) => ({ ...one, bytes: one.bytes.with(-1, 3) }))).toThrow(
      `tensor-repeated: tensor \`${HEAD}\`: expected what \`${EMBEDDING}\` holds of the same parameter`,
    );
    const rows =
      (n: number) =>
      (one: Stored): Stored => {
        const [all = 0, width = 0] = one.shape;
        const bytes = one.bytes.subarray(0, (one.bytes.length / all) * n);
        return { ...one, shape: [n, width], bytes };
      };
    expect(refusal(rows(3))).toThrow(`tensor-shape: tensor \`${HEAD}\`: expected shape`);
  });
});

test("a training state changes its layout and changes back: moments, counts and step", async () => {
  const directory = scratch();
  const tree = await convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "tree")));
  const params = Object.entries(tensorsAt(tree)).filter(([name]) => name.startsWith("params."));
  const state = join(directory, "state");
  const int = (value: number) => new Uint8Array(Int32Array.of(value).buffer);
  const leaves = [
    ...params.map(([name, stored]) => ({ path: name.split("."), ...stored })),
    ...["mu", "nu"].flatMap((moment, i) =>
      params.map(([name, { bytes, ...stored }]) => ({
        path: ["opt_state", 0, moment, ...name.split(".").slice(1)],
        ...stored,
        bytes: bytes.map((byte) => byte ^ (i + 1)),
      })),
    ),
    { path: ["opt_state", 0, "count"], dtype: "I32", shape: [], bytes: int(7) },
    { path: ["opt_state", 2, "count"], dtype: "I32", shape: [], bytes: int(8) },
    { path: ["step"], dtype: "I32", shape: [], bytes: int(9) },
    {
      path: ["nnx_aux", "model", "dropout", "key"],
      dtype: "U32",
      shape: [4],
      bytes: new Uint8Array(16).fill(3),
    },
  ];
  const writer = createOrbax(state, leaves as never, {
    step: 9,
    customMetadata: { scan_layers: true, noted: "by hand" },
    leaves: [{ path: ["opt_state", 1], empty: "None" }],
    beside: new Map([["iter/process_0-of-1.json", Buffer.from('{"position":4}\n')]]),
  });
  for (const { path, shape, bytes } of leaves)
    writer.write(
      path.join("."),
      shape.map((size) => [0, size] as const),
      bytes,
    );
  writer.commit();
  const single = await convert(
    conversionOf(MAXTEXT, state, join(directory, "single"), { scanned: false, to: "maxtext" }),
  );
  const found = openOrbax(single);
  expect([found.step, found.customMetadata]).toEqual([9, { scan_layers: false, noted: "by hand" }]);
  expect(found.tensors.get("opt_state.0.nu.params.decoder.layers_3.mlp.routed_experts.wo")?.shape).toEqual([
    8, 32, 64,
  ]);
  expect(found.leaves).toContainEqual({ path: ["opt_state", 1], kind: "None" });
  found.close();
  const again = await convert(conversionOf(MAXTEXT, single, join(directory, "again"), { to: "maxtext" }));
  const { "nnx_aux.model.dropout.key": _, ...wanted } = digestsAt(state);
  expect(digestsAt(again)).toEqual(wanted);
  // Where its data stood belongs to it.
  const data = join(dirname(again), "iter/process_0-of-1.json");
  expect(fs.readFileSync(data, "utf8")).toBe('{"position":4}\n');
});

test("another dtype rounds to nearest even, but what MaxText keeps in float32, and config.json says so", async () => {
  const directory = scratch();
  const dtype = { name: "bfloat16", stored: "BF16" } as const;
  const tree = await convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "tree"), { dtype }));
  const back = await convert(conversionOf(MAXTEXT, tree, join(directory, "back")));
  const source = openSafetensors(MAXTEXT);
  for (const [name, { dtype: found, bytes }] of Object.entries(tensorsAt(back))) {
    const wanted = name.endsWith("shared_expert_gate.weight") ? "F32" : "BF16";
    expect([name, found, sha256(bytes)]).toEqual([
      name,
      wanted,
      sha256(encodeFloats(wanted, source.read(name))),
    ]);
  }
  source.close();
  const narrow = await convert(conversionOf(MAXTEXT, tree, join(directory, "narrow"), { dtype }));
  expect(new Set(Object.values(tensorsAt(narrow)).map((stored) => stored.dtype))).toEqual(new Set(["BF16"]));
  expect(JSON.parse(fs.readFileSync(join(back, "config.json"), "utf8")).dtype).toBe("bfloat16");
  expect(openOrbax(tree).tensors.get("step")?.dtype).toBe("I64");
});

describe("a conversion that is cut off", () => {
  const formats = ["huggingface", "maxtext"] as const;

  /** Stops a conversion after some bytes, as if the process had ended there. */
  async function cutOff(conversion: Parameters<typeof convert>[0], after: number): Promise<void> {
    const prepared = prepareConversion(conversion);
    const run = prepared.run(1, (done) => {
      if (done > after) throw new Error("cut off");
    });
    await expect(run).rejects.toThrow("cut off");
    prepared.close();
  }

  test.each(formats)(
    "to %s: goes on, takes nothing for whole that is not, and ends with the same",
    async (to) => {
      const directory = scratch();
      const tree = await convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "tree")));
      const source = to === "maxtext" ? MAXTEXT : tree;
      const whole = await convert(conversionOf(MAXTEXT, source, join(directory, "whole"), { to }));
      const output = join(directory, "out");
      const conversion = conversionOf(MAXTEXT, source, output, { to, batchBytes: 1 << 17 });
      await cutOff(conversion, 700_000);
      expect(() => tensorsAt(output)).toThrow();
      // What was finished is not made again, and what was damaged since is.
      const seen: number[] = [];
      const prepared = prepareConversion(conversion);
      await prepared.run(1, (done) => void seen.push(done));
      prepared.close();
      expect(seen[0]).toBeGreaterThan(100_000);
      expect(seen.at(-1)).toBe(prepared.bytes);
      expect(digestsAt(prepared.path)).toEqual(digestsAt(whole));
      expect(fs.readdirSync(directory).toSorted()).toEqual(["out", "tree", "whole"]);
      expect(fs.readdirSync(to === "maxtext" ? join(output, "0") : output)).not.toContain(
        "q3c-convert.jsonl",
      );
    },
  );

  test("Ctrl-C is heard between any two blocks, and says where it goes on", async () => {
    const output = join(scratch(), "out");
    const prepared = prepareConversion(conversionOf(MAXTEXT, MAXTEXT, output));
    const turns: number[] = [];
    let turn = 0;
    const timer = setInterval(() => turn++, 0);
    await prepared.run(1, () => void turns.push(turn));
    clearInterval(timer);
    prepared.close();
    // One batch is all of it.
    expect(new Set(turns).size).toBeGreaterThan(1);
    expect(prepared.whenCutOff).toContain(`stays in ${output}/0.orbax-checkpoint-tmp; the same line goes on`);
  });

  test.each([
    { ocdbt: false, zarr3: true },
    { ocdbt: false, zarr3: false },
    { ocdbt: true, zarr3: false },
  ])("as %j goes on too, and ends with the same", async (storage) => {
    const directory = scratch();
    const given = { storage, batchBytes: 1 << 17 };
    const conversion = conversionOf(MAXTEXT, MAXTEXT, join(directory, "out"), given);
    await cutOff(conversionOf(MAXTEXT, MAXTEXT, join(directory, "out"), { batchBytes: 1 << 17 }), 700_000);
    await cutOff(conversion, 700_000);
    const seen: number[] = [];
    const prepared = prepareConversion(conversion);
    await prepared.run(1, (done) => void seen.push(done));
    prepared.close();
    expect(seen[0]).toBeGreaterThan(100_000);
    const found = openOrbax(prepared.path);
    expect(found.format).toEqual({ isOcdbt: storage.ocdbt, zarrVersion: storage.zarr3 ? 3 : 2 });
    found.close();
    const whole = await convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "whole")));
    expect(digestsAt(prepared.path)).toEqual(digestsAt(whole));
  });

  test.each(formats)("to %s: a part that was damaged meanwhile is made again", async (to) => {
    const directory = scratch();
    const tree = await convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "tree")));
    const source = to === "maxtext" ? MAXTEXT : tree;
    const whole = await convert(conversionOf(MAXTEXT, source, join(directory, "whole"), { to }));
    const output = join(directory, "out");
    const conversion = conversionOf(MAXTEXT, source, output, { to, batchBytes: 1 << 17 });
    await cutOff(conversion, 700_000);
    const aside = to === "maxtext" ? join(output, "0.orbax-checkpoint-tmp") : join(directory, ".out.partial");
    const files = (fs.readdirSync(aside, { recursive: true }) as string[])
      .map((name) => join(aside, name))
      .filter((path) => /[0-9a-f]{32}$|\.safetensors$/.test(path));
    for (const path of files) {
      const bytes = fs.readFileSync(path);
      for (let at = bytes.length >> 1; at < bytes.length; at += 5000) bytes[at] = bytes[at]! ^ 1;
      fs.writeFileSync(path, bytes);
    }
    expect(digestsAt(await convert(conversion))).toEqual(digestsAt(whole));
  });

  test("cut off while its parts are merged, a tree is merged again", async () => {
    const output = join(scratch(), "out");
    const conversion = conversionOf(MAXTEXT, MAXTEXT, output, { batchBytes: 1 << 17 });
    await cutOff(conversion, 700_000);
    const items = join(output, "0.orbax-checkpoint-tmp/items");
    mergeOcdbt(items, ["ocdbt.process_1"]);
    expect(digestsAt(await convert(conversion))).toEqual(
      digestsAt(await convert({ ...conversion, output: `${output}2` })),
    );
  });

  test("one that is going on in this very process is refused, and goes on undisturbed", async () => {
    const output = join(scratch(), "out");
    const conversion = conversionOf(MAXTEXT, MAXTEXT, output, { batchBytes: 1 << 17 });
    const first = convert(conversion);
    for (const other of [conversion, { ...conversion, batchBytes: 1 << 18 }])
      await expect(convert(other)).rejects.toThrow(
        new RegExp(`: checkpoint-unfinished: process ${process.pid} is writing there`),
      );
    expect(digestsAt(await first)).toEqual(digestsAt(await convert({ ...conversion, output: `${output}2` })));
  });

  test("other work begins anew, and what is not a conversion's is left alone", async () => {
    const directory = scratch();
    const output = join(directory, "out");
    const conversion = conversionOf(MAXTEXT, MAXTEXT, output, { batchBytes: 1 << 17 });
    await cutOff(conversion, 700_000);
    const other = conversionOf(MAXTEXT, MAXTEXT, output, { scanned: false, batchBytes: 1 << 17 });
    const path = await convert(other);
    expect(openOrbax(path).customMetadata).toEqual({ scan_layers: false });
    const foreign = join(directory, "foreign/0.orbax-checkpoint-tmp/items");
    fs.mkdirSync(foreign, { recursive: true });
    await expect(convert(conversionOf(MAXTEXT, MAXTEXT, join(directory, "foreign")))).rejects.toThrow(
      "checkpoint-unfinished",
    );
    expect(fs.existsSync(foreign)).toBe(true);
  });
});

describe("refusals", () => {
  const output = () => join(scratch(), "out");

  test("nothing is overwritten", async () => {
    const directory = output();
    await convert(conversionOf(MAXTEXT, MAXTEXT, directory));
    await expect(convert(conversionOf(MAXTEXT, MAXTEXT, directory))).rejects.toThrow("checkpoint-exists");
    await expect(convert(conversionOf(MAXTEXT, join(directory, "0"), directory))).rejects.toThrow(
      "checkpoint-exists",
    );
  });

  test("a checkpoint of another model is named with what it lacks and has", () => {
    const of = (source: string) => prepareConversion(conversionOf(MAXTEXT, source, output()));
    expect(() => of("tests/goldens/qwen3-dense")).toThrow(/tensor-missing: .*model\.layers\.0\.linear_attn/);
    expect(() => of("tests/goldens/random-b")).toThrow("tensor-shape");
  });

  test("a tree of another model is refused", async () => {
    const dense = "tests/goldens/qwen3-dense";
    const tree = await convert(conversionOf(dense, dense, output()));
    expect(() => prepareConversion(conversionOf(MAXTEXT, tree, output()))).toThrow("checkpoint-model");
  });

  test("layers that MaxText cannot stack are refused before anything is written", () => {
    const directory = output();
    const irregular = conversionOf("tests/goldens/random-a", "tests/goldens/random-a", directory);
    expect(() => prepareConversion(irregular)).toThrow(/layers-(differ|left-over)/);
    expect(fs.existsSync(directory)).toBe(false);
  });

  test("an output that its disk has no room for is refused before anything is written", async () => {
    const directory = scratch();
    const model = join(directory, "model");
    fs.cpSync("tests/goldens/qwen3-dense", model, { recursive: true });
    // Holes take no room: a vocabulary of a trillion words of zeros.
    const config = JSON.parse(fs.readFileSync(join(model, "config.json"), "utf8"));
    const vocab = 2 ** 34;
    fs.writeFileSync(join(model, "config.json"), JSON.stringify({ ...config, vocab_size: vocab }));
    const reader = openSafetensors(model);
    const tensors = [...reader.entries.values()].map(({ name, dtype, shape }) => ({
      name,
      dtype,
      shape: name === "model.embed_tokens.weight" ? [vocab, shape[1]!] : shape,
    }));
    reader.close();
    let at = 0;
    const entries = tensors.map(({ name, dtype, shape }) => {
      const start = at;
      at += (shape.reduce((n, size) => n * size, 1) * bitsOf(dtype)) / 8;
      return [name, { dtype, shape, data_offsets: [start, at] }];
    });
    const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    fs.writeFileSync(join(model, "model.safetensors"), Buffer.concat([length, header]));
    fs.truncateSync(join(model, "model.safetensors"), 8 + header.length + at);
    const out = join(directory, "out");
    await expect(convert(conversionOf(model, model, out))).rejects.toThrow(/disk-full: .* but only/);
    expect(fs.existsSync(out)).toBe(false);
  });
});
