// How final and computed values follow from what is written: MaxText's derivations, and q3c's few.

import { basename, join, resolve } from "node:path";
import { fail } from "../diag.ts";
import { foldersBeside } from "./beside.ts";
import type { Derived, Values } from "./derived.ts";
import { isDirectory, isFile, type Places, shippedNames, shownPath } from "./files.ts";
import type { AxisRule } from "./key.ts";
import { tensorNames } from "./keys/remat.ts";
import { isKey, type KeyName, keys } from "./keys.ts";
import { devicesOfTopology, fillAxes } from "./mesh.ts";
import { strategyOf } from "./moe.ts";
import type { Resolver, Rules } from "./resolve.ts";
import { placeOf, type Setting, type Settings } from "./settings.ts";

/** What rules know besides keys. */
export type Surroundings = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly places: Places;
  readonly now: Date;
  readonly hfCheckpoint: string | null;
  readonly settings: Settings;
  /** The rules that logical_axis_rules of a stronger source are merged into. */
  readonly axisRulesBeneath: Setting | undefined;
};

type Context = Surroundings & Resolver;

/** Reports a value that does not fit, at the first of some keys that was set by hand. */
function badValue(c: Context, names: readonly KeyName[], message: string, help?: string): never {
  return fail({ code: "bad-value", message, at: placeOf(names, c.settings), help }, 2);
}

const twoDigits = (number: number): string => String(number).padStart(2, "0");

function stamp(now: Date): string {
  const parts = [now.getMonth() + 1, now.getDate(), now.getHours(), now.getMinutes()];
  return [now.getFullYear(), ...parts.map(twoDigits)].join("-");
}

const runFolder = (c: Context, folder: string): string =>
  `${join(c.get("base_output_directory"), c.get("run_name"), folder)}/`.replace(
    /^([a-z]+:)\/(?=[^/])/,
    "$1//",
  );

function mergeAxisRules(c: Context, over: readonly AxisRule[]): readonly AxisRule[] {
  const setting = c.settings.get("logical_axis_rules");
  if (!setting || setting.layer === "file" || c.get("override_logical_axis_rules")) return over;
  const names = new Set(over.map(([name]) => name));
  const beneath = c.axisRulesBeneath
    ? (c.read(c.axisRulesBeneath) as unknown as readonly AxisRule[])
    : keys.logical_axis_rules.default;
  return [...beneath.filter(([name]) => !names.has(name)), ...over];
}

const orElse = (value: number, usual: number): number => (value === -1 ? usual : value);
const emptyToNull = (value: string | null): string | null => (value === "" ? null : value);

type Steps = "steps" | "learning_rate_schedule_steps";
const otherSteps: Record<Steps, Steps> = {
  steps: "learning_rate_schedule_steps",
  learning_rate_schedule_steps: "steps",
};

function steps(c: Context, name: Steps): number {
  const other = otherSteps[name];
  const value = c.given(name);
  if (value >= 0) return value;
  if (value !== -1)
    return badValue(c, [name], `\`${name}\` is an integer of at least 0, or -1 for \`${other}\``);
  if (c.given(other) !== -1) return c.get(other);
  return badValue(
    c,
    ["steps", "learning_rate_schedule_steps"],
    "`steps` and `learning_rate_schedule_steps` are both -1",
  );
}

function layerTypes(c: Context): Values["layer_types"] {
  const given = c.given("layer_types");
  const layers = c.get("num_decoder_layers");
  if (given.length === layers) return given;
  if (given.length > 0)
    return badValue(
      c,
      ["layer_types"],
      `\`layer_types\` names ${given.length} layers, the model has ${layers}`,
    );
  const interval = c.get("inhomogeneous_layer_cycle_interval");
  return Array.from({ length: layers }, (_, layer) =>
    (layer + 1) % interval === 0 ? "full_attention" : "linear_attention",
  );
}

