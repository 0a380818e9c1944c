// Decode programs of one model, compiled when first needed: weights with the engine, one program per shape of a run.
import type { StateDecl } from "../../compiler/arch/context.ts";
import type { Config } from "../../compiler/config/load.ts";
import { invariant } from "../../compiler/diag.ts";
import { dimAt, elements } from "../../compiler/ir/shape.ts";
import { decodeModel } from "../../compiler/model.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import type { Buffer, Engine } from "../engines/engine.ts";

/** Tokens of some rows, [rows, steps] row-major, of which the first `counts` of each row count. */
export type Chunk = {
  readonly steps: number;
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly counts: Int32Array;
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
  run(chunk: Chunk, states: readonly Buffer[], isKept: boolean): { values: Values[]; states: Buffer[] };
  release(): void;
};

/** The programs of a configuration's model, over weights in the layout of its own parameters. */
export function openPrograms(
  config: Config,
  engine: Engine,
  weights: Weights,
  length: number,
  taps: readonly string[],
): Programs {
  const params = new Map<string, Buffer>();
  const compile = (batch: number, seq: number, isKept: boolean) => {
    const { module, params: declared, states } = decodeModel(config, { batch, seq, length, taps });
    for (const { path, value } of declared) {
      if (params.has(path)) continue;
      const data = weights.get(path);
      invariant(data, `no weights for ${path}`);
      params.set(path, engine.upload(value.type, data));
    }
    const { params: ins, results } = module.body;
    const [tokens, , lengths] = ins;
    invariant(tokens && lengths, "a decode program takes tokens, positions and lengths");
    const first = ins.length - states.length;
    const donated = states.flatMap(({ isRewindable }, i) => (isRewindable || !isKept ? [first + i] : []));
    return {
      executable: engine.compile(module, { donated }),
      tokenType: tokens.type,
      lengthType: lengths.type,
      widths: results.slice(0, results.length - states.length).map(({ type }) => dimAt(type, 2).size),
      states,
    };
  };
  const compiled = new Map<string, ReturnType<typeof compile>>();
  const programOf = (rows: number, steps: number, isKept: boolean) => {
    const key = `${rows} ${steps} ${isKept}`;
    const made = compiled.get(key) ?? compile(rows, steps, isKept);
    compiled.set(key, made);
    return made;
  };
  const states = (rows: number): readonly StateDecl[] => programOf(rows, 1, false).states;
  return {
    states,
    zeros: (rows) =>
      states(rows).map(({ value: { type } }) => engine.upload(type, new Float32Array(elements(type)))),
    run({ steps, tokens, positions, counts }, given, isKept) {
      const { executable, tokenType, lengthType, widths } = programOf(counts.length, steps, isKept);
      const inputs = [
        engine.upload(tokenType, tokens),
        engine.upload(tokenType, positions),
        engine.upload(lengthType, counts),
      ];
      const results = executable.run([...inputs, ...params.values(), ...given]);
      const read = results.slice(0, widths.length);
      const values = widths.map((width, i) => {
        const buffer = read[i];
        invariant(buffer, "a result for each width");
        return { data: engine.download(buffer) as Float32Array, width };
      });
      for (const buffer of [...inputs, ...read]) engine.release(buffer);
      return { values, states: results.slice(widths.length) };
    },
    release() {
      for (const buffer of params.values()) engine.release(buffer);
      params.clear();
    },
  };
}
