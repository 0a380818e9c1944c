// Text as its tokens come.
import type { Tokenizer } from "./tokenizer.ts";

/** Gives the text that tokens add; together it is what all of them decode to. */
export type TextStream = {
  /** What is sure once this token is there: a character of several tokens comes with the last. */
  push(id: number): string;
  /** What is left. */
  end(): string;
};

const UNFINISHED = "\uFFFD";

/** A stream that has seen no token. */
export function textStream(tokenizer: Tokenizer): TextStream {
  const ids: number[] = [];
  // Decoded together with a few tokens before it, a token has the spaces it would have in the whole.
  let [from, given] = [0, 0];
  const fresh = (): string => {
    const known = tokenizer.decode(ids.slice(from, given));
    return tokenizer.decode(ids.slice(from)).slice(known.length);
  };
  return {
    push(id) {
      ids.push(id);
      const text = fresh();
      if (text === "" || text.endsWith(UNFINISHED)) return "";
      [from, given] = [given, ids.length];
      return text;
    },
    end: fresh,
  };
}
