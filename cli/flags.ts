// Reading flags: `--name=value`, `--name value`, `--name`; dashes and underscores in names are the same.
import { type Diagnostic, didYouMean, Q3Error, type Span } from "../compiler/diag.ts";
import { commonFlags, type FlagSpec, type FlagSpecs, type FlagValues } from "./command.ts";

type Value = number | string | readonly string[] | boolean | undefined;

const plain = (name: string): string => name.replaceAll("_", "-");

const switchWords: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

/** A span of one argument, as errors show it. */
function spanIn(arg: string, start = 0, end = arg.length): Span {
  return { source: { file: "command line", text: arg }, start, end };
}

const refuse = (problem: Diagnostic): never => {
  throw new Q3Error(problem, 2);
};

function readSwitch(name: string, text: string, at: Span): boolean {
  const found = switchWords.get(text.toLowerCase());
  if (found !== undefined) return found;
  const message = `\`--${name}\` is a switch and takes only true or false, found \`${text}\``;
  return refuse({ code: "bad-flag-value", message, at });
}

function readNumber(name: string, text: string, at: Span): number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(number)) return number;
  return refuse({ code: "bad-flag-value", message: `\`--${name}\` takes a number, found \`${text}\``, at });
}

function readValue(name: string, { value }: FlagSpec, text: string, before: Value, at: Span): Value {
  if (value === undefined) return readSwitch(name, text, at);
  if (value === "number") return readNumber(name, text, at);
  return value === "string" ? text : [...(Array.isArray(before) ? before : []), text];
}

function initial({ value, default: usual }: FlagSpec): Value {
  if (usual !== undefined) return usual;
  if (value === undefined) return false;
  return value === "strings" ? [] : undefined;
}

/** The text of a flag's value, and whether it was the argument after the flag. */
function textOf(arg: string, equals: number, spec: FlagSpec, next: string | undefined, at: Span) {
  if (equals >= 0) return { text: arg.slice(equals + 1), isNext: false };
  if (spec.value === undefined) return { text: "true", isNext: false };
  if (next !== undefined && !next.startsWith("--")) return { text: next, isNext: true };
  return refuse({
    code: "missing-flag-value",
    message: `\`${arg}\` needs a value`,
    at,
    help: `write ${arg}=…`,
  });
}

const isFlag = (arg: string): boolean => arg.startsWith("--") || /^-[A-Za-z]/.test(arg);

function findFlag(arg: string, end: number, specs: FlagSpecs): readonly [name: string, spec: FlagSpec] {
  const written = arg === "-h" ? "--help" : arg.slice(0, end);
  const found = Object.entries(specs).find(([name]) => plain(`--${name}`) === plain(written));
  if (found) return found;
  const message = `there is no flag \`${written}\` here`;
  const known = Object.keys(specs).map((name) => `--${name}`);
  const help =
    didYouMean(written, known) ??
    (end < arg.length ? `a configuration's key has no dashes: ${arg.replace(/^-+/, "")}` : undefined);
  return refuse({ code: "unknown-flag", message, at: spanIn(arg, 0, end), help });
}

/** Separates a command's flags, and those of every command, from its other arguments. `--` ends the flags. */
export function readFlags<F extends FlagSpecs>(
  own: F,
  args: readonly string[],
): { args: readonly string[]; flags: FlagValues<F & typeof commonFlags> } {
  const specs: FlagSpecs = { ...own, ...commonFlags };
  const values = new Map(Object.entries(specs).map(([name, spec]) => [name, initial(spec)]));
  const rest: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? "";
    if (arg === "--") {
      rest.push(...args.slice(i + 1));
      break;
    }
    if (!isFlag(arg)) {
      rest.push(arg);
      continue;
    }
    const equals = arg.indexOf("=");
    const end = equals < 0 ? arg.length : equals;
    const [name, spec] = findFlag(arg, end, specs);
    const { text, isNext } = textOf(arg, equals, spec, args[i + 1], spanIn(arg));
    const at = isNext ? spanIn(text) : spanIn(arg, end + 1);
    values.set(name, readValue(name, spec, text, values.get(name), at));
    if (isNext) i++;
  }
  // Each value was read by its own spec, which is what its type follows from.
  return { args: rest, flags: Object.fromEntries(values) as FlagValues<F & typeof commonFlags> };
}
