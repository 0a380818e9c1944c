// The ladder of a configuration: YAML, model, command line, environment → every value, typed, with its origin.

import { dirname, join } from "node:path";
import { type Diagnostic, didYouMean, fail, formatDiagnostic, Q3Error, type Span } from "../diag.ts";
import { checkValues } from "./checks.ts";
import { findConflicts, findUnreadable, findWarnings } from "./conflicts.ts";
import { derivedNames, type ValueName, type Values } from "./derived.ts";
import { findConfigFile, firstFile, type Places, shippedNames } from "./files.ts";
import { type Fields, modelTypeOf } from "./hugging-face/fields.ts";
import { readFamilyFields } from "./hugging-face/read.ts";
import { isKey, type KeyName, keyNames } from "./keys.ts";
import { type Model, readModel } from "./model.ts";
import { pathKeys, remoteProblem } from "./remote.ts";
import { collect, type Resolver, resolver } from "./resolve.ts";
import { rulesOver } from "./rules.ts";
import {
  type Layer,
  placeOf,
  readConfigFile,
  readEnvironment,
  readMapping,
  readOverrides,
  type Setting,
  type Settings,
  settingsOf,
} from "./settings.ts";

/** Where a value comes from; `at` is its place in what was written. */
export type Origin = { readonly from: "default" | "computed" | Layer; readonly at: Span | undefined };

/** A configuration: all values, and what is known about each. */
export type Config = {
  readonly values: Values;
  readonly warnings: readonly Diagnostic[];
  /** The fields of the Hugging Face config.json, if the model is such a folder. */
  readonly huggingFace: Fields | null;
  /** What transformers assumes for fields that a config.json of this architecture leaves out. */
  readonly familyFields: Fields;
  origin(name: ValueName): Origin;
  /** The place of a key's value, or of the nearest of several keys, for errors; nothing when all are at their defaults. */
  spanOf(...names: readonly ValueName[]): Span | undefined;
};

/** What a configuration is loaded from besides its arguments. */
export type LoadOptions = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly modelsDir: string;
  readonly now?: Date;
};

type Sources = {
  readonly base: Settings;
  readonly cli: Settings;
  readonly env: Settings;
  readonly configFile: string;
};

const noRules = { find: () => undefined };
const stopAt = (problems: Iterable<Diagnostic>): void => {
  // One mistake can show through several values.
  const distinct = [
    ...new Map([...problems].map((problem) => [formatDiagnostic(problem), problem])).values(),
  ];
  if (distinct.length > 0) throw new Q3Error(distinct, 2);
};

function readSources(args: readonly string[], { env, cwd }: LoadOptions, places: Places): Sources {
  const [first] = args;
  const positional = first !== undefined && !first.startsWith("-") && !first.includes("=");
  const configFile = findConfigFile(positional ? first : "base", places);
  const base = readConfigFile(configFile, places);
  const cli = readOverrides(positional ? args.slice(1) : args, cwd);
  const environment = readEnvironment(env, cwd);
  const twice = [...environment.settings.values()].flatMap((setting) => bothPlaces(setting, cli.settings));
  stopAt([...base.problems, ...cli.problems, ...environment.problems, ...twice]);
  return { base: base.settings, cli: cli.settings, env: environment.settings, configFile };
}

function bothPlaces({ name, nameAt }: Setting, cli: Settings): readonly Diagnostic[] {
  const other = cli.get(name);
  if (!other) return [];
  const message = `\`${name}\` is set by the environment and on the command line`;
  return [
    { code: "environment-conflict", message, at: nameAt, notes: [{ message: "here too", at: other.nameAt }] },
  ];
}

function findModel(
  { base, cli, env, configFile }: Sources,
  places: Places,
): Model & { readonly mayOverride: boolean } {
  const settings = new Map([...base, ...cli, ...env]);
  const early = resolver(settings, noRules);
  const setting = settings.get("model_name");
  const where = { folder: setting?.folder ?? places.cwd, configFile, at: setting?.raw.at };
  const model = readModel(early.get("model_name"), where, places);
  stopAt(model.problems);
  return { ...model, mayOverride: early.get("override_model_config") };
}

