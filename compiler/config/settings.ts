// Settings: what each source of a configuration says about a key, before any of it is evaluated.

import { dirname } from "node:path";
import { type Diagnostic, didYouMean, Q3Error, type Source, type Span } from "../diag.ts";
import { derivedDocs } from "./derived.ts";
import { findConfigFile, type Places, readSource, shownPath } from "./files.ts";
import type { ValueType } from "./key.ts";
import { declarationOf, isKey, type KeyName, keyNames } from "./keys.ts";
import { type Raw, type RawEntry, rawText } from "./raw.ts";
import { readYaml } from "./yaml.ts";

/** Who says it. The later ones win, as in MaxText; `checkpoint` gives the element types of Hugging Face weights. */
export type Layer = "file" | "checkpoint" | "model" | "command line" | "environment";

/** One key's value as one source gives it. */
export type Setting = {
  readonly name: KeyName;
  readonly nameAt: Span;
  readonly raw: Raw;
  readonly layer: Layer;
  /** The folder that relative paths in the value start from. */
  readonly folder: string;
  /** Whether it only repeats the defaults, being in the packaged base.yml. */
  readonly isDefault: boolean;
  /** Whether a config.json leaves it out, and transformers assumes it. */
  readonly isAssumed?: boolean;
};

export type Settings = ReadonlyMap<KeyName, Setting>;

const byNearness: readonly Layer[] = ["command line", "environment", "file", "model", "checkpoint"];

/** Where the user would look first for one of several keys; nothing when all are at their defaults. */
export function placeOf(names: readonly KeyName[], settings: Settings): Span | undefined {
  const set = names.map((name) => settings.get(name)).filter((setting) => setting?.isDefault === false);
  const near = byNearness.flatMap((layer) => set.filter((setting) => setting?.layer === layer));
  return (near.find((setting) => !setting?.isAssumed) ?? near[0])?.raw.at;
}

/** Settings, and everything wrong with the text they come from. */
export type Reading = { readonly settings: Settings; readonly problems: readonly Diagnostic[] };

function unknownKey(name: string, at: Span): Diagnostic {
  const derived = Object.hasOwn(derivedDocs, name)
    ? derivedDocs[name as keyof typeof derivedDocs]
    : undefined;
  if (derived === undefined) {
    const help = didYouMean(name, keyNames);
    return { code: "unknown-key", message: `there is no key \`${name}\``, at, help };
  }
  return { code: "unknown-key", message: `\`${name}\` is computed and cannot be set: ${derived}`, at };
}

type Who = Omit<Setting, "name" | "nameAt" | "raw">;

/** The settings of a mapping; `lora: {lora_rank: 8}` counts as `lora.lora_rank`. */
export function settingsOf(entries: readonly RawEntry[], who: Who, prefix = ""): Reading {
  const settings = new Map<KeyName, Setting>();
  const problems: Diagnostic[] = [];
  for (const { name: own, nameAt, value: raw } of entries) {
    const name = prefix + own;
    if (isKey(name)) {
      settings.set(name, { ...who, name, nameAt, raw });
    } else if (raw.kind === "mapping" && keyNames.some((known) => known.startsWith(`${name}.`))) {
      const inner = settingsOf(raw.entries, who, `${name}.`);
      for (const setting of inner.settings.values()) settings.set(setting.name, setting);
      problems.push(...inner.problems);
    } else {
      problems.push(unknownKey(name, nameAt));
    }
  }
  return { settings, problems };
}

/** The entries of a YAML file that must be a mapping. */
export function readMapping(
  path: string,
  places: Places,
  at?: Span,
): { entries: readonly RawEntry[]; problems: readonly Diagnostic[] } {
  const source = readSource(path, places, at);
  const { value, problems } = readYaml(source);
  if (!value) return { entries: [], problems };
  if (value.kind === "mapping") return { entries: value.entries, problems };
  const message = `expected \`key: value\` lines, found ${value.kind === "list" ? "a list" : "one value"}`;
  const start = { ...value.at, end: Math.min(value.at.end, value.at.start + 1) };
  return { entries: [], problems: [...problems, { code: "not-a-mapping", message, at: start }] };
}

