// Speculative greedy decoding: a head drafts some tokens, the model reads them all at once and keeps those that it
// would have chosen itself. What comes out is what the model alone chooses, token for token.
import type { Config } from "../../compiler/config/load.ts";
import { invariant } from "../../compiler/diag.ts";
import { range } from "../../compiler/ir/shape.ts";
import { decodeDraft, decodeModel } from "../../compiler/model.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import type { Engine } from "../engines/engine.ts";
import { random } from "../random.ts";
import { openResident } from "../resident.ts";
import {
  type Choice,
  type Continuation,
  choose,
  follow,
  type GenerateOptions,
  refuseEmpty,
  type Token,
} from "./generate.ts";
import {
  EACH,
  type FeedOptions,
  type Generator,
  type GeneratorOptions,
  generatorOver,
  joined,
  type Sequences,
} from "./generator.ts";
import { greedy, openSampler } from "./sampling.ts";

/** A model and the head that drafts for it, over the same weights. Both give their last hidden states as a tap. */
export type DraftingPair = {
  readonly model: Omit<Generator, "release">;
  readonly draft: Omit<Generator, "release">;
  release(): void;
};

/** Opens a model with its head; the weights hold both. */
export function openDraftingPair(
  config: Config,
  engine: Engine,
  weights: Weights,
  options: Omit<GeneratorOptions, "taps"> = {},
): DraftingPair {
  const resident = openResident(engine, weights);
  const over = (elaborate: typeof decodeModel) =>
    generatorOver(config, engine, resident, elaborate, { ...options, taps: ["normed"] });
  const head: typeof decodeModel = (...args) => {
    const made = decodeDraft(...args);
    invariant(made, "only an architecture with a draft has weights of one");
    return made;
  };
  return { model: over(decodeModel), draft: over(head), release: resident.release };
}

/**
 * How drafts fared, by their place: how often there was one, and how often it and all before it were the model's
 * choice. It is counted on by all that share it.
 */
export type Acceptance = { readonly drafted: number[]; readonly accepted: number[] };

export type SpeculateOptions = Omit<GenerateOptions, "sampling" | "seed"> & {
  /** The most tokens drafted at a time. */
  readonly drafts: number;
  readonly acceptance: Acceptance;
};

/** Continues prompts of at least one token side by side with the likeliest tokens, as long as the caller asks. */
export function* speculate(
  pair: DraftingPair,
  prompts: readonly (readonly number[])[],
  options: SpeculateOptions,
): globalThis.Generator<Token, void> {
  refuseEmpty(prompts);
  yield* follow(prompts.length, draftByDraft(pair, prompts, options), options);
}

/**
 * The most tokens that are read again in front of drafts. The states of linear attention cannot go back: after a wrong
 * draft the model stands where it stood before, and reads the right tokens again together with the next drafts. Up to
 * here that costs less than a run of their own, which reads all weights and starts every kernel once more; copies of
 * the states after every token would cost memory and a program that gives them.
 */
const MOST_AGAIN = 4;

type Row = {
  /** The prompt and what was chosen since. */
  readonly tokens: number[];
  /** Last hidden states that the head has not seen yet, the last of them under the last token but one. */
  fresh: Float32Array[];
};

