// Decode programs of one model, compiled when first needed: one per shape of a run.
import type { Elaborated, StateDecl } from "../../compiler/arch/context.ts";
import { invariant } from "../../compiler/diag.ts";
import { dimAt, elements } from "../../compiler/ir/shape.ts";
import type { DecodeOptions } from "../../compiler/model.ts";
import type { Buffer, Engine } from "../engines/engine.ts";
import type { Resident } from "../resident.ts";

/** Tokens of some rows, [rows, steps] row-major, of which the first `counts` of each row count. */
export type Chunk = {
  readonly steps: number;
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  /** What a draft's program takes beside each token, [rows, steps, width]. */
  readonly hidden: Float32Array | undefined;
  readonly counts: Int32Array;
  /** Of how many of each row's last tokens logits are wanted, at least 1. */
  readonly wanted: number;
};

/** How a run is compiled. */
export type RunOptions = {
  /** Whether the states it was given shall still be there. */
  readonly isKept: boolean;
  /** Whether it gives what one token at a time gives, to the bit. */
  readonly isStepwise: boolean;
};

/**
 * The logits' or a tap's numbers, [rows, steps, width] row-major: of all the chunk's steps, or of fewer that end with
 * each row's last token.
 */
export type Values = { readonly data: Float32Array; readonly steps: number; readonly width: number };

/** The shape of a decode program. */
export type Shape = Required<Pick<DecodeOptions, "batch" | "seq" | "wanted" | "isStepwise">>;

/** Decode programs by shape, each compiled when it is first run. */
export type Programs = {
  readonly states: (rows: number) => readonly StateDecl[];
  /** States of rows that have seen nothing. */
  zeros(rows: number): Buffer[];
  /**
   * Runs a chunk. It takes the states over and gives their successors; with `isKept`, only those that can be gone back
   * to without a copy.
   */
  run(chunk: Chunk, states: readonly Buffer[], options: RunOptions): { values: Values[]; states: Buffer[] };
};

/** The programs that `elaborate` gives for shapes, over weights with an engine. */
export function openPrograms(
  engine: Engine,
  resident: Resident,
  elaborate: (shape: Shape) => Elaborated,
): Programs {
  const compile = (shape: Shape, isKept: boolean) => {
    const { module, params, states } = elaborate(shape);
    const { params: ins, results } = module.body;
    const first = ins.length - states.length;
    const donated = states.flatMap(({ isRewindable }, i) => (isRewindable || !isKept ? [first + i] : []));
    return {
      executable: engine.compile(module, { donated }),
      inputs: ins.filter((_, i) => module.roles[i] === "input").map(({ type }) => type),
      held: resident.of(params),
      shapes: results
        .slice(0, results.length - states.length)
        .map(({ type }) => ({ steps: dimAt(type, 1).size, width: dimAt(type, 2).size })),
      states,
    };
  };
  const compiled = new Map<string, ReturnType<typeof compile>>();
  const programOf = (batch: number, seq: number, wanted: number, options: RunOptions) => {
    // One token alone is stepwise.
    const isStepwise = seq === 1 || options.isStepwise;
    const key = `${batch} ${seq} ${wanted} ${options.isKept} ${isStepwise}`;
    const made = compiled.get(key) ?? compile({ batch, seq, wanted, isStepwise }, options.isKept);
    compiled.set(key, made);
    return made;
  };
  const states = (rows: number): readonly StateDecl[] =>
    programOf(rows, 1, 1, { isKept: false, isStepwise: true }).states;
  return {
    states,
    zeros: (rows) =>
      states(rows).map(({ value: { type } }) => engine.upload(type, new Float32Array(elements(type)))),
    run({ steps, tokens, positions, hidden, counts, wanted }, given, options) {
      const { executable, inputs: types, held, shapes } = programOf(counts.length, steps, wanted, options);
      const data = [tokens, positions, ...(hidden ? [hidden] : []), counts];
      invariant(data.length === types.length, "data for every input");
      const inputs = types.map((type, i) => engine.upload(type, data[i] ?? counts));
      const results = executable.run([...inputs, ...held, ...given]);
      const read = results.slice(0, shapes.length);
      const values = shapes.map((shape, i) => {
        const buffer = read[i];
        invariant(buffer, "a result for each shape");
        return { data: engine.download(buffer) as Float32Array, ...shape };
      });
      for (const buffer of [...inputs, ...read]) engine.release(buffer);
      return { values, states: results.slice(shapes.length) };
    },
  };
}
