// Finding the model that model_name means: a packaged or neighbouring YAML, or a Hugging Face folder.

import { dirname, resolve } from "node:path";
import { type Diagnostic, didYouMean, type Span } from "../diag.ts";
import { firstFile, isDirectory, modelFileCandidates, type Places, shippedNames } from "./files.ts";
import type { Fields } from "./hugging-face/fields.ts";
import { readHuggingFace } from "./hugging-face/read.ts";
import { type Reading, readMapping, settingsOf } from "./settings.ts";

/** A model's settings, and its folder when it is a Hugging Face one. */
export type Model = Reading & { readonly hfCheckpoint: string | null; readonly huggingFace: Fields | null };

const none: Model = { settings: new Map(), problems: [], hfCheckpoint: null, huggingFace: null };

function unknownModel(name: string, places: Places, at: Span | undefined): Diagnostic {
  const shipped = shippedNames(places.modelsDir, ".yml").filter((one) => one !== "base");
  const message = name.includes("/")
    ? `there is no folder \`${name}\``
    : `there is no model \`${name}\`: neither models/${name}.yml nor a folder with a config.json; the packaged ones are ${shipped.join(", ")}`;
  return { code: "unknown-model", message, at, help: didYouMean(name, shipped) };
}

/** Reads the model of a name; folders are relative to `folder`, YAMLs are looked for around `configFile`. */
export function readModel(
  name: string,
  where: { readonly folder: string; readonly configFile: string; readonly at: Span | undefined },
  places: Places,
): Model {
  if (name === "default") return none;
  const file = name.includes("/") ? undefined : findModelFile(name, where.configFile, places);
  if (file) {
    const { entries, problems } = readMapping(file, places, where.at);
    const read = settingsOf(entries, { layer: "model", folder: dirname(file), isDefault: false });
    return { ...none, settings: read.settings, problems: [...problems, ...read.problems] };
  }
  const folder = [resolve(where.folder, name), resolve(places.cwd, name)].find(isDirectory);
  if (!folder) return { ...none, problems: [unknownModel(name, places, where.at)] };
  const { settings, fields, problems } = readHuggingFace(folder, places, where.at);
  return { settings, problems, hfCheckpoint: folder, huggingFace: fields };
}

function findModelFile(name: string, configFile: string, places: Places): string | undefined {
  // The configuration itself may be called like its model.
  const known = (path: string): boolean => resolve(path) !== resolve(configFile);
  return firstFile(modelFileCandidates(name.replace(/-Instruct$/, ""), configFile, places).filter(known));
}
