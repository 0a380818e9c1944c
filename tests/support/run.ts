// Running modules on the reference engine, and holding numbers against each other.
import type { Module, TensorType } from "../../compiler/ir/types.ts";
import type { Engine, HostArray } from "../../runtime/engines/engine.ts";

export type Runner = (
  ins: readonly HostArray[],
) => { readonly type: TensorType; readonly data: HostArray; readonly shape: readonly number[] }[];

/** A module compiled once; every run uploads, reads back and frees. */
export function runner(engine: Engine, module: Module): Runner {
  const executable = engine.compile(module);
  return (ins) => {
    const buffers = module.body.params.map((param, i) => engine.upload(param.type, ins[i]!));
    const outs = executable.run(buffers);
    const read = outs.map((out) => ({
      type: out.type,
      data: engine.download(out).slice(),
      shape: (out as unknown as { tensor: { shape: readonly number[] } }).tensor.shape,
    }));
    for (const buffer of [...buffers, ...outs]) engine.release(buffer);
    return read;
  };
}

export const runModule = (engine: Engine, module: Module, ins: readonly HostArray[]): HostArray[] =>
  runner(engine, module)(ins).map(({ data }) => data);

export const norm = (x: ArrayLike<number>): number => Math.sqrt(dot(x, x));

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Largest difference over the largest magnitude of what is wanted (at least `floor`); nan and missing count as infinite. */
export function distance(found: ArrayLike<number>, wanted: ArrayLike<number>, floor = 1e-6): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  let [worst, scale] = [0, floor];
  for (let i = 0; i < wanted.length; i++) {
    if (Object.is(found[i], wanted[i])) continue;
    const difference = Math.abs(found[i]! - wanted[i]!);
    worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : Math.max(worst, difference);
    if (Number.isFinite(wanted[i]!)) scale = Math.max(scale, Math.abs(wanted[i]!));
  }
  return worst / scale;
}

export const areFinite = (x: ArrayLike<number>): boolean => Array.from(x).every(Number.isFinite);
