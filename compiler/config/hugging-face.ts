// Hugging Face config.json and MaxText keys: one table, read in both directions.

import { basename, join } from "node:path";
import { bug, type Diagnostic, type Span } from "../diag.ts";
import { parseJson } from "../json.ts";
import type { Values } from "./derived.ts";
import { isFile, type Places, readSource, shippedNames, shownPath } from "./files.ts";
import { isKey, type KeyName } from "./keys.ts";
import { evaluateRaw, type Raw, type RawEntry } from "./raw.ts";
import { readMapping, type Setting, type Settings } from "./settings.ts";
import { type ConfigValue, describeValue, isList, sameValue, showValue } from "./value.ts";
import { readYaml } from "./yaml.ts";

/** The fields of a config.json by name. */
export type Fields = Readonly<Record<string, ConfigValue>>;

/** A field and the key that holds it; `of` gives the field back from final values. */
type Row = {
  readonly field: string;
  readonly key: KeyName;
  readonly of: (values: Values) => ConfigValue;
  /** Which layers a model must have for the field to mean something. */
  readonly when?: "sparse" | "linear_attention";
  /** What an absent field means: a value that follows from others, or an error. */
  readonly absent?: "error" | ((field: (name: string) => ConfigValue) => ConfigValue);
};

const table: readonly Row[] = [
  { field: "vocab_size", key: "vocab_size", of: (v) => v.vocab_size, absent: "error" },
  { field: "hidden_size", key: "base_emb_dim", of: (v) => v.emb_dim, absent: "error" },
  { field: "intermediate_size", key: "base_mlp_dim", of: (v) => v.mlp_dim, absent: "error" },
  {
    field: "num_hidden_layers",
    key: "base_num_decoder_layers",
    of: (v) => v.num_decoder_layers,
    absent: "error",
  },
  {
    field: "num_attention_heads",
    key: "base_num_query_heads",
    of: (v) => v.num_query_heads,
    absent: "error",
  },
  {
    field: "num_key_value_heads",
    key: "base_num_kv_heads",
    of: (v) => v.num_kv_heads,
    absent: (field) => field("num_attention_heads"),
  },
  {
    field: "head_dim",
    key: "head_dim",
    of: (v) => v.head_dim,
    absent: (field) => Number(field("hidden_size")) / Number(field("num_attention_heads")),
  },
  {
    field: "rms_norm_eps",
    key: "normalization_layer_epsilon",
    of: (v) => v.normalization_layer_epsilon,
    absent: () => 1e-6,
  },
  { field: "max_position_embeddings", key: "max_position_embeddings", of: (v) => v.max_position_embeddings },
  { field: "tie_word_embeddings", key: "logits_via_embedding", of: (v) => v.logits_via_embedding },
  { field: "rope_theta", key: "rope_max_timescale", of: (v) => v.rope_max_timescale },
  { field: "partial_rotary_factor", key: "partial_rotary_factor", of: (v) => v.partial_rotary_factor },
  { field: "mlp_only_layers", key: "mlp_only_layers", of: (v) => v.mlp_only_layers, when: "sparse" },
  {
    field: "decoder_sparse_step",
    key: "decoder_sparse_step",
    of: (v) => v.decoder_sparse_step,
    when: "sparse",
  },
  {
    field: "num_experts_per_tok",
    key: "num_experts_per_tok",
    of: (v) => v.num_experts_per_tok,
    when: "sparse",
  },
  { field: "moe_intermediate_size", key: "base_moe_mlp_dim", of: (v) => v.moe_mlp_dim, when: "sparse" },
  {
    field: "shared_expert_intermediate_size",
    key: "shared_expert_mlp_dim",
    of: (v) => v.shared_expert_mlp_dim,
    when: "sparse",
  },
  { field: "norm_topk_prob", key: "norm_topk_prob", of: (v) => v.norm_topk_prob, when: "sparse" },
  ...(["linear_attention"] as const).flatMap((when): Row[] => [
    { field: "linear_conv_kernel_dim", key: "gdn_conv_kernel_dim", of: (v) => v.gdn_conv_kernel_dim, when },
    { field: "linear_key_head_dim", key: "gdn_key_head_dim", of: (v) => v.gdn_key_head_dim, when },
    { field: "linear_value_head_dim", key: "gdn_value_head_dim", of: (v) => v.gdn_value_head_dim, when },
    { field: "linear_num_key_heads", key: "gdn_num_key_heads", of: (v) => v.gdn_num_key_heads, when },
    { field: "linear_num_value_heads", key: "gdn_num_value_heads", of: (v) => v.gdn_num_value_heads, when },
  ]),
];

