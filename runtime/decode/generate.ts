// Answers to prompts, token by token.
import { fail } from "../../compiler/diag.ts";
import { range } from "../../compiler/ir/shape.ts";
import { logSumExp } from "../eval/log-softmax.ts";
import { random } from "../random.ts";
import { EACH, type Generator } from "./generator.ts";
import { greedy, openSampler, type Sampler, type Sampling } from "./sampling.ts";

export type GenerateOptions = {
  readonly sampling: Sampling;
  /** Each row draws random numbers of its own from this seed, whatever the others do. */
  readonly seed: number;
  /** The most tokens of an answer, end-of-text included. */
  readonly most: number;
  /** End-of-text: an answer ends with the first of these. */
  readonly stops: ReadonlySet<number>;
  /** By id, 1 where it may be chosen; all may if it is not given. */
  readonly isAllowed?: Uint8Array;
  /** Hears the logits of each prompt, [tokens, vocab], before its answer. */
  onPrompt?(row: number, logits: Float32Array): void;
};

/** One more token of a row's answer, and why it is the last if it is. */
export type Token = {
  readonly row: number;
  readonly id: number;
  /** Its log probability among all tokens, whatever the way it was chosen. */
  readonly logProb: number;
  readonly end?: "stop" | "length";
};

/** A token chosen for a row. */
export type Choice = Pick<Token, "id" | "logProb">;

/** Rows that go on from their prompts, in whatever way tokens are chosen. */
export type Continuation = {
  /**
   * The next tokens of each row: one or more, but at most as many as there is room for, and none without room. The
   * first time the prompts are read, even if there is no room. A row that was left without room does not go on.
   */
  next(room: readonly number[]): readonly (readonly Choice[])[];
  drop(): void;
};

/** What a sampler makes of the logits of one position. */
export function choose(logits: Float32Array, sampler: Sampler): Choice {
  const id = sampler(logits);
  return { id, logProb: (logits[id] ?? Number.NaN) - logSumExp(logits) };
}

export function refuseEmpty(prompts: readonly (readonly number[])[]): void {
  if (prompts.some((prompt) => prompt.length === 0))
    fail(
      {
        code: "decode-prompt",
        message: "the prompt has no tokens, and so nothing to continue",
        help: "give a text, or use a tokenizer with a beginning-of-text token and add_bos=true",
      },
      2,
    );
}

/** The tokens of rows that go on, until each has come to its end or the caller asks for no more. */
export function* follow(
  rows: number,
  going: Continuation,
  { most, stops }: Pick<GenerateOptions, "most" | "stops">,
): globalThis.Generator<Token, void> {
  const left = range(rows).map(() => most);
  try {
    do {
      for (const [row, choices] of going.next(left).entries())
        for (const choice of choices) {
          const room = (left[row] ?? 0) - 1;
          const end = stops.has(choice.id) ? "stop" : room === 0 ? "length" : undefined;
          left[row] = end ? 0 : room;
          yield { row, ...choice, ...(end && { end }) };
          if (end) break;
        }
    } while (left.some((room) => room > 0));
  } finally {
    going.drop();
  }
}

/** Continues prompts of at least one token side by side, as long as the caller asks. */
export function* generate(
  generator: Generator,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): globalThis.Generator<Token, void> {
  refuseEmpty(prompts);
  yield* follow(prompts.length, tokenByToken(generator, prompts, options), options);
}

function tokenByToken(
  generator: Generator,
  prompts: readonly (readonly number[])[],
  { sampling, seed, isAllowed, onPrompt }: GenerateOptions,
): Continuation {
  const samplers = prompts.map((_, row) => openSampler(sampling, random(seed, row), isAllowed));
  let sequences = generator.start(prompts.length);
  let chosen: readonly (readonly Choice[])[] | undefined;
  const feed = (room: readonly number[]): readonly Float32Array[] => {
    const given = chosen?.map((own, row) => (room[row] === 0 ? [] : own.map(({ id }) => id))) ?? prompts;
    const fed = generator.feed(sequences, given, { wanted: !chosen && onPrompt ? EACH : 1 });
    sequences = fed.sequences;
    if (!chosen && onPrompt) for (const [row, each] of fed.logits.entries()) onPrompt(row, each);
    return fed.logits.map((each) => each.subarray(-generator.vocab));
  };
  return {
    next(room) {
      const logits = feed(room);
      chosen = samplers.map((sampler, row) => {
        const own = logits[row];
        return own && room[row] !== 0 ? [choose(own, sampler)] : [];
      });
      return chosen;
    },
    drop: () => generator.drop(sequences),
  };
}

/** Continues a prompt with the likeliest tokens, as many as asked for. */
export const continueGreedily = (
  generator: Generator,
  prompt: readonly number[],
  most: number,
  isAllowed?: Uint8Array,
): number[] =>
  Array.from(
    generate(generator, [prompt], {
      sampling: greedy,
      seed: 0,
      most,
      stops: new Set(),
      ...(isAllowed && { isAllowed }),
    }),
    ({ id }) => id,
  );
