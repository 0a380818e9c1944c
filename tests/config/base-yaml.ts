// models/base.yml as the table of keys says it.

import { stringify } from "yaml";
import type { Key } from "../../compiler/config/key.ts";
import { sections } from "../../compiler/config/keys.ts";
import { type ConfigValue, isList, showValue } from "../../compiler/config/value.ts";

const width = 118;

function wordOf(value: ConfigValue): string {
  if (value === null) return "null";
  if (typeof value === "object")
    return isList(value) ? `[${value.map(wordOf).join(", ")}]` : showValue(value);
  return stringify(value, { lineWidth: 0 }).trim();
}

function written(name: string, { default: value }: Key<ConfigValue>): string {
  const line = `${name}: ${wordOf(value)}`;
  if (line.length <= width || !isList(value)) return line;
  return [`${name}:`, ...value.map((item) => `  - ${wordOf(item)}`)].join("\n");
}

function entry(name: string, key: Key<ConfigValue>): string {
  const line = written(name, key);
  const together = `${line} # ${key.doc}`;
  return together.includes("\n") || together.length > width ? `# ${key.doc}\n${line}` : together;
}

/** The text of models/base.yml. */
export function baseYaml(): string {
  const head = [
    "# Every key with its default, as MaxText names them. `q3c explain KEY` says what q3c does with each.",
    "# A YAML of yours may begin with `base_config: base.yml` and say only what differs; `key=value` on the command",
    "# line wins over both, and a model's YAML over this file.",
  ];
  const parts = sections.map(({ title, keys }) =>
    [`# ---- ${title} ----`, ...Object.entries(keys).map(([name, key]) => entry(name, key))].join("\n"),
  );
  return `${[head.join("\n"), ...parts].join("\n\n")}\n`;
}
