// Whether a checkpoint holds the tensors a model wants: missing, unexpected and misshapen ones, all in one error.

import { type Diagnostic, didYouMean, Q3Error } from "../../compiler/diag.ts";

/** Names and shapes, of a model's parameters or of a checkpoint's tensors. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

// Past this many of a kind, the rest are counted: a wrong checkpoint would otherwise print thousands of lines.
const SHOWN = 5;

// Comparing every name with every other takes quadratic time; with this many candidates a guess is no use anyway.
const MAX_CANDIDATES = 500;

const suggest = (name: string, candidates: readonly string[]): string | undefined =>
  candidates.length > MAX_CANDIDATES
    ? undefined
    : didYouMean(
        name,
        candidates.filter((candidate) => isNear(name, candidate)),
      );

/** Whether two names differ in one part, which may be a slip. Another number is another layer, and no slip. */
function isNear(name: string, candidate: string): boolean {
  const [parts, others] = [name.split("."), candidate.split(".")];
  if (parts.length !== others.length) return false;
  const slips = parts.flatMap((part, i) => (part === others[i] ? [] : [[part, others[i] ?? ""] as const]));
  const [slip] = slips;
  if (!slip || slips.length > 1) return false;
  const [part, other] = slip;
  return !/^\d+$/.test(part) && didYouMean(part, [other]) !== undefined;
}

const brackets = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

/**
 * Differences between the tensors expected and those found, as diagnostics; none when they agree. Many are summed up in
 * the first.
 */
export function compareNames(expected: Shapes, found: Shapes): readonly Diagnostic[] {
  const missing = [...expected.keys()].filter((name) => !found.has(name));
  const unexpected = [...found.keys()].filter((name) => !expected.has(name));
  const misshapen = [...expected].flatMap(([name, { shape }]) => {
    const other = found.get(name)?.shape;
    return other && brackets(other) !== brackets(shape) ? [{ name, shape, other }] : [];
  });
  const kinds = [
    { what: "missing", count: missing.length },
    { what: "unexpected", count: unexpected.length },
    { what: "of another shape", count: misshapen.length },
  ].filter(({ count }) => count > 0);
  const sum = kinds.map(({ what, count }) => `${count} ${what}`).join(", ");
  return [
    ...(kinds.some(({ count }) => count > SHOWN)
      ? [
          {
            code: "checkpoint-model",
            message: `the checkpoint holds other tensors than the model has: ${sum}; expected ${expected.size}`,
            help: "is this the model that was saved there? model_name=… says which it is",
          },
        ]
      : []),
    ...shorten("tensor-missing", "missing", missing, (name) => ({
      code: "tensor-missing",
      message: `tensor \`${name}\` is missing from the checkpoint`,
      help: suggest(name, unexpected),
    })),
    ...shorten("tensor-unexpected", "unexpected", unexpected, (name) => ({
      code: "tensor-unexpected",
      message: `tensor \`${name}\` in the checkpoint is not part of the model`,
      help: suggest(name, missing),
    })),
    ...shorten("tensor-shape", "of another shape", misshapen, ({ name, shape, other }) => ({
      code: "tensor-shape",
      message: `tensor \`${name}\`: expected shape ${brackets(shape)}, found ${brackets(other)}`,
    })),
  ];
}

function shorten<T>(
  code: string,
  what: string,
  items: readonly T[],
  show: (item: T) => Diagnostic,
): readonly Diagnostic[] {
  const shown = items.slice(0, SHOWN).map(show);
  const rest = items.length - shown.length;
  return rest > 0 ? [...shown, { code, message: `${rest} more tensors are ${what}` }] : shown;
}

/** Throws one error with every difference, at the checkpoint; returns when there is none. */
export function requireNames(checkpoint: string, expected: Shapes, found: Shapes): void {
  const problems = compareNames(expected, found);
  if (problems.length > 0)
    throw new Q3Error(problems.map((problem) => ({ ...problem, at: { file: checkpoint } })));
}
