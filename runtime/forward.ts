// A model ready to run forward on one sequence: weights with the engine, programs compiled per length.
import type { Config } from "../compiler/config/load.ts";
import { invariant } from "../compiler/diag.ts";
import { dimAt } from "../compiler/ir/shape.ts";
import { forwardModel } from "../compiler/model.ts";
import type { Weights } from "./checkpoint/hugging-face.ts";
import type { Buffer, Engine, Executable } from "./engines/engine.ts";

/** Logits of every position, row-major [length, vocab]. */
export type Logits = { readonly logits: Float32Array; readonly vocab: number };

export type Forward = {
  /** Logits of a sequence, and the values of the taps it was made with. */
  run(tokens: readonly number[]): Logits & { readonly taps: readonly Float32Array[] };
  release(): void;
};

type Program = { readonly executable: Executable; readonly vocab: number };

/** A forward runner over weights in the layout of the model's own parameters. */
export function openForward(
  config: Config,
  engine: Engine,
  weights: Weights,
  taps: readonly string[] = [],
): Forward {
  const programs = new Map<number, Program>();
  const buffers = new Map<string, Buffer>();
  const compiled = (length: number): Program => {
    const known = programs.get(length);
    if (known) return known;
    const { module, params } = forwardModel(config, { sizes: { batch: 1, seq: length }, taps });
    for (const { path, value } of params) {
      const data = weights.get(path);
      invariant(data, `no weights for ${path}`);
      if (!buffers.has(path)) buffers.set(path, engine.upload(value.type, data));
    }
    const [logits] = module.body.results;
    invariant(logits, "a model gives logits");
    const made = { executable: engine.compile(module), vocab: dimAt(logits.type, 2).size };
    programs.set(length, made);
    return made;
  };
  return {
    run(tokens) {
      const { executable, vocab } = compiled(tokens.length);
      const type = {
        dtype: "i32",
        dims: [
          { label: "batch", size: 1 },
          { label: "seq", size: tokens.length },
        ],
      } as const;
      const inputs = [
        engine.upload(type, Int32Array.from(tokens)),
        engine.upload(type, Int32Array.from(tokens.keys())),
      ];
      const results = executable.run([...inputs, ...buffers.values()]);
      const [logits, ...tapped] = results.map((result) => engine.download(result) as Float32Array);
      for (const buffer of [...inputs, ...results]) engine.release(buffer);
      invariant(logits, "a model gives logits");
      return { logits, vocab, taps: tapped };
    },
    release() {
      for (const buffer of buffers.values()) engine.release(buffer);
    },
  };
}

/** The index of the largest logit of one position among ids below `limit`; the lower index at a tie. */
export function argmax({ logits, vocab }: Logits, position: number, limit = vocab): number {
  const row = logits.subarray(position * vocab, position * vocab + Math.min(limit, vocab));
  return row.reduce((best, x, i) => (x > (row[best] ?? Number.NEGATIVE_INFINITY) ? i : best), 0);
}

/**
 * Continues a prompt greedily. The sequence is padded to its final length once: later positions cannot reach earlier
 * ones, so one program serves every step.
 */
export function continueGreedily(
  forward: Forward,
  prompt: readonly number[],
  count: number,
  limit?: number,
): number[] {
  const tokens = [...prompt];
  const total = prompt.length + count;
  while (tokens.length < total) {
    const padded = [...tokens, ...new Array<number>(total - tokens.length).fill(0)];
    tokens.push(argmax(forward.run(padded), tokens.length - 1, limit));
  }
  return tokens.slice(prompt.length);
}