/** The mesh and rules of `custom_mesh_and_rule`, which replace all others. */
function customMesh(settings: Settings, configFile: string, places: Places): Settings {
  const setting = settings.get("custom_mesh_and_rule");
  const name = resolver(settings, noRules).get("custom_mesh_and_rule");
  if (!setting || name === "") return new Map();
  const own = name.endsWith(".yml");
  const path = own
    ? findConfigFile(name, places, setting.folder, setting.raw.at)
    : firstFile(
        [dirname(configFile), places.modelsDir].map((folder) =>
          join(folder, "custom_mesh_and_rule", `${name}.yml`),
        ),
      );
  const shipped = shippedNames(join(places.modelsDir, "custom_mesh_and_rule"), ".yml");
  if (path === undefined) {
    const message = `there is no custom_mesh_and_rule/${name}.yml; the packaged ones are ${shipped.join(", ") || "none"}`;
    throw new Q3Error(
      { code: "missing-file", message, at: setting.raw.at, help: didYouMean(name, shipped) },
      2,
    );
  }
  const { entries, problems } = readMapping(path, places, setting.raw.at);
  const read = settingsOf(entries, { layer: "file", folder: dirname(path), isDefault: false });
  stopAt([...problems, ...read.problems]);
  return read.settings;
}

/** What each key is set to in the end. The element types of weights only stand in for the packaged defaults. */
function mergeSettings({ base, cli, env }: Sources, model: Model): Map<KeyName, Setting> {
  const merged = new Map(base);
  for (const setting of model.settings.values()) {
    const before = base.get(setting.name);
    if (setting.layer === "model" || before === undefined || before.isDefault)
      merged.set(setting.name, setting);
  }
  for (const setting of [...cli.values(), ...env.values()]) merged.set(setting.name, setting);
  return merged;
}

function computeValues(values: Resolver, settings: Settings, found: readonly Diagnostic[]): Values {
  const problems = new Set(found);
  const all: Partial<Record<ValueName, unknown>> = {};
  for (const name of [...keyNames, ...derivedNames]) {
    collect(problems, () => {
      all[name] = values.get(name);
    });
  }
  stopAt(problems);
  // Every name was computed by its own rule, which typed it.
  const complete = all as Values;
  stopAt(checkValues(complete, settings));
  return Object.freeze(complete);
}

/** Loads a configuration from what follows the command's name, or reports everything that is wrong with it. */
export function loadConfig(args: readonly string[], options: LoadOptions): Config {
  try {
    return load(args, options);
  } catch (error) {
    throw error instanceof Q3Error && error.exitCode !== 2 ? new Q3Error(error.diagnostics, 2) : error;
  }
}

function load(args: readonly string[], options: LoadOptions): Config {
  const places: Places = { cwd: options.cwd, modelsDir: options.modelsDir };
  const sources = readSources(args, options, places);
  const model = findModel(sources, places);
  const merged = mergeSettings(sources, model);
  for (const setting of customMesh(merged, sources.configFile, places).values())
    merged.set(setting.name, setting);
  const rules = rulesOver({
    env: options.env,
    places,
    now: options.now ?? new Date(),
    hfCheckpoint: model.hfCheckpoint,
    settings: merged,
    axisRulesBeneath: sources.base.get("logical_axis_rules"),
  });
  const resolved = resolver(merged, rules);
  const overridden = { cli: sources.cli, env: sources.env, model: model.settings };
  const conflicts = model.mayOverride ? [] : findConflicts(overridden, resolved);
  const unseen = findUnreadable({ ...overridden, base: sources.base }, model.mayOverride, merged, resolved);
  const values = computeValues(resolved, merged, [...conflicts, ...unseen]);
  const spanOf: Config["spanOf"] = (...names) => placeOf(names.filter(isKey), merged);
  const familyFields = readFamilyFields(modelTypeOf(values.arch_file), places);
  requireWholeRotation(values, familyFields, spanOf);
  const settingOf = (name: ValueName): Setting | undefined => (isKey(name) ? merged.get(name) : undefined);
  return {
    values,
    warnings: [
      ...findWarnings({ ...overridden, base: sources.base }, resolved),
      ...pathKeys.flatMap((name) => remoteProblem(name, values, spanOf) ?? []),
    ],
    huggingFace: model.huggingFace,
    familyFields,
    origin: (name) => originOf(name, settingOf(name)),
    spanOf,
  };
}

/** transformers ignores the factor where a family does not have it, and MaxText refuses it there. */
function requireWholeRotation(values: Values, familyFields: Fields, spanOf: Config["spanOf"]): void {
  const factor = values.partial_rotary_factor;
  const isFamily = Object.keys(familyFields).length > 0;
  if (isFamily && !("partial_rotary_factor" in familyFields) && factor !== 1)
    fail(
      {
        code: "bad-value",
        message: `a ${modelTypeOf(values.arch_file)} model rotates whole heads, \`partial_rotary_factor\` is ${factor}`,
        at: spanOf("partial_rotary_factor"),
        help: "leave partial_rotary_factor out, or set decoder_block to an architecture file of your own",
      },
      2,
    );
}

function originOf(name: ValueName, setting: Setting | undefined): Origin {
  if (!isKey(name)) return { from: "computed", at: undefined };
  if (!setting) return { from: "default", at: undefined };
  return { from: setting.isDefault ? "default" : setting.layer, at: setting.raw.at };
}