function draftByDraft(
  { model, draft }: DraftingPair,
  prompts: readonly (readonly number[])[],
  { drafts: most, acceptance: { drafted: tried, accepted }, isAllowed, onPrompt }: SpeculateOptions,
): Continuation {
  const sampler = openSampler(greedy, random(0), isAllowed);
  const rows: readonly Row[] = prompts.map((prompt) => ({ tokens: [...prompt], fresh: [] }));
  let base = model.start(rows.length);
  let draftBase = draft.start(rows.length);

  /** Rows of a table [count, width] as arrays of their own. */
  const split = (table: Float32Array, count: number): Float32Array[] =>
    range(count).map((i) => table.slice((i * table.length) / count, ((i + 1) * table.length) / count));

  const pendingOf = ({ tokens }: Row, row: number): number[] => tokens.slice(base.lengths[row]);

  /** Feeds the head; by row its logits and hidden state after the last token. */
  function feedDraft(from: Sequences, given: readonly (readonly number[])[], options: FeedOptions) {
    const { sequences, logits, taps } = draft.feed(from, given, options);
    const none = new Float32Array(0);
    const hidden = given.map(({ length }, row) => split(taps[0]?.[row] ?? none, length).at(-1) ?? none);
    return { sequences, logits, hidden };
  }

  /** Shows the head every hidden state whose next token is known. */
  function catchUp() {
    const counts = rows.map(({ tokens, fresh }, row) =>
      Math.min(fresh.length, tokens.length - 1 - (draftBase.lengths[row] ?? 0)),
    );
    if (counts.every((count) => count === 0)) return undefined;
    const given = rows.map(({ tokens }, row) => {
      const from = (draftBase.lengths[row] ?? 0) + 1;
      return tokens.slice(from, from + (counts[row] ?? 0));
    });
    const hidden = rows.map(({ fresh }, row) => joined(fresh.slice(0, counts[row])));
    rows.forEach((row, i) => {
      row.fresh = row.fresh.slice(counts[i]);
    });
    const fed = feedDraft(draftBase, given, { hidden });
    draftBase = fed.sequences;
    return fed;
  }

  /** The prompts, in the runs that a generator makes of them, so that what comes of them is the same. */
  function readPrompts(room: readonly number[]): Choice[][] {
    const longest = Math.max(...prompts.map((prompt) => prompt.length));
    const read: Float32Array[][] = prompts.map(() => []);
    for (let from = 0; from < longest; from += model.chunk) {
      const part = prompts.map((prompt) => prompt.slice(from, from + model.chunk));
      const fed = model.feed(base, part, { wanted: onPrompt ? EACH : 1 });
      base = fed.sequences;
      part.forEach((tokens, i) => {
        const [row, logits, hidden] = [rows[i], fed.logits[i], fed.taps[0]?.[i]];
        if (!row || !logits || !hidden || tokens.length === 0) return;
        row.fresh.push(...split(hidden, tokens.length));
        read[i] = onPrompt ? [...(read[i] ?? []), logits] : [logits];
      });
      catchUp();
    }
    return rows.map(({ tokens }, i) => {
      const logits = joined(read[i] ?? []);
      onPrompt?.(i, logits);
      if (room[i] === 0) return [];
      const first = choose(logits.subarray(-model.vocab), sampler);
      tokens.push(first.id);
      return [first];
    });
  }

  /** Drafts for rows, as many as each one's count. */
  function draftTokens(counts: readonly number[]): readonly (readonly number[])[] {
    const drafted: number[][] = rows.map(() => []);
    let fed = catchUp();
    let at = draftBase;
    for (let i = 0; fed && counts.some((count) => count > i); i++) {
      const { logits, hidden: last } = fed;
      const isOn = (row: number): boolean => (counts[row] ?? 0) > i;
      drafted.forEach((own, row) => {
        const table = logits[row];
        if (isOn(row) && table) own.push(sampler(table));
      });
      const goesOn = (row: number): boolean => (counts[row] ?? 0) > i + 1;
      if (!rows.some((_, row) => goesOn(row))) break;
      const given = drafted.map((own, row) => (goesOn(row) ? own.slice(-1) : []));
      const hidden = last.map((own, row) => (goesOn(row) ? own : new Float32Array(0)));
      fed = feedDraft(at, given, { hidden, isKept: at === draftBase });
      at = fed.sequences;
    }
    if (at !== draftBase) draft.drop(at);
    return drafted;
  }

  /** Reads what each row has pending, and its drafts; the tokens that the model chooses. */
  function verify(drafted: readonly (readonly number[])[], isOn: readonly boolean[]): Choice[][] {
    const behind = rows.map((row, i) => (isOn[i] ? pendingOf(row, i).slice(0, -1) : []));
    if (behind.some((tokens) => tokens.length > MOST_AGAIN))
      base = model.feed(base, behind, { isStepwise: true }).sequences;
    const pending = rows.map((row, i) => (isOn[i] ? pendingOf(row, i) : []));
    const isKept = drafted.some((own) => own.length > 0);
    const given = pending.map((tokens, row) => [...tokens, ...(drafted[row] ?? [])]);
    const fed = model.feed(base, given, { wanted: EACH, isStepwise: true, isKept });
    const chosen = rows.map((row, i): Choice[] => {
      const [own, logits, hidden] = [drafted[i] ?? [], fed.logits[i], fed.taps[0]?.[i]];
      const [count, known] = [given[i]?.length ?? 0, pending[i]?.length ?? 0];
      if (!logits || !hidden || count === 0) return [];
      const choices: Choice[] = [];
      for (const table of split(logits, count).slice(known - 1)) {
        const choice = choose(table, sampler);
        choices.push(choice);
        if (choice.id !== own[choices.length - 1]) break;
      }
      row.fresh.push(...split(hidden, count).slice(known - 1, known - 1 + choices.length));
      row.tokens.push(...choices.map(({ id }) => id));
      own.forEach((_, place) => {
        tried[place] = (tried[place] ?? 0) + 1;
        accepted[place] = (accepted[place] ?? 0) + (place < choices.length - 1 ? 1 : 0);
      });
      return choices;
    });
    const isRight = chosen.every((own, row) => !isOn[row] || own.length > (drafted[row]?.length ?? 0));
    if (isKept) model.drop(isRight ? base : fed.sequences);
    if (isRight) base = fed.sequences;
    return chosen;
  }

  return {
    next(room) {
      if (base.lengths.every((length) => length === 0)) return readPrompts(room);
      const counts = room.map((left) => Math.max(0, Math.min(most, left - 1)));
      return verify(
        draftTokens(counts),
        room.map((left) => left > 0),
      );
    },
    drop() {
      model.drop(base);
      draft.drop(draftBase);
    },
  };
}
