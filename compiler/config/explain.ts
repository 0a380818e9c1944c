// What there is to know about one key, as text.

import { didYouMean, fail, formatPlace } from "../diag.ts";
import { type DerivedName, derivedDocs, derivedNames, type ValueName } from "./derived.ts";
import { acceptedValues, type Key } from "./key.ts";
import { declarationOf, isKey, keyNames } from "./keys.ts";
import type { Config } from "./load.ts";
import { type ConfigValue, showValue } from "./value.ts";

function effectSaid(key: Key<ConfigValue>): string {
  const { effect } = key;
  const accepted = acceptedValues(key)?.map(showValue).join(", ");
  switch (effect.kind) {
    case "acted-on":
      return "q3c acts on it.";
    case "no-effect":
      return `q3c accepts any value, which cannot change the result: ${effect.why}.`;
    case "limited":
      return `q3c supports only ${accepted}: ${effect.why}.`;
    case "not-yet":
      return `q3c accepts ${accepted ? `only ${accepted}` : "any value"} and does nothing with it yet: ${effect.why}.`;
  }
}

// A list of rules or layers would drown the rest.
function shortValue(value: ConfigValue): string {
  const shown = showValue(value);
  return shown.length <= 200 ? shown : `${shown.slice(0, 200)}…`;
}

function current(name: ValueName, config: Config): string {
  const { from, at } = config.origin(name);
  // Every value came out of the configuration's own types; only their union is forgotten here.
  const value = shortValue(config.values[name] as ConfigValue);
  if (from === "default" || from === "computed") return `Now ${value} (${from}).`;
  return `Now ${value} (${from}${at ? `, ${formatPlace(at)}` : ""}).`;
}

const isDerived = (name: string): name is DerivedName => Object.hasOwn(derivedDocs, name);

/** A key's type, default, meaning and treatment, and with a configuration its value there and where that is from. */
export function explainKey(name: string, config?: Config): string {
  if (isKey(name)) {
    const declaration = declarationOf(name);
    const { type, default: usual, doc } = declaration;
    return [
      `${name}: ${type.name}; default ${shortValue(usual)}`,
      doc,
      effectSaid(declaration),
      ...(config ? [current(name, config)] : []),
    ].join("\n");
  }
  if (isDerived(name)) {
    return [
      `${name}: computed, cannot be set`,
      `${derivedDocs[name]}.`,
      ...(config ? [current(name, config)] : []),
    ].join("\n");
  }
  const help = didYouMean(name, [...keyNames, ...derivedNames]);
  return fail({ code: "unknown-key", message: `there is no key \`${name}\``, help }, 2);
}
