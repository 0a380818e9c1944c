// Evaluates settings on demand: a key may refer to any other, and a circle is an error that shows it.

import { type Diagnostic, didYouMean, fail, Q3Error, type Span } from "../diag.ts";
import { derivedDocs, derivedNames, type Values } from "./derived.ts";
import { acceptedValues, type Given } from "./key.ts";
import { declarationOf, isKey, type KeyName, type KeyValues, keyNames } from "./keys.ts";
import { evaluateRaw, type Raw } from "./raw.ts";
import type { Setting, Settings } from "./settings.ts";
import { type ConfigValue, describeValue, sameValue, showValue } from "./value.ts";
import { readYaml } from "./yaml.ts";

/** Computes values by name; `given` is what was written, before any rule. */
export type Resolver = {
  get<K extends keyof Values>(name: K): Values[K];
  given<K extends KeyName>(name: K): KeyValues[K];
  read(setting: Setting): ConfigValue;
};

/** How the final value of a name follows from others. */
export type Rules = { find(name: string): ((resolver: Resolver) => unknown) | undefined };

function wrongType(name: string, expected: string, { value }: Given, at: Span): never {
  const options = /^one of (.*?)(?:, or null)?$/.exec(expected)?.[1]?.split(", ");
  const help = options && typeof value === "string" ? didYouMean(value, options) : undefined;
  const message = `\`${name}\` takes ${expected}, found ${describeValue(value)}`;
  return fail({ code: "wrong-type", message, at, help }, 2);
}

function requireSupport(name: KeyName, value: ConfigValue, at: Span): void {
  const declaration = declarationOf(name);
  const { effect } = declaration;
  const allowed = acceptedValues(declaration);
  if (!allowed || effect.kind === "acted-on" || allowed.some((one) => sameValue(one, value))) return;
  const message = `q3c does not support ${name}=${showValue(value)}: ${effect.why}`;
  fail(
    {
      code: "unsupported-value",
      message,
      at,
      help: `${effect.kind === "limited" ? "supported" : "accepted"}: ${allowed.map(showValue).join(", ")}`,
    },
    2,
  );
}

// MaxText also takes a list written as text: train_data_columns: "['text']".
function listInText(raw: Raw, given: Given): Given {
  if (typeof given.value !== "string" || !given.value.trim().startsWith("[")) return given;
  const { value, problems } = readYaml({ file: "", text: given.value }, { templates: false });
  return value && problems.length === 0 && raw.kind !== "list" ? evaluateRaw(value, noNames) : given;
}

const noNames = (name: string, at: Span): never =>
  fail({ code: "unknown-key", message: `there is no key \`${name}\``, at }, 2);

type Step = { readonly name: string; readonly at: Span | undefined };

/** The error of names that need each other; the first and last step are one name. */
function circle(steps: readonly Step[]): Q3Error {
  const message = `these keys need each other: ${steps.map(({ name }) => `\`${name}\``).join(" → ")}`;
  const places = steps.flatMap(({ name, at }, i) =>
    at && i > 0 ? [{ at, message: `\`${steps[i - 1]?.name}\` needs \`${name}\` here` }] : [],
  );
  return new Q3Error(
    { code: "expression-cycle", message, at: places.at(-1)?.at, notes: places.slice(0, -1) },
    2,
  );
}

type Outcome = { readonly value: unknown } | { readonly error: Q3Error };

/** Computes a name's value once, or fails with the same error every time. */
function once(outcomes: Map<string, Outcome>, name: string, compute: () => unknown): unknown {
  const known = outcomes.get(name);
  if (known) {
    if ("error" in known) throw known.error;
    return known.value;
  }
  try {
    const value = compute();
    outcomes.set(name, { value });
    return value;
  } catch (error) {
    if (error instanceof Q3Error) outcomes.set(name, { error });
    throw error;
  }
}

/** Builds a resolver over settings; every other name is at its default or follows a rule. */
export function resolver(settings: Settings, rules: Rules): Resolver {
  const outcomes = new Map<string, Outcome>();
  const written = new Map<string, Outcome>();
  const path: Step[] = [];

  function read(setting: Setting): ConfigValue {
    const { name, raw } = setting;
    const { type } = declarationOf(name);
    const whole = evaluateRaw(raw, lookup);
    const one = type.scalar ? whole : listInText(raw, whole);
    const value = type.read(one);
    if (value === undefined) return wrongType(name, type.name, one, raw.at);
    requireSupport(name, value, raw.at);
    return value;
  }

  function given(name: KeyName): unknown {
    const setting = settings.get(name);
    return setting ? once(written, name, () => read(setting)) : declarationOf(name).default;
  }

  function compute(name: string): unknown {
    const rule = rules.find(name);
    if (rule) return rule(self);
    return isKey(name) ? given(name) : undefined;
  }

  function find(name: string, at?: Span): unknown {
    return once(outcomes, name, () => {
      const start = path.findIndex((step) => step.name === name);
      if (start >= 0) throw circle([...path.slice(start), { name, at }]);
      path.push({ name, at });
      try {
        return compute(name);
      } finally {
        path.pop();
      }
    });
  }

  function lookup(name: string, at: Span): ConfigValue {
    const known = isKey(name) || Object.hasOwn(derivedDocs, name) ? find(name, at) : undefined;
    if (known !== undefined) return known as ConfigValue;
    const names = [...keyNames, ...derivedNames];
    return fail(
      { code: "unknown-key", message: `there is no key \`${name}\``, at, help: didYouMean(name, names) },
      2,
    );
  }

  // The table and the rules give each name its type; the maps here have forgotten it.
  const self: Resolver = {
    get: <K extends keyof Values>(name: K) => find(name) as Values[K],
    given: <K extends KeyName>(name: K) => given(name) as KeyValues[K],
    read,
  };
  return self;
}

/** Runs a computation and keeps what went wrong instead of throwing it. */
export function collect(problems: Set<Diagnostic>, compute: () => void): void {
  try {
    compute();
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    for (const problem of error.diagnostics) problems.add(problem);
  }
}
