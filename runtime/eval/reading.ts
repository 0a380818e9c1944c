// One text being read: a generator's row, for those who do not go on with many at once.

import { invariant } from "../../compiler/diag.ts";
import type { Generator } from "../decode/generator.ts";

export type Reading = {
  /** Reads on, a token at least; gives the logits [wanted, vocab] of as many of its last tokens, 1 unless told. */
  read(tokens: readonly number[], wanted?: number): Float32Array;
  /** Reads on likewise, and then is where it was. */
  peek(tokens: readonly number[], wanted?: number): Float32Array;
  /** Lets go of what was kept of the text. */
  close(): void;
};

/** Begins a text. */
export function beginReading(generator: Generator): Reading {
  let here = generator.start(1);
  const feed = (tokens: readonly number[], wanted: number, isKept: boolean) => {
    const { sequences, logits } = generator.feed(here, [tokens], { wanted, isKept });
    const [row] = logits;
    invariant(row, "a row of logits for a row of tokens");
    return { sequences, row };
  };
  return {
    read(tokens, wanted = 1) {
      const { sequences, row } = feed(tokens, wanted, false);
      here = sequences;
      return row;
    },
    peek(tokens, wanted = 1) {
      const { sequences, row } = feed(tokens, wanted, true);
      generator.drop(sequences);
      return row;
    },
    close: () => generator.drop(here),
  };
}