/** The folder that has a tokenizer beside the weights: of those that load_parameters_path names, else of the model's. */
const ownTokenizer = (c: Context): string | undefined =>
  [c.get("load_parameters_path"), c.hfCheckpoint ?? ""]
    .filter((weights) => weights !== "")
    .flatMap((weights) => foldersBeside(resolve(c.places.cwd, weights)))
    .find((folder) => isFile(join(folder, "tokenizer.json")));

// A model's own tokenizer is of its kind unless the user says otherwise.
function tokenizerType(c: Context): Values["tokenizer_type"] {
  const setting = c.settings.get("tokenizer_type");
  const path = c.get("tokenizer_path");
  const isOwn = path !== null && path === ownTokenizer(c);
  return isOwn && (!setting || setting.isDefault) ? "huggingface" : c.given("tokenizer_type");
}

const tokenizerPath = (c: Context): string | null =>
  emptyToNull(c.given("tokenizer_path")) ?? ownTokenizer(c) ?? null;

// The name of a folder, which is made and whose leftovers are removed: it stays within base_output_directory.
function runName(c: Context): string {
  const name = c.given("run_name") || c.env["JOBSET_NAME"];
  if (!name) return `${basename(c.get("model_name"))}_${stamp(c.now)}`;
  if (!/[/\\]/.test(name) && name !== "." && name !== "..") return name;
  return badValue(
    c,
    ["run_name"],
    `\`run_name\` is the name of a folder, without / and \\ and other than . and ..; found \`${name}\``,
    "say in base_output_directory where the run's folder lies",
  );
}

type Settle = { readonly [K in KeyName]?: (c: Context) => Values[K] };

const settle: Settle = {
  run_name: runName,
  base_output_directory: (c) => c.given("base_output_directory") || join(c.places.cwd, "maxtext_output"),
  hf_access_token: (c) => emptyToNull(c.given("hf_access_token")) ?? c.env["HF_TOKEN"] ?? null,
  mu_dtype: (c) => c.given("mu_dtype") || c.get("weight_dtype"),
  layer_types: layerTypes,
  shared_expert_mlp_dim: (c) => orElse(c.given("shared_expert_mlp_dim"), c.get("moe_mlp_dim")),
  tokenizer_path: tokenizerPath,
  tokenizer_type: tokenizerType,
  hf_name: (c) => emptyToNull(c.given("hf_name")),
  hf_data_dir: (c) => emptyToNull(c.given("hf_data_dir")),
  hf_train_files: (c) => emptyToNull(c.given("hf_train_files")),
  hf_eval_split: (c) => emptyToNull(c.given("hf_eval_split")),
  hf_eval_files: (c) => emptyToNull(c.given("hf_eval_files")),
  eval_per_device_batch_size: (c) => c.given("eval_per_device_batch_size") || c.get("per_device_batch_size"),
  steps: (c) => steps(c, "steps"),
  learning_rate_schedule_steps: (c) => steps(c, "learning_rate_schedule_steps"),
  logical_axis_rules: (c) => mergeAxisRules(c, c.given("logical_axis_rules")),
  compile_topology_num_slices: (c) => orElse(c.given("compile_topology_num_slices"), 1),
  num_slices: (c) =>
    orElse(
      c.given("num_slices"),
      c.get("compile_topology") === "" ? 1 : c.get("compile_topology_num_slices"),
    ),
};

/** Base two exponents of each size's share of global_parameter_scale, as MaxText deals them out. */
function scale(c: Context, share: "emb" | "head" | "layer"): number {
  const total = Math.log2(c.get("global_parameter_scale"));
  if (!Number.isInteger(total)) {
    badValue(c, ["global_parameter_scale"], "`global_parameter_scale` is a power of two");
  }
  const base = Math.floor(total / 3);
  const rest = total % 3;
  return 2 ** (base + { emb: rest > 1 ? 1 : 0, head: rest > 0 ? 1 : 0, layer: 0 }[share]);
}

// Every layer is spelled out later, so a slip of the finger must not fill the memory.
const mostLayers = 100_000;

