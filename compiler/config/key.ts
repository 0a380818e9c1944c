// What one configuration key is: its type, default, meaning, and what q3c does with it.

import { type ConfigValue, isList } from "./value.ts";

/** A value before its key's type has looked at it; `text` is how a scalar was written. */
export type Given = { readonly value: ConfigValue; readonly text?: string | undefined };

/** A type of values: `name` is how it is printed, `read` gives nothing when a value is not of it. */
export type ValueType<T> = {
  readonly name: string;
  /** Whether one word can say a value, which is what the environment may set. */
  readonly scalar: boolean;
  /** Whether this is free text, which takes any scalar as it was written. */
  readonly verbatim: boolean;
  read(given: Given): T | undefined;
};

/** What q3c does with a key. */
export type Effect =
  | { readonly kind: "acted-on" }
  | { readonly kind: "no-effect"; readonly why: string }
  | { readonly kind: "limited"; readonly also: readonly ConfigValue[]; readonly why: string }
  | { readonly kind: "not-yet"; readonly also: readonly ConfigValue[] | "any"; readonly why: string };

/** The one declaration of a configuration key. */
export type Key<T> = {
  readonly type: ValueType<T>;
  readonly default: T;
  readonly doc: string;
  readonly effect: Effect;
};

type Declare = <T>(type: ValueType<T>, value: NoInfer<T>, doc: string) => Key<T>;

const declare =
  (effect: Effect): Declare =>
  (type, value, doc) => ({ type, default: value, doc, effect });

/** Declares a key that q3c acts on. */
export const key: Declare = declare({ kind: "acted-on" });

/** Declares keys that are accepted with any value because they cannot change the result. */
export const inert = (why: string): Declare => declare({ kind: "no-effect", why });

/** Declares keys that are accepted at their default, and at the values in `also`, and are an error otherwise. */
export const limited = (why: string, also: readonly ConfigValue[] = []): Declare =>
  declare({ kind: "limited", also, why });

/** Declares keys that are accepted with any value and that nothing acts on yet. */
export const later = (why: string): Declare => declare({ kind: "not-yet", also: "any", why });

/** Declares keys whose default asks for what q3c does not do yet: it is accepted, as are the values in `also`. */
export const unmet = (why: string, also: readonly ConfigValue[] = []): Declare =>
  declare({ kind: "not-yet", also, why });

/** Every value that an effect lets through, given the default; nothing when it lets all through. */
export function acceptedValues({
  default: usual,
  effect,
}: Key<ConfigValue>): readonly ConfigValue[] | undefined {
  const restricted = effect.kind === "limited" || effect.kind === "not-yet";
  return restricted && effect.also !== "any" ? [usual, ...effect.also] : undefined;
}

const scalar = <T>(name: string, read: (given: Given) => T | undefined): ValueType<T> => ({
  name,
  scalar: true,
  verbatim: false,
  read,
});

// Python writes 10_000, and the environment has only text.
const numeral = /^[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?$/;

function readNumber({ value }: Given): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  return typeof value === "string" && numeral.test(value) ? Number(value.replaceAll("_", "")) : undefined;
}

function readInteger(given: Given): number | undefined {
  const number = readNumber(given);
  return number !== undefined && Number.isSafeInteger(number) ? number : undefined;
}

const atLeast =
  (least: number, read: (given: Given) => number | undefined) =>
  (given: Given): number | undefined => {
    const number = read(given);
    return number !== undefined && number >= least ? number : undefined;
  };

/** Any integer. */
export const int = scalar("an integer", readInteger);
/** An integer from 1 up. */
export const positive = scalar("an integer of at least 1", atLeast(1, readInteger));
/** An integer from 0 up. */
export const natural = scalar("an integer of at least 0", atLeast(0, readInteger));
/** A size where -1 asks for the size that fits. */
export const size = scalar("an integer of at least 1, or -1", (given) => {
  const number = readInteger(given);
  return number === -1 || (number !== undefined && number >= 1) ? number : undefined;
});
/** Any finite number. */
export const float = scalar("a number", readNumber);
/** A number from 0 up. */
export const nonNegative = scalar("a number of at least 0", atLeast(0, readNumber));

