// Where the small Hugging Face files of weights lie: with them, or in a folder beside MaxText's item.
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { isDirectory } from "./files.ts";

/** The folder of a model's Hugging Face files, beside the item of a step or beside a run's steps. */
export const SIDE = "hugging_face";

/** Whether a folder's name is that of a step. */
export const isStep = (name: string): boolean => /^\d{1,15}$/.test(name);

/**
 * The folders that may hold a tokenizer and the like for the weights at a path, first the one to look in first. The path
 * is that of a Hugging Face folder, an item, its step or the folder of steps, of which the latest comes first.
 */
export function foldersBeside(weights: string): readonly string[] {
  const steps = isDirectory(weights) ? readdirSync(weights).filter(isStep) : [];
  return [
    weights,
    join(weights, SIDE),
    join(dirname(weights), SIDE),
    ...steps.toSorted((a, b) => Number(b) - Number(a)).map((step) => join(weights, step, SIDE)),
  ];
}
