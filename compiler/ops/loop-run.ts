// Running a block's loop nest on arrays: generated once per block, compiled once per text and kinds of arrays.
import type { Block } from "../ir/types.ts";
import { type LoopCode, loopCode } from "./loop-code.ts";
import type { NumberArray } from "./loops.ts";
import { rounders } from "./round.ts";

type Kernel = (arrays: readonly NumberArray[]) => void;
type Loop = Pick<LoopCode, "lines" | "buffers" | "inPlace"> & { readonly kernel: Kernel };

const POWERS = Float64Array.from({ length: 2200 }, (_, i) => 2 ** (i - 1100));
const FRACTIONS = Float64Array.from({ length: 32 }, (_, i) => 2 ** (i / 32));
// Added and taken away again, it rounds a number to an integer.
const ROUNDING = 1.5 * 2 ** 52;

/** e^x within 2e-12 of the exact value: 2^(k/32) times a short series; twice as fast as Math.exp. */
function exp(x: number): number {
  if (!(x > -700 && x < 700)) return Math.exp(x);
  const steps = x * (32 / Math.LN2) + ROUNDING - ROUNDING;
  const k = steps | 0;
  const r = x - steps * (Math.LN2 / 32);
  const series = 1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24))));
  return (POWERS[(k >> 5) + 1100] as number) * (FRACTIONS[k & 31] as number) * series;
}

const { log, log1p, sqrt, sin, cos, abs, max, min, floor, trunc, imul, fround } = Math;
/** The words of `scalar`, and what the loops themselves use. */
const words = {
  exp,
  log,
  log1p,
  sqrt,
  sin,
  cos,
  abs,
  max,
  min,
  floor,
  trunc,
  imul,
  INFINITY: Infinity,
  NAN: NaN,
  fround,
  ...rounders,
};

const kernels = new Map<string, Kernel>();
const loops = new WeakMap<Block, Loop>();

/** Values of one dtype are held in one kind of array: engines then see the same kind in every call. */
const kindsOf = (block: Block): string =>
  [...block.params, ...block.results].map((x) => x.type.dtype).join(" ");

function loopOf(block: Block): Loop {
  const known = loops.get(block);
  if (known) return known;
  const { source, lines, buffers, inPlace } = loopCode(block);
  const count = block.params.length + lines.length + block.results.length + buffers.length;
  const names = Array.from({ length: count }, (_, i) => `a${i}`);
  const text = `// ${kindsOf(block)}\nconst [${names.join(", ")}] = arrays;\n${source}`;
  const kernel = kernels.get(text) ?? compile(text);
  kernels.set(text, kernel);
  const made = { kernel, lines, buffers, inPlace };
  loops.set(block, made);
  return made;
}

function compile(text: string): Kernel {
  const make = new Function(
    "words",
    `const { ${Object.keys(words).join(", ")} } = words;\nreturn (arrays) => {\n${text}\n};`,
  );
  return make(words) as Kernel;
}

/** Runs a block's loops from its operands' numbers into its results. */
export function runLoop(block: Block, ins: readonly NumberArray[], outs: readonly NumberArray[]): void {
  const { kernel, lines, buffers } = loopOf(block);
  kernel([...ins, ...lines, ...outs, ...buffers.map((length) => new Float64Array(length))]);
}

/** The operands whose memory a result of a block may be written to. */
export const replaceable = (block: Block, result: number): readonly number[] =>
  loopOf(block).inPlace[result] ?? [];
