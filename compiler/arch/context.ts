// What an elaboration carries around: its options, tables, and what a name stands for.
import type { CallExpression } from "../config/expression.ts";
import { type ConfigValue, describeValue } from "../config/value.ts";
import { fail, type Span } from "../diag.ts";
import type { DType } from "../dtype.ts";
import type { BlockBuilder } from "../ir/build.ts";
import type { Dim, Module, Value } from "../ir/types.ts";
import type { Cursor } from "../ops/op.ts";
import type { Frame } from "./frame.ts";
import type { ParamDecl, Stacked } from "./param.ts";
import type { Architecture, BlockDef } from "./syntax.ts";

/** A state, where an op was told to keep it, and what it is after this program's tokens. */
export type StateSlot = {
  readonly path: string;
  readonly value: Value;
  readonly at: Span;
  keptAt?: Span;
  next?: { readonly value: Value; readonly isRewindable: boolean };
};

/** What a name or an expression stands for while elaborating. */
export type Entity =
  | { readonly kind: "state"; readonly slot: StateSlot }
  | { readonly kind: "scalar"; readonly value: ConfigValue }
  | { readonly kind: "tensors"; readonly values: readonly Value[] };

export type ElaborateOptions = {
  /** A configuration value, or nothing when there is no such key. */
  find(name: string): ConfigValue | undefined;
  readonly keys: readonly string[];
  readonly activationDType: DType;
  readonly weightDType: DType;
  /** Sizes that take the place of the declared ones: another batch or sequence length. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Names of `sow` statements whose values become results after the model's own. */
  readonly taps?: readonly string[];
  /** Whether the program goes on from earlier tokens; else it begins with the first, and states are as at the start. */
  readonly isResumed?: boolean;
  /** Of how many of each row's last tokens a program that goes on gives logits: of all unless told. */
  readonly wanted?: number | undefined;
};

/** What a program takes of earlier tokens and gives for later ones, named by its path. */
export type StateDecl = {
  readonly path: string;
  readonly value: Value;
  /** Going back to an earlier position needs no copy of it. */
  readonly isRewindable: boolean;
};

/** A program, and what its parameters and results are. */
export type Elaborated = {
  /**
   * Parameters: the model's inputs (a program that goes on from earlier tokens also takes `lengths`, how many count in
   * each row), the parameters in order of appearance, the states. Results: the model's, the taps', the states'.
   */
  readonly module: Module;
  readonly params: readonly ParamDecl[];
  readonly states: readonly StateDecl[];
  /** How many results each tap has, in the order asked for. */
  readonly taps: ReadonlyMap<string, number>;
};

export type Scope = Map<string, Entity>;
export type Place = {
  readonly path: string;
  readonly origin: string;
  /** The path where layers are stacked, and which call of `stacked` it is under. */
  readonly stack: Stacked | undefined;
};

/** Everything an elaboration carries around. */
export type Context = {
  readonly arch: Architecture;
  readonly options: ElaborateOptions;
  readonly dims: Map<string, { size: number; at: Span }>;
  readonly builder: BlockBuilder;
  readonly params: Map<string, ParamDecl>;
  readonly states: Map<string, StateSlot>;
  /** The dims of the program's tokens, [batch, seq]. */
  tokens: readonly Dim[];
  /** Where a program stands that goes on from earlier tokens. */
  cursor?: Cursor<Value>;
  /** Tensors that parameters come from, and where each was named. */
  readonly homes: Map<string, Span>;
  readonly sown: Map<string, Value[]>;
  /** The blocks whose calls are under way. */
  readonly running: Set<BlockDef>;
  /** Where a value got its name, for the second span of an error. */
  readonly declared: Map<Value, Span>;
  /** Runs a block's body for a call; statements and expressions need each other. */
  callBlock(frame: Frame, block: BlockDef, call: CallExpression): readonly Value[];
};

/** The one tensor an entity is, or an error at the place that wants one. */
export const single = (x: Entity, at: Span): Value => {
  if (x.kind === "state")
    return fail({
      code: "arch-state",
      message: "a tensor is wanted, this is a state",
      at,
      notes: [{ message: "declared here", at: x.slot.at }],
      help: "an op goes on from it with keep=…",
    });
  if (x.kind === "scalar")
    return fail({ code: "arch-type", message: `a tensor is wanted, this is ${describeValue(x.value)}`, at });
  const [only] = x.values;
  if (!only || x.values.length !== 1)
    return fail({ code: "arch-type", message: `one tensor is wanted, this gives ${x.values.length}`, at });
  return only;
};
