// One text being read: a generator's row, for those who do not go on with many at once.

import { invariant } from "../../compiler/diag.ts";
import type { Generator } from "../decode/generator.ts";

export type Reading = {
  /** Reads on, a token at least; gives the logits [tokens, vocab] of each of these tokens, or [vocab] of the last. */
  read(tokens: readonly number[], isEach: boolean): Float32Array;
  /** Reads on likewise, and then is where it was. */
  peek(tokens: readonly number[], isEach: boolean): Float32Array;
  /** Lets go of what was kept of the text. */
  close(): void;
};

/** Begins a text. */
export function beginReading(generator: Generator): Reading {
  let here = generator.start(1);
  const feed = (tokens: readonly number[], isEach: boolean, isKept: boolean) => {
    const { sequences, logits } = generator.feed(here, [tokens], { isEach, isKept });
    const [row] = logits;
    invariant(row, "a row of logits for a row of tokens");
    return { sequences, row };
  };
  return {
    read(tokens, isEach) {
      const { sequences, row } = feed(tokens, isEach, false);
      here = sequences;
      return row;
    },
    peek(tokens, isEach) {
      const { sequences, row } = feed(tokens, isEach, true);
      generator.drop(sequences);
      return row;
    },
    close: () => generator.drop(here),
  };
}
