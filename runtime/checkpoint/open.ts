// Opens a checkpoint of any format: which it is, its files tell.

import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { SIDE } from "../../compiler/config/beside.ts";
import { fail } from "../../compiler/diag.ts";
import { failRead } from "../files.ts";
import { type OnDamage, refuse } from "./damage.ts";
import { ITEM, looksLikeOrbax, stepsIn, TREE } from "./orbax/files.ts";
import { type OrbaxReader, openOrbax } from "./orbax/read.ts";
import { openSafetensors, type Safetensors } from "./safetensors.ts";
import { tensorsOf } from "./safetensors-boxes.ts";
import type { TensorReader } from "./tensors.ts";

/** An open checkpoint, and what its format has beside tensors. */
export type Checkpoint =
  | { readonly format: "safetensors"; readonly tensors: TensorReader; readonly file: Safetensors }
  | { readonly format: "orbax"; readonly tensors: OrbaxReader };

/**
 * Opens a safetensors file, a directory of them, or an Orbax checkpoint: the directory of an item, of a step, of all
 * steps, of which the latest finished one is taken, or of a run. Steps may be directories of safetensors too. It is
 * refused when a part of it is damaged, unless `onDamage` lets the rest be read.
 */
export function openCheckpoint(path: string, onDamage: OnDamage = refuse): Checkpoint {
  refuseSide(path);
  if (isDirectory(path) && !hasSafetensors(path)) {
    if (looksLikeOrbax(path)) return { format: "orbax", tensors: openOrbax(path, onDamage) };
    const latest = stepsIn(path).find(hasSafetensors);
    if (latest !== undefined) return openCheckpoint(latest, onDamage);
    const snapshots = join(path, "snapshots");
    fail({
      code: "checkpoint-missing",
      message: `no checkpoint: expected safetensors files, or an Orbax item, step or directory of steps; found ${found(path)}`,
      at: { file: path },
      help: fs.existsSync(snapshots)
        ? `a cache of Hugging Face's has its models in ${snapshots}: name one`
        : undefined,
    });
  }
  const file = openSafetensors(path, onDamage);
  return { format: "safetensors", tensors: tensorsOf(path, file), file };
}

/** The tensors of a checkpoint of any format. */
export const openTensors = (path: string): TensorReader => openCheckpoint(path).tensors;

function isDirectory(path: string): boolean {
  try {
    return fs.statSync(path).isDirectory();
  } catch (error) {
    return failRead(path, error);
  }
}

/** The folder beside an item has an index of the files that the item was made of, but not those. */
function refuseSide(path: string): void {
  const item = join(dirname(resolve(path)), ITEM);
  if (basename(resolve(path)) !== SIDE || !fs.existsSync(join(item, TREE))) return;
  if (fs.readdirSync(path).some((name) => name.endsWith(".safetensors"))) return;
  fail({
    code: "checkpoint-missing",
    message: `holds a model's configuration and tokenizer; its weights are in ${item}`,
    at: { file: path },
    help: `pass load_parameters_path=${item} for the weights`,
  });
}

const hasSafetensors = (path: string): boolean =>
  fs.readdirSync(path).some((name) => /\.safetensors(\.index\.json)?$/.test(name));

const MAX_SHOWN = 8;

function found(path: string): string {
  const names = fs.readdirSync(path).toSorted();
  const shown = names.slice(0, MAX_SHOWN).map((name) => (isDirectory(join(path, name)) ? `${name}/` : name));
  return names.length === 0 ? "nothing" : `${shown.join(", ")}${names.length > MAX_SHOWN ? ", …" : ""}`;
}