function decoderLayers(c: Context): number {
  const layers = c.get("base_num_decoder_layers") * scale(c, "layer");
  if (layers <= mostLayers) return layers;
  return badValue(
    c,
    ["base_num_decoder_layers"],
    `${layers} layers are more than the ${mostLayers} q3c plans for`,
  );
}

function mlpLayerTypes(c: Context): Derived["mlp_layer_types"] {
  const [dense, step] = [c.get("mlp_only_layers"), c.get("decoder_sparse_step")];
  return Array.from({ length: c.get("num_decoder_layers") }, (_, layer) =>
    c.get("num_experts") > 1 && !dense.includes(layer) && (layer + 1) % step === 0 ? "sparse" : "dense",
  );
}

function targetDevices(c: Context): number {
  if (c.get("internal_compile")) {
    const devices = c.get("internal_compile_num_devices");
    return devices >= 1
      ? devices
      : badValue(c, ["internal_compile"], "`internal_compile` needs `internal_compile_num_devices`");
  }
  const topology = c.get("compile_topology");
  if (topology === "") return 1;
  const devices = devicesOfTopology(topology);
  if (typeof devices !== "number") return badValue(c, ["compile_topology"], devices.problem, devices.help);
  return devices * c.get("compile_topology_num_slices");
}

/** The key that sizes a mesh axis: pipeline stages have the one name that differs. */
function axisSizeKey(network: "ici" | "dcn", axis: string): KeyName | undefined {
  const name = `${network}_${axis === "stage" ? "pipeline" : axis}_parallelism`;
  return isKey(name) ? name : undefined;
}

function parallelism(c: Context, network: "ici" | "dcn"): readonly number[] {
  const names = c.get("mesh_axes").map((axis) => axisSizeKey(network, axis));
  const sizes = names.map((name) => (name ? (c.get(name) as number) : 1));
  const devices = network === "ici" ? c.get("devices_per_slice") : c.get("num_slices");
  const filled = fillAxes(sizes, devices);
  if (!("problem" in filled)) return filled;
  const culprits = names.filter((name) => name !== undefined && c.get(name) !== 1);
  const unit =
    network === "ici" ? "ici_*_parallelism over the devices of a slice" : "dcn_*_parallelism over slices";
  const help =
    c.get("num_target_devices") === 1
      ? "to plan for a machine that is not here, set compile_topology (v5p-64) or internal_compile and internal_compile_num_devices"
      : undefined;
  return badValue(
    c,
    culprits.filter((name) => name !== undefined),
    `${unit}: ${filled.problem}`,
    help,
  );
}

function contextParallelSize(c: Context): number {
  const shared = [c.get("context_sharding"), c.get("ulysses_context_sharding")];
  return c
    .get("mesh_axes")
    .reduce(
      (product, axis, i) => (shared.includes(axis) ? product * (c.get("mesh_shape")[i] ?? 1) : product),
      1,
    );
}

const batchKey = { train: "per_device_batch_size", eval: "eval_per_device_batch_size" } as const;

function microBatch(c: Context, phase: "train" | "eval"): number {
  const devices = c.get("num_target_devices");
  const rows = Math.trunc(devices * c.get(batchKey[phase]));
  const name = c.given(batchKey[phase]) === 0 ? batchKey.train : batchKey[phase];
  return rows >= 1
    ? rows
    : badValue(c, [name], `\`${name}\` is less than one sequence on ${devices} device(s)`);
}

function batchToLoad(c: Context, phase: "train" | "eval"): number {
  const devices = c.get("num_target_devices");
  const perDevice = c.get(batchKey[phase]);
  const factor = c.get("expansion_factor_real_data");
  // A fraction per device loads a whole sequence for each; the loss then takes the first rows.
  const rows = Math.trunc(devices * Math.max(1, perDevice) * (factor > 0 ? factor : 1));
  return phase === "train" ? rows * c.get("gradient_accumulation_steps") : rows;
}

