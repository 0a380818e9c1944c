// A folder's config.json as settings, each with its place in that file.

import { join } from "node:path";
import { bug, type Diagnostic, type Span } from "../../diag.ts";
import { parseJson } from "../../json.ts";
import { isFile, type Places, readSource, shippedNames, shownPath } from "../files.ts";
import { isKey, type KeyName } from "../keys.ts";
import { evaluateRaw, type Raw, type RawEntry } from "../raw.ts";
import { readMapping, type Setting, type Settings } from "../settings.ts";
import { type ConfigValue, describeValue, isList, sameValue, showValue } from "../value.ts";
import { readYaml } from "../yaml.ts";
import { type Fields, fixed, modelTypeOf, type Row, table } from "./fields.ts";

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

// transformers 4 has rope_theta beside rope_scaling, transformers 5 one rope_parameters, by layer type at times; where
// there are both, it takes rope_scaling.
function ropeEntries(t: Pick<Translation, "entries" | "problems">): readonly RawEntry[] {
  const scaling = entriesOf(t.entries.get("rope_scaling")?.value);
  const parameters = scaling.length > 0 ? scaling : entriesOf(t.entries.get("rope_parameters")?.value);
  const perLayer = entriesOf(parameters.find(({ name }) => name === "full_attention")?.value);
  const found = perLayer.length > 0 ? perLayer : parameters;
  for (const entry of found) {
    if ((entry.name !== "rope_type" && entry.name !== "type") || plain(entry.value) === "default") continue;
    const message = "q3c does not support this rope type: only the plain rotary embedding exists";
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
  if (types.includes("linear_attention") && !t.entries.has("linear_num_key_heads"))
    refuseUnknown(
      t,
      "layer_types",
      entry.value.at,
      `${fieldValue(t, "model_type")} has no linear attention`,
      ["full_attention"],
    );
  const period = types.indexOf("full_attention") + 1;
  const regular =
    types.length === fieldValue(t, "num_hidden_layers") &&
    types.every(
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