/** Fields that change what a model computes and have one value that q3c knows. */
const fixed: readonly {
  readonly field: string;
  readonly only: readonly ConfigValue[];
  readonly why: string;
}[] = [
  { field: "hidden_act", only: ["silu"], why: "the architectures use silu" },
  { field: "attention_bias", only: [false], why: "no architecture has biases" },
  { field: "mlp_bias", only: [false], why: "no architecture has biases" },
  { field: "attention_dropout", only: [0], why: "q3c has no dropout" },
  { field: "use_sliding_window", only: [false], why: "there are no windows" },
  ...["num_nextn_predict_layers", "mtp_num_hidden_layers"].map((field) => ({
    field,
    only: [0, 1],
    why: "a head for multi-token prediction has one layer",
  })),
  { field: "mtp_use_dedicated_embeddings", only: [false], why: "a head shares the model's embedding" },
  { field: "quantization_config", only: [null], why: "q3c loads no quantised checkpoints" },
];

/** A model as its config.json tells it: keys, its original fields, and what was wrong. */
export type HuggingFaceModel = {
  readonly settings: Settings;
  readonly fields: Fields;
  readonly problems: readonly Diagnostic[];
};

/** What transformers assumes for fields that a config.json leaves out, and keys that a whole family shares. */
type Family = { readonly fields: ReadonlyMap<string, RawEntry>; readonly keys: readonly RawEntry[] };

const plain = (raw: Raw): ConfigValue =>
  evaluateRaw(raw, (name) => bug(`\`${name}\` in a file without expressions`)).value;

const entriesOf = (raw: Raw | undefined): readonly RawEntry[] => (raw?.kind === "mapping" ? raw.entries : []);

/** The packaged facts about a model_type, if there are any. */
function readFamily(modelType: string, places: Places): Family {
  const path = join(places.modelsDir, "hugging-face", `${modelType}.yml`);
  if (!isFile(path)) return { fields: new Map(), keys: [] };
  const { entries } = readMapping(path, places);
  const part = (name: string): readonly RawEntry[] =>
    entriesOf(entries.find((entry) => entry.name === name)?.value);
  return { fields: new Map(part("fields").map((entry) => [entry.name, entry])), keys: part("keys") };
}

/** What transformers assumes for fields that a config.json of a model_type leaves out. */
export const readFamilyFields = (modelType: string, places: Places): Fields =>
  Object.fromEntries(
    [...readFamily(modelType, places).fields].map(([name, { value }]) => [name, plain(value)]),
  );

type Translation = {
  readonly file: Span;
  readonly folder: string;
  readonly entries: ReadonlyMap<string, RawEntry>;
  readonly settings: Map<KeyName, Setting>;
  readonly problems: Diagnostic[];
};

const fieldValue = (t: Translation, name: string): ConfigValue | undefined => {
  const entry = t.entries.get(name);
  return entry && plain(entry.value);
};

function set(t: Translation, name: KeyName, raw: Raw, layer: "model" | "checkpoint" = "model"): void {
  const isAssumed = raw.at.source !== t.file.source;
  t.settings.set(name, { name, nameAt: raw.at, raw, layer, folder: t.folder, isDefault: false, isAssumed });
}

const constant = (value: number | string | boolean, at: Span): Raw => ({
  kind: "constant",
  value,
  text: String(value),
  at,
});

function translateRow(t: Translation, { field, key, absent }: Row): void {
  const entry = t.entries.get(field);
  if (entry && plain(entry.value) !== null) {
    set(t, key, entry.value);
  } else if (absent === "error") {
    t.problems.push({
      code: "hugging-face-field",
      message: `there is no \`${field}\`, which has no default`,
      at: t.file,
    });
  } else if (absent) {
    const value = absent((name) => fieldValue(t, name) ?? null);
    set(t, key, constant(Number(value), t.file));
  }
}

