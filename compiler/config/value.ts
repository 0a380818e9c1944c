// The values a configuration is made of, and how errors speak of them.

/** What a key or an expression may hold; numbers make no difference between integer and float. */
export type ConfigValue =
  | number
  | string
  | boolean
  | null
  | readonly ConfigValue[]
  | { readonly [name: string]: ConfigValue };

/** Whether a value is a list; `Array.isArray` alone does not narrow a readonly array. */
export const isList = (value: ConfigValue): value is readonly ConfigValue[] => Array.isArray(value);

/** A value as it could be written in YAML on one line. */
export function showValue(value: ConfigValue): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return String(value);
  if (isList(value)) return `[${value.map(showValue).join(", ")}]`;
  return `{${Object.entries(value)
    .map(([name, item]) => `${name}: ${showValue(item)}`)
    .join(", ")}}`;
}

/** A value with its kind, for "expected …, found …". */
export function describeValue(value: ConfigValue): string {
  if (value === null) return "nothing (null)";
  if (typeof value === "object") return isList(value) ? `the list ${showValue(value)}` : "a mapping";
  const kind = { number: "number", string: "text", boolean: "boolean" }[typeof value as "number"];
  return `the ${kind} ${showValue(value)}`;
}

/** Whether two values are the same all the way down. */
export function sameValue(a: ConfigValue, b: ConfigValue): boolean {
  return a === b || showValue(a) === showValue(b);
}
