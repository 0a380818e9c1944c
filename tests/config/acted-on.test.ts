// "q3c acts on it" is a claim about the rest of the source: somebody there reads the value.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import type { ValueName } from "../../compiler/config/derived.ts";
import { tensorNames } from "../../compiler/config/keys/remat.ts";
import { declarationOf, isKey, keyNames } from "../../compiler/config/keys.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

const filesOf = (folder: string, ending: string): readonly string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(ending))
    .map((file) => join(folder, file));

const text = (file: string): string => readFileSync(join(root, file), "utf8");

const code = ["compiler", "passes", "runtime", "cli"]
  .flatMap((room) => filesOf(room, ".ts"))
  .filter((file) => !file.startsWith(join("compiler", "config")))
  .map(text);

/** The words of the architectures that are not in comments or texts. */
const archWords = filesOf("models", ".arch").flatMap(
  (file) =>
    text(file)
      .replaceAll(/#.*$|"[^"]*"/gm, "")
      .match(/\w+/g) ?? [],
);

/** Names after `values.`, and names taken out of `… = config.values`. */
function namesRead(source: string): readonly string[] {
  const direct = [...source.matchAll(/\bvalues\.(\w+)/g)].map(([, name]) => name ?? "");
  const taken = [...source.matchAll(/\{([^{}]*)\}\s*=\s*(?:\w+\.)?values\b/g)].flatMap(([, names]) =>
    (names ?? "").split(",").map((part) => part.split(":")[0]?.trim() ?? ""),
  );
  return [...direct, ...taken].filter((name) => name !== "");
}

const read = new Set([...code.flatMap(namesRead), ...archWords]);

/** Keys that act through a value computed from them, which is what others read. */
const through: Readonly<Record<string, ValueName>> = {
  decoder_block: "arch_file",
  global_parameter_scale: "emb_dim",
  base_emb_dim: "emb_dim",
  base_num_query_heads: "num_query_heads",
  base_num_kv_heads: "num_kv_heads",
  base_mlp_dim: "mlp_dim",
  base_moe_mlp_dim: "moe_mlp_dim",
  base_num_decoder_layers: "num_decoder_layers",
  mlp_only_layers: "mlp_layer_types",
  decoder_sparse_step: "mlp_layer_types",
  sparse_matmul: "moe_strategy",
  per_device_batch_size: "micro_batch_size_to_train_on",
  // The devices that are planned for, each with its rows.
  compile_topology: "micro_batch_size_to_train_on",
  compile_topology_num_slices: "micro_batch_size_to_train_on",
  internal_compile: "micro_batch_size_to_train_on",
  internal_compile_num_devices: "micro_batch_size_to_train_on",
  // Any architecture may name these tensors with checkpoint_name.
  ...Object.fromEntries(tensorNames.map((name) => [name, "tensors_on_device"])),
};

/** Keys that act where no other file reads them, and why that is so. */
const elsewhere: Readonly<Record<string, string>> = {
  override_model_config: "loading a configuration obeys it",
  max_position_embeddings:
    "saving writes it to config.json, by the table in compiler/config/hugging-face/fields.ts",
};

test("every key that q3c is said to act on is read", () => {
  const claimed = keyNames.filter((name) => declarationOf(name).effect.kind === "acted-on");
  const reads = (name: string): boolean =>
    [name, through[name] ?? ""].some((one) => read.has(one)) || name in elsewhere;
  expect(claimed.filter((name) => !reads(name))).toEqual([]);
});

test("the exceptions are keys that are acted on and have no other reader", () => {
  for (const name of [...Object.keys(through), ...Object.keys(elsewhere)]) {
    expect([name, isKey(name) && declarationOf(name).effect.kind, read.has(name)]).toEqual([
      name,
      "acted-on",
      false,
    ]);
  }
});

test("a key without effect is read by nobody", () => {
  // `attention` is an op of the architectures as well as a key.
  const silent = keyNames.filter((name) =>
    ["no-effect", "not-yet"].includes(declarationOf(name).effect.kind),
  );
  expect(silent.filter((name) => read.has(name))).toEqual(["attention"]);
});