function refuseUnknown(
  t: Translation,
  name: string,
  at: Span,
  why: string,
  allowed: readonly ConfigValue[],
): void {
  const message = `q3c does not support this \`${name}\`: ${why}`;
  t.problems.push({
    code: "hugging-face-field",
    message,
    at,
    help: `supported: ${allowed.map(showValue).join(", ")}`,
  });
}

function checkFixed(t: Translation): void {
  for (const { field, only, why } of fixed) {
    const entry = t.entries.get(field);
    const value = entry && plain(entry.value);
    if (!entry || value === undefined || value === null || only.some((one) => sameValue(one, value)))
      continue;
    refuseUnknown(t, field, entry.value.at, why, only);
  }
}

// transformers 4 has rope_theta beside rope_scaling, transformers 5 one rope_parameters, by layer type at times.
function ropeEntries(t: Pick<Translation, "entries" | "problems">): readonly RawEntry[] {
  const parameters = entriesOf(t.entries.get("rope_parameters")?.value);
  const perLayer = entriesOf(parameters.find(({ name }) => name === "full_attention")?.value);
  const found = perLayer.length > 0 ? perLayer : parameters;
  for (const entry of [...found, ...entriesOf(t.entries.get("rope_scaling")?.value)]) {
    if ((entry.name !== "rope_type" && entry.name !== "type") || plain(entry.value) === "default") continue;
    const message = `q3c does not support this rope type: only the plain rotary embedding exists`;
    t.problems.push({
      code: "hugging-face-field",
      message,
      at: entry.value.at,
      help: 'supported: "default"',
    });
  }
  return found.filter(({ name }) => name === "rope_theta" || name === "partial_rotary_factor");
}

function translateLayerTypes(t: Translation): void {
  const entry = t.entries.get("layer_types");
  const interval = t.entries.get("full_attention_interval");
  const types = entry ? plain(entry.value) : null;
  if (!entry || types === null || !isList(types)) {
    if (interval) set(t, "inhomogeneous_layer_cycle_interval", interval.value);
    return;
  }
  const period = types.indexOf("full_attention") + 1;
  const regular = types.every(
    (type, layer) => type === ((layer + 1) % period === 0 ? "full_attention" : "linear_attention"),
  );
  if (period > 0 && regular) set(t, "inhomogeneous_layer_cycle_interval", constant(period, entry.value.at));
  else set(t, "layer_types", entry.value);
}

function translateExperts(t: Translation): void {
  const entry = t.entries.get("num_experts");
  const count = entry ? plain(entry.value) : null;
  if (!entry || count === null || count === 0) return;
  set(t, "num_experts", entry.value);
  if (count === 1)
    refuseUnknown(t, "num_experts", entry.value.at, "one expert is a dense MLP here", [0, 2, 3]);
  const shared = t.entries.get("shared_expert_intermediate_size");
  if (shared) set(t, "shared_experts", constant(1, shared.value.at));
}

function translateDType(t: Translation): void {
  const entry = t.entries.get("dtype") ?? t.entries.get("torch_dtype");
  if (!entry || plain(entry.value) === null) return;
  set(t, "dtype", entry.value, "checkpoint");
  set(t, "weight_dtype", entry.value, "checkpoint");
}

function translate(t: Translation, familyKeys: readonly RawEntry[]): void {
  for (const { name, value } of familyKeys) if (isKey(name)) set(t, name, value);
  for (const row of table) translateRow(t, row);
  translateExperts(t);
  translateLayerTypes(t);
  translateDType(t);
  checkFixed(t);
  const tied = t.entries.get("tie_word_embeddings");
  if (tied && plain(tied.value) === true)
    set(t, "normalize_embedding_logits", constant(false, tied.value.at));
}

