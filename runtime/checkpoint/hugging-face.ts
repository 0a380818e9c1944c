// A model's parameters from and to Hugging Face tensors, by what each parameter's declaration says.
import type { Factor } from "../../compiler/arch/dims.ts";
import type { Origin, ParamDecl } from "../../compiler/arch/param.ts";
import { invariant } from "../../compiler/diag.ts";
import { requireNames } from "./compare-names.ts";
import { namesOf, originIn } from "./layout.ts";
import { rearrange } from "./rearrange.ts";
import type { Safetensors } from "./safetensors.ts";

/** Numbers of every parameter by its path, in the parameter's own layout. */
export type Weights = ReadonlyMap<string, Float32Array>;

/** A Hugging Face tensor in f32. */
export type NamedArray = {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
};

const product = (factors: readonly Factor[]): number => factors.reduce((n, { size }) => n * size, 1);

/** The shape each of the origin's tensors has. */
export function shapeOf({ dims, part }: Origin): number[] {
  return dims.map((factors, axis) => product(factors) * (part && part.axis === axis ? part.count : 1));
}

/** One of the equal parts that lie one after another along an axis. */
function takePart(data: Float32Array, origin: Origin): Float32Array {
  const { part, dims } = origin;
  if (!part) return data;
  const inner = dims.slice(part.axis).reduce((n, factors) => n * product(factors), 1);
  const outer = data.length / (inner * part.count);
  const out = new Float32Array(outer * inner);
  for (let i = 0; i < outer; i++) {
    const start = (i * part.count + part.index) * inner;
    out.set(data.subarray(start, start + inner), i * inner);
  }
  return out;
}

const fromFactors = ({ each, dims }: Origin): Factor[] => [
  ...(each && each.size !== 1 ? [each] : []),
  ...dims.flat(),
];

function readParam(param: ParamDecl, origin: Origin, read: (name: string) => Float32Array): Float32Array {
  const parts = namesOf(origin).map((name) => takePart(read(name), origin));
  const [only] = parts;
  const size = parts.reduce((n, part) => n + part.length, 0);
  const joined = only && parts.length === 1 ? only : new Float32Array(size);
  let at = 0;
  if (joined !== only)
    for (const part of parts) {
      joined.set(part, at);
      at += part.length;
    }
  return rearrange(joined, fromFactors(origin), param.dims.flat());
}

/** Tensors that say nothing and that a checkpoint may hold: rotary tables of old files. */
const isExtra = (name: string): boolean => /rotary_emb\.inv_freq$/.test(name);

/** Whether a checkpoint has any tensor of these parameters. */
export const holdsAny = ({ entries }: Safetensors, params: readonly ParamDecl[]): boolean =>
  params.some(({ origins }) => origins.some((origin) => namesOf(origin).some((name) => entries.has(name))));

/**
 * Reads every parameter; those `beside` them, all or none, may lie in the checkpoint too and are not read. Missing,
 * unexpected and misshapen tensors are one error naming `path`.
 */
export function readHuggingFace(
  path: string,
  checkpoint: Safetensors,
  params: readonly ParamDecl[],
  beside: readonly ParamDecl[] = [],
): Weights {
  const names = new Set(checkpoint.entries.keys());
  const homesOf = (some: readonly ParamDecl[]) =>
    some.map((param) => ({ param, origin: originIn(param, (name) => names.has(name)) }));
  const homes = homesOf(params);
  const neighbours = holdsAny(checkpoint, beside) ? homesOf(beside) : [];
  const expected = new Map(
    [...homes, ...neighbours].flatMap(({ origin }) =>
      namesOf(origin).map((name) => [name, { shape: shapeOf(origin) }] as const),
    ),
  );
  const found = new Map([...checkpoint.entries].filter(([name]) => expected.has(name) || !isExtra(name)));
  requireNames(path, expected, found);
  return new Map(
    homes.map(({ param, origin }) => [param.path, readParam(param, origin, (name) => checkpoint.read(name))]),
  );
}

/** The Hugging Face tensors of a parameter, in the layout the declaration names first. */
export function toHuggingFace(param: ParamDecl, data: Float32Array): NamedArray[] {
  const [origin] = param.origins;
  invariant(origin && !origin.part, `${param.path} has no origin of its own`);
  const all = rearrange(data, param.dims.flat(), fromFactors(origin));
  const names = namesOf(origin);
  const size = all.length / names.length;
  return names.map((name, i) => ({
    name,
    shape: shapeOf(origin),
    data: all.subarray(i * size, (i + 1) * size),
  }));
}