const tensorsAt = (c: Context, place: string): readonly string[] =>
  tensorNames.filter((name) => c.get(name as KeyName) === place);

function archFile(c: Context): string {
  const { places } = c;
  const block = c.get("decoder_block");
  const setting = c.settings.get("decoder_block");
  const own = block.endsWith(".arch");
  const path = own
    ? resolve(setting?.folder ?? places.cwd, block)
    : join(places.modelsDir, `${block.replaceAll("_", "-")}.arch`);
  if (isFile(path)) return path;
  const shipped = shippedNames(places.modelsDir, ".arch");
  if (c.get("model_name") === "default" && (setting === undefined || setting.isDefault)) {
    const models = shippedNames(places.modelsDir, ".yml").filter((name) => name !== "base");
    return badValue(
      c,
      ["model_name"],
      "no model is chosen",
      `set model_name to one of ${models.join(", ")}, or to a folder with a config.json`,
    );
  }
  const what = isDirectory(path) ? "is a folder" : "does not exist";
  return badValue(
    c,
    ["decoder_block"],
    `the architecture \`${shownPath(path, places)}\` ${what}; the packaged ones are ${shipped.join(", ") || "none"}`,
  );
}

const derive: { readonly [K in keyof Derived]: (c: Context) => Derived[K] } = {
  emb_dim: (c) => c.get("base_emb_dim") * scale(c, "emb"),
  num_query_heads: (c) => c.get("base_num_query_heads") * scale(c, "head"),
  num_kv_heads: (c) => c.get("base_num_kv_heads") * scale(c, "head"),
  mlp_dim: (c) => c.get("base_mlp_dim") * scale(c, "head"),
  moe_mlp_dim: (c) => (c.get("base_moe_mlp_dim") === -1 ? -1 : c.get("base_moe_mlp_dim") * scale(c, "head")),
  num_decoder_layers: decoderLayers,
  mlp_layer_types: mlpLayerTypes,
  moe_strategy: (c) =>
    strategyOf({ sparse_matmul: c.get("sparse_matmul"), capacity_factor: c.get("capacity_factor") }),
  num_target_devices: targetDevices,
  devices_per_slice: (c) => c.get("num_target_devices") / c.get("num_slices"),
  ici_parallelism: (c) => parallelism(c, "ici"),
  dcn_parallelism: (c) => parallelism(c, "dcn"),
  mesh_shape: (c) => c.get("ici_parallelism").map((size, i) => size * (c.get("dcn_parallelism")[i] ?? 1)),
  context_parallel_size: contextParallelSize,
  micro_batch_size_to_train_on: (c) => microBatch(c, "train"),
  global_batch_size_to_train_on: (c) => microBatch(c, "train") * c.get("gradient_accumulation_steps"),
  global_batch_size_to_load: (c) => batchToLoad(c, "train"),
  micro_batch_size_to_eval_on: (c) => microBatch(c, "eval"),
  global_batch_size_to_eval_on: (c) => microBatch(c, "eval"),
  global_batch_size_to_load_eval: (c) => batchToLoad(c, "eval"),
  tensors_on_device: (c) => tensorsAt(c, "device"),
  tensors_to_offload: (c) => tensorsAt(c, "offload"),
  checkpoint_dir: (c) => runFolder(c, "checkpoints"),
  metrics_dir: (c) => runFolder(c, "metrics"),
  tensorboard_dir: (c) => runFolder(c, "tensorboard"),
  hf_checkpoint: (c) => c.hfCheckpoint,
  weights_path: (c) => c.get("load_parameters_path") || c.hfCheckpoint,
  arch_file: archFile,
};

/** The rules, over what surrounds a configuration. */
export function rulesOver(surroundings: Surroundings): Rules {
  const all: Readonly<Record<string, ((c: Context) => unknown) | undefined>> = { ...settle, ...derive };
  return {
    find: (name) => {
      const rule = all[name];
      return rule && ((resolver) => rule({ ...surroundings, ...resolver }));
    },
  };
}
