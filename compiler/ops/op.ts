// The record that holds everything known about an op. Shared code asks the record; it never asks for a name.
import type * as tfjs from "@tensorflow/tfjs-core";
import { bug, counted, fail } from "../diag.ts";
import { isFloat } from "../dtype.ts";
import { formatDims, formatType, joinLabels, rankOf } from "../ir/shape.ts";
import type { Attrs, Block, Dim, TensorType, Value } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { NumberArray } from "./loops.ts";

export type Tfjs = typeof tfjs;
export type Tensor = tfjs.Tensor;

/** What an attribute may be. `type` is the result's type: printed as the annotation, not among the attributes. */
export type AttrKind = "int" | "ints" | "float" | "bool" | "string" | "type";

/** Where a value of the forward pass waits for the backward pass; `remat`: nowhere, it is computed again. */
export type Place = "device" | "offload" | "remat";

/**
 * What a region's parameter is to its backward part: something it has too, anew in each step or the same in all, or
 * a value of the forward pass, which must be kept.
 */
export type Binding = "sliced" | "fixed" | "carried";

/** What the backward part of a region may count on, and what is kept of the forward part. */
export type Keeping = {
  bindingOf(param: number): Binding;
  /** Where values with a name are kept; nothing else is. Absent: all that is read is kept. */
  placeOf?(name: string): Place;
};

export type Residual = { readonly value: Value; readonly name: string; readonly isOffloaded: boolean };

/** A region's two parts under differentiation, and what goes from one to the other. */
export type Split = {
  /** params → results, residuals. */
  readonly forward: Block;
  /** Operands, residuals, cotangents of the live results → cotangents of the float params. */
  readonly backward: Block;
  /** The params that the backward part reads. */
  readonly operands: readonly number[];
  readonly residuals: readonly Residual[];
  /** What the backward part computes again. */
  readonly recomputed: Block;
};

/** What a VJP rule sees: cotangents of the outputs, and the node it belongs to. */
export type VjpContext<T, A> = {
  /** The cotangent of an output, zeros when nothing flows back into it. */
  dy(index: number): T;
  /** Whether anything flows back into an output. */
  isLive(index: number): boolean;
  readonly ins: readonly T[];
  readonly outs: readonly T[];
  readonly attrs: A;
  readonly regions: readonly Block[];
  /** A region's forward part and the backward part for the results marked live. */
  split(region: Block, live: readonly boolean[], keeping: Keeping): Split;
  /** Gives the node that has run regions that yield more; what is new. */
  extend(region: Block, residuals: readonly Residual[]): readonly T[];
};

/** A matrix within a tensor: where it begins, and how far a row and a column are from the next. */
export type Matrix = { readonly offset: number; readonly row: number; readonly column: number };

/** c = a·b for [m, k] and [k, n]; zeros where k is 0. The columns of c lie side by side. */
export type Product = {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly a: Matrix;
  readonly b: Matrix;
  readonly c: { readonly offset: number; readonly row: number };
};

/** What a kernel sees besides its input tensors. */
export type RunContext = {
  readonly outs: readonly TensorType[];
  readonly regions: readonly Block[];
  /** Products of matrices within two tensors of floats, into a fresh one that they cover. */
  products(a: Tensor, b: Tensor, out: TensorType, all: readonly Product[]): Tensor;
  /** Runs plain loops over the operands' numbers into fresh results that hold anything. */
  onHost(
    ins: readonly Tensor[],
    outs: readonly TensorType[],
    compute: (ins: readonly NumberArray[], outs: readonly NumberArray[]) => void,
  ): Tensor[];
};

/** A node with some of its operands, regions' results and own results: which of them, by index. */
export type NodePart<A> = {
  readonly ins: readonly number[];
  readonly outs: readonly number[];
  readonly attrs: A;
  readonly regions: readonly Block[];
};

/**
 * What an op that runs regions needs, over real tensors when an engine runs it and over sizes alone when its memory is
 * planned: both see every tensor come and go at the same points.
 */
export type RegionMachine<T> = {
  /** A result of the node, to be written piece by piece. */
  fresh(type: TensorType): T;
  /** A copy of x at one index of axis 0. */
  slice(x: T, index: number, type: TensorType): T;
  write(into: T, index: number, piece: T): void;
  /** Another hold on the same memory. */
  share(x: T): T;
  drop(x: T): void;
  /** Runs a region. Operands that are `given` away go when the region has read them for the last time. */
  runRegion(block: Block, ins: readonly T[], given: readonly boolean[]): T[];
};

/** Where the elements of a result come from, for an op that only moves its operand's elements. */
export type Move =
  /** In the operand's row-major order, under other dims. */
  | { readonly kind: "reshape" }
  /** Repeated along new leading dims and dims of size 1. */
  | { readonly kind: "stretch" }
  /** Result axis i is operand axis `permutation[i]`. */
  | { readonly kind: "permute"; readonly permutation: readonly number[] }
  /** The box that begins at `starts`. */
  | { readonly kind: "window"; readonly starts: readonly number[] };

/** How an op folds its operand over axes, which disappear; what is folded so far is kept in double precision. */
export type Fold = {
  readonly axes: readonly number[];
  /** What is folded so far at the start, in the words of `scalar`. */
  readonly start: string;
  /** A statement that takes the element x into `so far`, in the words of `scalar`. */
  step(soFar: string, x: string): string;
};

/** Where a program stands that goes on from earlier tokens: i32 positions [b, t], and how many count in each row [b]. */
export type Cursor<T> = { readonly positions: T; readonly lengths: T };

