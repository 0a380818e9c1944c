// Sequences that go on from the tokens they have seen, row by row, any number of tokens at a time.
import type { Elaborated } from "../../compiler/arch/context.ts";
import type { Config } from "../../compiler/config/load.ts";
import { fail, invariant } from "../../compiler/diag.ts";
import { range } from "../../compiler/ir/shape.ts";
import { type DecodeOptions, decodeModel } from "../../compiler/model.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import type { Buffer, Engine } from "../engines/engine.ts";
import { openResident, type Resident } from "../resident.ts";
import { type Chunk, openPrograms, type RunOptions, type Values } from "./programs.ts";

export type GeneratorOptions = {
  /** The most tokens a row can have: room for them is taken at the start. max_target_length unless told. */
  readonly length?: number;
  /** The most tokens of a row that one run takes. */
  readonly chunk?: number;
  /** `sow` statements whose values, [batch, seq, width], come beside the logits. */
  readonly taps?: readonly string[];
};

/** Rows of tokens that were fed. They are no longer there once they are fed again, unless they are kept. */
export type Sequences = {
  /** How many tokens each row has. */
  readonly lengths: readonly number[];
};

export type FeedOptions = {
  /** Of how many of each row's last tokens the logits are wanted, if it is fed so many: 1 unless told, EACH for all. */
  readonly wanted?: number;
  /**
   * Keeps the sequences, to go back to. What attention keeps is shared and not copied: once they are fed again, those
   * that went on from them before are no longer there.
   */
  readonly isKept?: boolean;
  /**
   * Gives what feeding the tokens one by one gives, to the bit. That takes a time of its own for each of them; without
   * it, many are worked on at once and rounding differs.
   */
  readonly isStepwise?: boolean;
  /** By row [tokens fed, width], for a draft: what the model's `normed` was one token earlier. */
  readonly hidden?: readonly Float32Array[];
};

/** What came of feeding, by row; nothing for a row fed nothing. */
export type Fed = {
  readonly sequences: Sequences;
  /** [tokens wanted, vocab]. */
  readonly logits: readonly Float32Array[];
  /** In the order of the taps, [tokens fed, width]. */
  readonly taps: readonly (readonly Float32Array[])[];
};

/** Runs a model over rows of tokens that grow, and remembers what they have seen. */
export type Generator = {
  readonly vocab: number;
  /** The most tokens a row can have. */
  readonly length: number;
  /** The most tokens of a row that one run takes. */
  readonly chunk: number;
  /** Rows without tokens. */
  start(rows: number): Sequences;
  /** Feeds each row its next tokens; rows may be fed different numbers of tokens, or none. */
  feed(sequences: Sequences, rows: readonly (readonly number[])[], options?: FeedOptions): Fed;
  /** Lets go of sequences that are not fed any more, if they are still there. */
  drop(sequences: Sequences): void;
  /** Lets go of the weights. */
  release(): void;
};

/** Where a state lies. States that can be gone back to without a copy lie in one place for a whole family. */
type Cell = { buffer: Buffer };
type Held = Sequences & { readonly cells: readonly Cell[]; readonly family: Set<Held> };

/** Wanted are the logits of every token fed. */
export const EACH = Number.POSITIVE_INFINITY;

/** How many tokens of a row one run takes unless told: enough for the engine's speed, few enough for the memory. */
export const CHUNK = 256;

/** A generator over weights in the layout of the model's own parameters. */
export function openGenerator(
  config: Config,
  engine: Engine,
  weights: Weights,
  options: GeneratorOptions = {},
): Generator {
  const resident = openResident(engine, weights);
  return { ...generatorOver(config, engine, resident, decodeModel, options), release: resident.release };
}

/** A generator that runs what `elaborate` gives, over weights that are somebody else's to let go of. */
export function generatorOver(
  config: Config,
  engine: Engine,
  resident: Resident,
  elaborate: (config: Config, options: DecodeOptions) => Elaborated,
  { length = config.values.max_target_length, chunk = CHUNK, taps = [] }: GeneratorOptions,
): Omit<Generator, "release"> {
  const vocab = config.values.vocab_size;
  const programs = openPrograms(engine, resident, (shape) => elaborate(config, { ...shape, length, taps }));
  const isShared = (held: Held, i: number): boolean =>
    programs.states(held.lengths.length)[i]?.isRewindable ?? false;

  const known = (sequences: Sequences): Held => {
    const held = sequences as Held;
    invariant(held.family.has(held), "these sequences were fed or dropped, or others took their place");
    return held;
  };

  const drop = (held: Held): void => {
    held.family.delete(held);
    held.cells.forEach(({ buffer }, i) => {
      if (!isShared(held, i) || held.family.size === 0) engine.release(buffer);
    });
  };

  /** Drops what shares rows that are about to be written over. */
  const dropOthers = (held: Held, counts: Int32Array): void => {
    for (const other of [...held.family])
      if (other !== held && other.lengths.some((n, row) => counts[row] !== 0 && n > (held.lengths[row] ?? 0)))
        drop(other);
  };

  /** One run, of at most `chunk` tokens of each row. */
  const advance = (held: Held, made: Chunk, options: RunOptions) => {
    dropOthers(held, made.counts);
    const given = held.cells.map(({ buffer }) => buffer);
    const { values, states } = programs.run(made, given, options);
    const cells = states.map((buffer, i): Cell => {
      const cell = held.cells[i];
      if (!cell || !isShared(held, i)) return { buffer };
      cell.buffer = buffer;
      return cell;
    });
    if (!options.isKept) held.family.delete(held);
    const next: Held = {
      lengths: held.lengths.map((n, row) => n + (made.counts[row] ?? 0)),
      cells,
      family: held.family,
    };
    next.family.add(next);
    return { next, values };
  };

  return {
    vocab,
    length,
    chunk,
    start(rows) {
      const held: Held = {
        lengths: range(rows).map(() => 0),
        cells: programs.zeros(rows).map((buffer) => ({ buffer })),
        family: new Set(),
      };
      held.family.add(held);
      return held;
    },
    feed(sequences, rows, { wanted = 1, isKept = false, isStepwise = false, hidden } = {}) {
      let held = known(sequences);
      checkTokens(held.lengths, rows, vocab, length);
      const found: Float32Array[][][] = [];
      const runs = Math.max(1, Math.ceil(Math.max(...rows.map((row) => row.length)) / chunk));
      for (let run = 0; run < runs; run++) {
        const wants = wantedIn(rows, run * chunk, chunk, wanted);
        const made = chunkOf(held.lengths, rows, run * chunk, chunk, hidden, Math.max(...wants));
        const { next, values } = advance(held, made, { isKept: isKept && run === 0, isStepwise });
        values.forEach((each, i) => {
          const byRow = lastRows(each, made, i === 0 ? wants : made.counts);
          found[i] = byRow.map((own, row) => [...(found[i]?.[row] ?? []), own]);
        });
        held = next;
      }
      const [logits = [], ...others] = found.map((byRow) => byRow.map(joined));
      return { sequences: held, logits, taps: others };
    },
    drop(sequences) {
      const held = sequences as Held;
      if (held.family.has(held)) drop(held);
    },
  };
}

