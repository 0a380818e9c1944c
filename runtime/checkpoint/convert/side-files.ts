// The small files beside weights. Those of a Hugging Face model stay with a converted checkpoint, in a folder of the
// step's directory, so that the way back has them.
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { SIDE } from "../../../compiler/config/beside.ts";
import { isRecord, parseJson } from "../../../compiler/json.ts";
import { failRead, readBytes, readText, writeAside } from "../../files.ts";
import { DATA, STEPS, stepsIn } from "../orbax/files.ts";
import type { OrbaxReader } from "../orbax/read.ts";
import type { Safetensors } from "../safetensors.ts";
import { INDEX, printIndex } from "../safetensors-layout.ts";
import type { StoredTensor } from "../tensors.ts";

/** What transformers looks for beside weights: configuration, tokenizer, chat template. */
const IS_SIDE_FILE =
  /^(config|generation_config|tokenizer|tokenizer_config|vocab|merges|special_tokens_map|added_tokens|chat_template)\.(json|txt|model|jinja)$/;

export const CONFIG = "config.json";

/**
 * The folder with a MaxText item's Hugging Face files, if it has one: in its step, or the latest model that its run
 * saved beside the steps.
 */
export function sideOf(item: string): string | undefined {
  const step = dirname(item);
  const path = join(step, SIDE);
  if (fs.existsSync(path)) return path;
  const run = dirname(dirname(step));
  const models = join(run, SIDE);
  if (basename(dirname(step)) !== STEPS || !fs.existsSync(models)) return undefined;
  return stepsIn(models).find((model) => fs.existsSync(join(model, CONFIG)));
}

/** A model's small files by name. */
export function readSideFiles(directory: string): ReadonlyMap<string, Uint8Array> {
  try {
    const names = fs.readdirSync(directory).filter((name) => IS_SIDE_FILE.test(name));
    return new Map(names.toSorted().map((name) => [name, readBytes(join(directory, name))]));
  } catch (error) {
    return failRead(directory, error);
  }
}

/** What says where the data stood, by its path within the step: a training state is whole only with it. */
export function dataFiles({ path, step }: OrbaxReader): ReadonlyMap<string, Uint8Array> {
  const directory = join(dirname(path), DATA);
  if (step === undefined || !fs.existsSync(directory)) return new Map();
  try {
    const names = fs.readdirSync(directory).filter((name) => fs.statSync(join(directory, name)).isFile());
    return new Map(names.toSorted().map((name) => [join(DATA, name), readBytes(join(directory, name))]));
  } catch (error) {
    return failRead(directory, error);
  }
}

/** The files with the dtype that config.json names replaced. */
export function withDType(
  files: ReadonlyMap<string, Uint8Array>,
  dtype: string,
): ReadonlyMap<string, Uint8Array> {
  const bytes = files.get(CONFIG);
  if (!bytes) return files;
  const config = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
  const key = "torch_dtype" in config ? "torch_dtype" : "dtype";
  if (config[key] === dtype) return files;
  return new Map([
    ...files,
    [CONFIG, Buffer.from(`${JSON.stringify({ ...config, [key]: dtype }, null, 2)}\n`)],
  ]);
}

/** Writes files into a directory that is made if need be. */
export function writeSideFiles(directory: string, files: ReadonlyMap<string, Uint8Array>): void {
  fs.mkdirSync(directory, { recursive: true });
  for (const [name, bytes] of files)
    writeAside(join(directory, name), (append) => append(bytes), { overwrite: true });
}

/** The file of a folder, if it has it, that says which file each tensor lay in, to be kept with it. */
export function keptIndex(directory: string | undefined): readonly (readonly [string, Uint8Array])[] {
  if (directory === undefined || !fs.existsSync(join(directory, INDEX))) return [];
  return [[INDEX, readBytes(join(directory, INDEX))]];
}

/** The index that says which file each tensor lies in, as a side file: with it the way back makes the same files. */
export function indexFile({ entries }: Safetensors, path: string): readonly [string, Uint8Array] {
  const [own] = keptIndex(path);
  if (own) return own;
  const shards = new Map<string, StoredTensor[]>();
  for (const entry of entries.values()) {
    const shard = shards.get(basename(entry.file));
    if (shard) shard.push(entry);
    else shards.set(basename(entry.file), [entry]);
  }
  return [INDEX, new TextEncoder().encode(printIndex(path, shards))];
}

/** Which file each tensor lay in, and the text that says so. */
export type Placement = { readonly files: ReadonlyMap<string, string>; readonly index: string };

/** Which file each tensor lay in, if the folder knows. */
export function readPlacement(directory: string): Placement | undefined {
  const file = join(directory, INDEX);
  if (!fs.existsSync(file)) return undefined;
  const index = readText(file);
  const value = parseJson({ file, text: index });
  const map = isRecord(value) ? value["weight_map"] : undefined;
  if (!isRecord(map)) return undefined;
  // A name that leads elsewhere is not followed.
  const places = Object.entries(map).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string" && !/[/\\]|^\.\.?$/.test(entry[1]),
  );
  return { files: new Map(places), index };
}
