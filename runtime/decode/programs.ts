// Decode programs of one model, compiled when first needed: one per shape of a run.
import type { Elaborated, StateDecl } from "../../compiler/arch/context.ts";
import { invariant } from "../../compiler/diag.ts";
import { dimAt, elements } from "../../compiler/ir/shape.ts";
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
};

/** How a run is compiled. */
export type RunOptions = {
  /** Whether the states it was given shall still be there. */
  readonly isKept: boolean;
  /** Whether it gives what one token at a time gives, to the bit. */
  readonly isStepwise: boolean;
};

/** The logits' and the taps' numbers, [rows, steps, width] row-major. */
export type Values = { readonly data: Float32Array; readonly width: number };

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

/** The programs that `elaborate` gives for a number of rows and of tokens of each, over weights with an engine. */
export function openPrograms(
  engine: Engine,
  resident: Resident,
  elaborate: (batch: number, seq: number, isStepwise: boolean) => Elaborated,
): Programs {
  const compile = (batch: number, seq: number, { isKept, isStepwise }: RunOptions) => {
    const { module, params, states } = elaborate(batch, seq, isStepwise);
    const { params: ins, results } = module.body;
    const first = ins.length - states.length;
    const donated = states.flatMap(({ isRewindable }, i) => (isRewindable || !isKept ? [first + i] : []));
    return {
      executable: engine.compile(module, { donated }),
      inputs: ins.filter((_, i) => module.roles[i] === "input").map(({ type }) => type),
      held: resident.of(params),
      widths: results.slice(0, results.length - states.length).map(({ type }) => dimAt(type, 2).size),
      states,
    };
  };
  const compiled = new Map<string, ReturnType<typeof compile>>();
  const programOf = (rows: number, steps: number, options: RunOptions) => {
    // One token alone is stepwise.
    const isStepwise = steps === 1 || options.isStepwise;
    const key = `${rows} ${steps} ${options.isKept} ${isStepwise}`;
    const made = compiled.get(key) ?? compile(rows, steps, { ...options, isStepwise });
    compiled.set(key, made);
    return made;
  };
  const states = (rows: number): readonly StateDecl[] =>
    programOf(rows, 1, { isKept: false, isStepwise: true }).states;
  return {
    states,
    zeros: (rows) =>
      states(rows).map(({ value: { type } }) => engine.upload(type, new Float32Array(elements(type)))),
    run({ steps, tokens, positions, hidden, counts }, given, options) {
      const { executable, inputs: types, held, widths } = programOf(counts.length, steps, options);
      const data = [tokens, positions, ...(hidden ? [hidden] : []), counts];
      invariant(data.length === types.length, "data for every input");
      const inputs = types.map((type, i) => engine.upload(type, data[i] ?? counts));
      const results = executable.run([...inputs, ...held, ...given]);
      const read = results.slice(0, widths.length);
      const values = widths.map((width, i) => {
        const buffer = read[i];
        invariant(buffer, "a result for each width");
        return { data: engine.download(buffer) as Float32Array, width };
      });
      for (const buffer of [...inputs, ...read]) engine.release(buffer);
      return { values, states: results.slice(widths.length) };
    },
  };
}