/** Of how many tokens of the chunk from `from` on, its last ones, each row wants logits. */
const wantedIn = (
  all: readonly (readonly number[])[],
  from: number,
  most: number,
  wanted: number,
): number[] =>
  all.map(({ length }) => {
    const end = Math.min(length, from + most);
    return Math.max(0, end - Math.max(from, length - wanted));
  });

/**
 * The chunk of at most `most` tokens from `from` on that goes on from `lengths` tokens. What comes after a row's own
 * tokens stands where its last one does.
 */
function chunkOf(
  lengths: readonly number[],
  all: readonly (readonly number[])[],
  from: number,
  most: number,
  allHidden: readonly Float32Array[] | undefined,
  wanted: number,
): Chunk {
  const rows = all.map((row) => row.slice(from, from + most));
  const longest = Math.max(1, ...rows.map((row) => row.length));
  const steps = roundUp(longest, most);
  const tokens = new Int32Array(rows.length * steps);
  const positions = new Int32Array(rows.length * steps);
  rows.forEach((row, r) => {
    for (let i = 0; i < steps; i++) {
      tokens[r * steps + i] = row[i] ?? 0;
      positions[r * steps + i] = Math.max(0, (lengths[r] ?? 0) + Math.min(i, row.length - 1));
    }
  });
  const counts = Int32Array.from(rows, (row) => row.length);
  const hidden = allHidden && hiddenOf(allHidden, all, from, steps, counts);
  return { steps, tokens, positions, hidden, counts, wanted: roundUp(Math.max(1, wanted), steps) };
}

/** A count of few sizes, so that few programs are compiled. */
const roundUp = (count: number, most: number): number => Math.min(2 ** Math.ceil(Math.log2(count)), most);

/** The hidden states beside a chunk's tokens, zeros beside those that do not count. */
function hiddenOf(
  all: readonly Float32Array[],
  rows: readonly (readonly number[])[],
  from: number,
  steps: number,
  counts: Int32Array,
): Float32Array {
  const width = Math.max(...all.map((each, row) => each.length / Math.max(1, rows[row]?.length ?? 0)));
  const hidden = new Float32Array(rows.length * steps * width);
  all.forEach((each, row) => {
    const own = each.subarray(from * width, (from + (counts[row] ?? 0)) * width);
    hidden.set(own, row * steps * width);
  });
  return hidden;
}

/** By row, the numbers of as many of its last tokens as it wants. */
const lastRows = ({ data, steps, width }: Values, chunk: Chunk, wants: ArrayLike<number>): Float32Array[] =>
  Array.from(chunk.counts, (count, row) => {
    const end = row * steps + (steps === chunk.steps ? count : steps);
    return data.slice((end - (wants[row] ?? 0)) * width, end * width);
  });

/** Arrays as one, one after the other. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  const [only] = parts;
  if (only && parts.length === 1) return only;
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function checkTokens(
  lengths: readonly number[],
  rows: readonly (readonly number[])[],
  vocab: number,
  most: number,
): void {
  invariant(rows.length === lengths.length, `${rows.length} rows of tokens for ${lengths.length} sequences`);
  rows.forEach((row, r) => {
    const stranger = row.find((id) => !Number.isInteger(id) || id < 0 || id >= vocab);
    if (stranger !== undefined)
      fail({
        code: "decode-token",
        message: `the model has no token ${stranger}: its tokens are 0 to ${vocab - 1}`,
        help: "the tokenizer and the model do not belong together",
      });
    const total = (lengths[r] ?? 0) + row.length;
    if (total > most)
      fail({
        code: "decode-length",
        message: `a sequence of ${total} tokens does not fit: there is room for ${most}`,
        help: "raise max_target_length",
      });
  });
}