/** Reads a YAML and the parents that `base_config:` names; what a child says wins. */
export function readConfigFile(
  path: string,
  places: Places,
  chain: readonly string[] = [],
  at?: Span,
): Reading {
  if (chain.includes(path)) {
    const message = `base_config goes in a circle: ${[...chain, path].map((file) => `\`${shownPath(file, places)}\``).join(" → ")}`;
    return { settings: new Map(), problems: [{ code: "base-config-cycle", message, at }] };
  }
  const { entries, problems } = readMapping(path, places, at);
  const folder = dirname(path);
  const isDefault = path === findConfigFile("base", { ...places, cwd: places.modelsDir });
  const own = settingsOf(
    entries.filter(({ name }) => name !== "base_config"),
    { layer: "file", folder, isDefault },
  );
  const parent = readParent(entries, path, places, chain);
  return {
    settings: new Map([...parent.settings, ...own.settings]),
    problems: [...parent.problems, ...problems, ...own.problems],
  };
}

function readParent(
  entries: readonly RawEntry[],
  path: string,
  places: Places,
  chain: readonly string[],
): Reading {
  const parent = entries.find(({ name }) => name === "base_config")?.value;
  if (!parent) return { settings: new Map(), problems: [] };
  if (parent.kind !== "constant" || typeof parent.value !== "string") {
    const problem = {
      code: "wrong-type",
      message: "`base_config` takes the path of a YAML file",
      at: parent.at,
    };
    return { settings: new Map(), problems: [problem] };
  }
  const file = findConfigFile(parent.value, places, dirname(path), parent.at);
  return readConfigFile(file, places, [...chain, path], parent.at);
}

/** A word after `=`: free text as it stands (quotes around all of it go), anything else as YAML. */
function readWord(
  source: Source,
  start: number,
  type: ValueType<unknown>,
): { raw: Raw; problems: readonly Diagnostic[] } {
  const end = source.text.length;
  const { value, problems } = readYaml(source, { start });
  const word = source.text.slice(start);
  if (type.verbatim) {
    const quoted = /^(["']).*\1$/s.test(word.trim()) && value?.kind !== "mapping" && value?.kind !== "list";
    if (value && quoted && problems.length === 0) return { raw: value, problems };
    if (value?.kind === "constant" && value.value === null) return { raw: value, problems };
    return { raw: word === "" ? nothing(source, start) : rawText(word, source, start, end), problems: [] };
  }
  return { raw: value ?? nothing(source, start), problems };
}

const nothing = (source: Source, at: number): Raw => ({
  kind: "constant",
  value: null,
  text: "",
  at: { source, start: at, end: source.text.length },
});

function readAssignment(
  source: Source,
  nameStart: number,
  name: KeyName,
  who: Who,
): { setting: Setting; problems: readonly Diagnostic[] } {
  const equals = source.text.indexOf("=");
  const { raw, problems } = readWord(source, equals + 1, declarationOf(name).type);
  return { setting: { ...who, name, nameAt: { source, start: nameStart, end: equals }, raw }, problems };
}

function readOverride(text: string, who: Who): { setting?: Setting; problems: readonly Diagnostic[] } {
  const source = { file: "command line", text };
  const equals = text.indexOf("=");
  const all = { source, start: 0, end: text.length };
  if (text.startsWith("-")) {
    return {
      problems: [{ code: "unknown-option", message: `there is no option \`${text}\` here`, at: all }],
    };
  }
  if (equals < 0) {
    const message = `expected key=value, found \`${text}\``;
    const help = isKey(text) ? `say ${text}=VALUE` : undefined;
    return { problems: [{ code: "not-an-override", message, at: all, help }] };
  }
  const name = text.slice(0, equals);
  if (!isKey(name)) return { problems: [unknownKey(name, { source, start: 0, end: equals })] };
  try {
    return readAssignment(source, 0, name, who);
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    return { problems: error.diagnostics };
  }
}

/** Reads `key=value` arguments; of two for one key the last counts. */
export function readOverrides(args: readonly string[], cwd: string): Reading {
  // A comment after `\ ` in a pasted command leaves a blank argument behind.
  const read = args
    .filter((arg) => arg.trim() !== "")
    .map((arg) => readOverride(arg, { layer: "command line", folder: cwd, isDefault: false }));
  return {
    settings: new Map(read.flatMap(({ setting }) => (setting ? [[setting.name, setting]] : []))),
    problems: read.flatMap(({ problems }) => problems),
  };
}

/** Reads the variables `M_<KEY>`. Only what one word can say may be set there. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>, cwd: string): Reading {
  const settings = new Map<KeyName, Setting>();
  const problems: Diagnostic[] = [];
  for (const name of keyNames) {
    const variable = `M_${name.toUpperCase()}`;
    const word = env[variable];
    if (word === undefined) continue;
    const source = { file: "environment", text: `${variable}=${word}` };
    const { type } = declarationOf(name);
    if (type.scalar) {
      const read = readAssignment(source, 0, name, { layer: "environment", folder: cwd, isDefault: false });
      settings.set(name, read.setting);
      problems.push(...read.problems);
    } else {
      const at = { source, start: 0, end: variable.length };
      const message = `\`${name}\` takes ${type.name}, which the environment cannot set`;
      problems.push({ code: "environment-type", message, at, help: `set ${name} on the command line` });
    }
  }
  return { settings, problems };
}