const words = new Map([
  ...["true", "t", "yes", "y", "on", "1"].map((word) => [word, true] as const),
  ...["false", "f", "no", "n", "off", "0"].map((word) => [word, false] as const),
]);

/** True or false, in any of the spellings MaxText takes. */
export const bool = scalar("true or false", ({ value }) =>
  typeof value === "boolean" ? value : words.get(String(value).toLowerCase()),
);

/** Free text; a number or boolean counts as what was written, an empty value as the empty text. */
export const text: ValueType<string> = {
  ...scalar("text", ({ value, text: written }) => {
    if (value === null) return written === "" ? "" : undefined;
    return typeof value === "object" ? undefined : (written ?? String(value));
  }),
  verbatim: true,
};

/** One of a few words. */
export function oneOf<const W extends string>(...allowed: readonly W[]): ValueType<W> {
  const shown = allowed.map((item) => (item === "" ? '""' : item)).join(", ");
  return scalar(`one of ${shown}`, ({ value, text: written }) =>
    allowed.find((item) => item === value || (item === "" && value === null && written === "")),
  );
}

/** A type or nothing: null, `None`, or an empty value. */
export function orNull<T>(type: ValueType<T>): ValueType<T | null> {
  return {
    name: `${type.name}, or null`,
    scalar: type.scalar,
    verbatim: type.verbatim,
    read: (given) =>
      given.value === null || given.value === "None" || given.value === "none" ? null : type.read(given),
  };
}

/** A list of values of one type. */
export function listOf<T>(item: ValueType<T>, name: string): ValueType<readonly T[]> {
  return {
    name: `a list of ${name}`,
    scalar: false,
    verbatim: false,
    read: ({ value }) => {
      if (!isList(value)) return undefined;
      const items = value.map((member) => item.read({ value: member }));
      return items.every((member) => member !== undefined) ? items : undefined;
    },
  };
}

/** A list of texts. */
export const texts = listOf(text, "texts");
/** A list of integers. */
export const ints = listOf(int, "integers");
/** A list of integers from 0 up. */
export const naturals = listOf(natural, "integers of at least 0");

/** A mapping of anything. */
export const mapping: ValueType<{ readonly [name: string]: ConfigValue }> = {
  name: "a mapping",
  scalar: false,
  verbatim: false,
  read: ({ value }) => (typeof value === "object" && value !== null && !isList(value) ? value : undefined),
};

/** A logical axis and the mesh axes that may split it. */
export type AxisRule = readonly [axis: string, meshAxes: readonly string[]];

const nameOrNames = ({ value }: Given): readonly string[] | undefined =>
  typeof value === "string" ? [value] : value === null ? [] : texts.read({ value });

/** Logical axis rules: pairs of an axis and one mesh axis or a list of them. */
export const axisRules: ValueType<readonly AxisRule[]> = listOf(
  {
    name: "an axis rule",
    scalar: false,
    verbatim: false,
    read: ({ value }): AxisRule | undefined => {
      if (!isList(value) || value.length !== 2) return undefined;
      const [axis, over] = value;
      const meshAxes = over === undefined ? undefined : nameOrNames({ value: over });
      return typeof axis === "string" && meshAxes ? [axis, meshAxes] : undefined;
    },
  },
  "pairs [axis, mesh axes]",
);

/** Groups of mesh axes; one flat list of names is one group. */
export const axisGroups: ValueType<readonly (readonly string[])[]> = {
  name: "a list of lists of mesh axes",
  scalar: false,
  verbatim: false,
  read: (given) => {
    const flat = isList(given.value) && given.value.every((item) => typeof item === "string");
    return listOf(texts, "").read(flat ? { value: [given.value] } : given);
  },
};