/** The model that a folder's config.json describes, as settings with places in that file. */
export function readHuggingFace(folder: string, places: Places, at?: Span): HuggingFaceModel {
  const path = join(folder, "config.json");
  const empty = { settings: new Map<KeyName, Setting>(), fields: {} };
  if (!isFile(path)) {
    const message = `the folder \`${shownPath(folder, places)}\` has no config.json`;
    const help =
      "a model's folder has config.json and safetensors, and a tokenizer.json if text is to be read, as transformers saves them";
    return { ...empty, problems: [{ code: "not-a-model", message, at, help }] };
  }
  const source = readSource(path, places, at);
  const { value, problems } = readYaml(source, { templates: false });
  const file: Span = { source, start: 0, end: Math.max(1, source.text.indexOf("\n")) };
  if (problems.length > 0) {
    // Read as YAML for the places of values; what is wrong with it is said in JSON's words.
    parseJson(source);
    return { ...empty, problems };
  }
  const own = new Map(entriesOf(value).map((entry) => [entry.name, entry]));
  const modelType = own.get("model_type");
  const name = modelType && plain(modelType.value);
  if (!modelType || typeof name !== "string") {
    const message = `expected a \`model_type\`, found ${describeValue(name ?? null)}`;
    return { ...empty, problems: [{ code: "hugging-face-field", message, at: modelType?.value.at ?? file }] };
  }
  const supported = shippedNames(places.modelsDir, ".arch").map(modelTypeOf);
  if (!supported.includes(name)) {
    const message = `q3c has no architecture for the model_type \`${name}\``;
    const help = `supported: ${supported.join(", ")}`;
    return { ...empty, problems: [{ code: "hugging-face-field", message, at: modelType.value.at, help }] };
  }
  const family = readFamily(name, places);
  const found: Diagnostic[] = [];
  const rope = ropeEntries({ entries: own, problems: found });
  // What layer_types says outweighs the family's interval.
  const entries = new Map([...family.fields, ...own, ...rope.map((entry) => [entry.name, entry] as const)]);
  const t: Translation = { file, folder, entries, settings: new Map(), problems: found };
  set(t, "decoder_block", modelType.value);
  translate(t, family.keys);
  return { settings: t.settings, fields: value ? (plain(value) as Fields) : {}, problems: found };
}

/** What a config.json is written from. */
export type WrittenModel = {
  readonly values: Values;
  readonly familyFields: Fields;
  readonly huggingFace: Fields | null;
};

// Fields of the original that this file decides anew.
const replaced = ["rope_scaling", "torch_dtype", "full_attention_interval", "quantization_config"];

/** The model_type of an architecture: its file's name with underscores. */
export const modelTypeOf = (archFile: string): string => basename(archFile, ".arch").replaceAll("-", "_");

const camelCase = (name: string): string =>
  name.replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());

/** A config.json that transformers opens as this model; what q3c does not know is kept from the original. */
export function toHuggingFaceConfig({ values, familyFields, huggingFace }: WrittenModel): Fields {
  const modelType = modelTypeOf(values.arch_file);
  const kinds: readonly string[] = [...values.layer_types, ...values.mlp_layer_types];
  const rows = table.filter(({ field, when }) => !when || kinds.includes(when) || field in familyFields);
  const original = Object.entries(huggingFace ?? {}).filter(([name]) => !replaced.includes(name));
  const sparse = kinds.includes("sparse");
  const fields: Record<string, ConfigValue> = {
    ...Object.fromEntries(Object.entries(familyFields).filter(([name]) => !replaced.includes(name))),
    ...Object.fromEntries(original),
    ...Object.fromEntries(rows.map(({ field, of }) => [field, of(values)])),
    ...(sparse || "num_experts" in familyFields ? { num_experts: sparse ? values.num_experts : 0 } : {}),
    // Without the loss, what the original says stays: transformers computes the loss only when asked to.
    ...(sparse && values.load_balance_loss_weight > 0
      ? { router_aux_loss_coef: values.load_balance_loss_weight }
      : {}),
    architectures: [`${camelCase(modelType)}ForCausalLM`],
    model_type: modelType,
    layer_types: values.layer_types,
    dtype: values.weight_dtype,
    rope_parameters: {
      partial_rotary_factor: values.partial_rotary_factor,
      rope_theta: values.rope_max_timescale,
      rope_type: "default",
    },
    hidden_act: "silu",
    attention_bias: false,
  };
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}