/** How an op along time goes on where it stopped. */
export type Resume<A> = {
  /** What it keeps of earlier tokens, in words. */
  readonly states: readonly string[];
  /** What is kept lies by position and is written again before it is read, so going back to a position needs no copy. */
  readonly isRewindable: boolean;
  /** The op on the tokens at the cursor, after those that the states have seen; and the states that have seen these too. */
  run<T>(
    k: K<T>,
    ins: readonly T[],
    attrs: A,
    states: readonly T[],
    cursor: Cursor<T>,
  ): { readonly outs: readonly T[]; readonly states: readonly T[] };
};

/** All there is to know of an op, in one record: types and their errors, numbers, gradients, loops, memory. */
export type OpDef<A extends Attrs = Attrs> = {
  readonly name: string;
  /** One sentence; `q3c explain` prints it. */
  readonly doc: string;
  readonly attrs: { readonly [N in keyof A]: AttrKind };
  /** Result types, or an error that says which constraint is broken. */
  infer(ins: readonly TensorType[], attrs: A, regions: readonly Block[]): readonly TensorType[];
  /** Nothing flows back through it: its results are indices, masks or constants. */
  readonly discrete?: true;
  /** Cotangents of the inputs, `null` where there is none. Absent: differentiate the decomposition. */
  vjp?<T>(k: K<T>, cx: VjpContext<T, A>): readonly (T | null)[];
  /** Its own kernel does less than the simpler ops would: fusion leaves it whole. */
  readonly isWhole?: true;
  /** The op in simpler ops. An op without `run` or `update` must have one. */
  decompose?<T>(k: K<T>, ins: readonly T[], attrs: A, regions: readonly Block[]): readonly T[];
  /**
   * One element of the result as an expression over one element of each operand, in the words common to JavaScript's
   * Math and C's math.h. An op that has it is elementwise. One that has it, `moves`, `folds` or `line` needs no `run`.
   */
  scalar?(operands: readonly string[], attrs: A, out: TensorType): string;
  /** Its `scalar` calls a function: no element is worth computing twice. */
  readonly costly?: true;
  /** It only moves elements: a fused loop reads them where they are. */
  moves?(attrs: A): Move;
  /** It folds axes: a fused loop does it on the way. */
  folds?(attrs: A): Fold;
  /** It depends on nothing but the index along one axis: a fused loop reads its values there. */
  line?(attrs: A): { readonly axis: number; readonly values: Int32Array };
  /** Runs its regions, or only passes its operand on; an op that has it needs no `run`. */
  control?<T>(
    machine: RegionMachine<T>,
    ins: readonly T[],
    attrs: A,
    regions: readonly Block[],
  ): readonly T[];
  /** The numeric meaning on tfjs tensors. */
  run?(tf: Tfjs, ins: readonly Tensor[], attrs: A, cx: RunContext): Tensor | Tensor[];
  /**
   * Changes numbers of its first operand, which are `into`: their own place where nobody else reads them any more, a
   * copy elsewhere. Takes the place of `run`.
   */
  update?(into: NumberArray, others: readonly NumberArray[], types: readonly TensorType[], attrs: A): void;
  /** Absent: it sees each token alone, or all of them at once. */
  readonly resume?: Resume<A>;
  /** Work done, when it is not one flop per element written. */
  flops?(ins: readonly TensorType[], outs: readonly TensorType[], attrs: A): number;
  /** What is left of a node with regions when only some of its results are read. */
  prune?(
    whole: NodePart<A>,
    isLive: (result: number) => boolean,
    dropDead: (block: Block) => Block,
  ): NodePart<A>;
  /** How a loop binds a parameter of its region. */
  bindingOf?(param: number, attrs: A): Binding;
  /** The name by which a rematerialisation policy may keep the operand; such an op is the identity. */
  tag?(attrs: A): string;
};

/** An op's constraint is broken: `dot_general: contracted sizes differ: embed=64 and mlp=32`. */
export function broken(op: string, message: string): never {
  return fail({ code: "bad-operands", message: `\`${op}\`: ${message}` });
}

/** The operand at a position; the count is checked once, when the node is built. */
export function at<X>(items: readonly X[], index: number): X {
  const item = items[index];
  if (item === undefined) bug(`operand ${index} of ${items.length}`);
  return item;
}

/** As many operands as the op takes. */
export function expectArity(op: string, ins: readonly unknown[], count: number): void {
  if (ins.length !== count) broken(op, `takes ${counted(count, "operand")}, got ${ins.length}`);
}

/** Axes of x, each at most once. */
export function expectAxes(op: string, x: TensorType, axes: readonly number[]): void {
  if (axes.some((axis) => axis < 0 || axis >= rankOf(x)) || new Set(axes).size !== axes.length)
    broken(op, `axes [${axes}] of [${formatDims(x.dims)}]`);
}

/** Floats, all of one dtype. */
export function expectFloats(op: string, ...xs: readonly TensorType[]): void {
  for (const x of xs) {
    if (!isFloat(x.dtype)) broken(op, `takes floats, got ${formatType(x)}`);
    if (x.dtype !== xs[0]?.dtype) broken(op, `dtypes differ: ${xs[0]?.dtype} and ${x.dtype}`);
  }
}

/** Dims equal in size and, where both have a name, in name. */
export function expectDims(op: string, what: string, found: readonly Dim[], wanted: readonly Dim[]): void {
  const fits =
    found.length === wanted.length &&
    found.every(
      (d, i) => d.size === wanted[i]?.size && joinLabels(d.label, wanted[i]?.label ?? "_") !== undefined,
    );
  if (!fits) broken(op, `${what} [${formatDims(wanted)}], got [${formatDims(found)}]`);
}

/** A label that a dim of IR text can carry. */
export function expectLabel(op: string, label: string): void {
  if (!/^[\w*]+$/.test(label)) broken(op, `a dim's label is a word, got ${JSON.stringify(label)}`);
}
