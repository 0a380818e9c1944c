// How far the logits of a model lie from golden ones, position by position. All arithmetic is float64.

import { logSumExp } from "./log-softmax.ts";

/** Logits row-major [positions, vocab]. */
export type LogitTable = { readonly logits: Float32Array; readonly vocab: number };

/** What is compared, and how: the meanings and defaults are those of MaxText's logit checker. */
export type CompareOptions = {
  /** Absolute tolerance; without it no logit is held to a tolerance. */
  readonly atol?: number | undefined;
  /** Tolerance relative to the golden logit. */
  readonly rtol: number;
  /** Positions compared, from the first; all of them if not given. */
  readonly tokenSize?: number | undefined;
  /** Least probability before renormalising, on both sides; above 0. */
  readonly clipLogitsEpsilon?: number | undefined;
  readonly skipFirstToken?: boolean | undefined;
};

/** One logit of both sides, and a measure of their difference. */
export type Difference = {
  readonly value: number;
  readonly position: number;
  readonly id: number;
  readonly model: number;
  readonly golden: number;
};

/** A token with a high logit. */
export type Candidate = { readonly id: number; readonly score: number };

/** The highest logits of both sides at one position, and how far they agree. */
export type TopTokens = {
  readonly position: number;
  readonly model: readonly Candidate[];
  readonly golden: readonly Candidate[];
  readonly overlap: number;
  readonly jaccard: number;
  /** Of 100 ranks, how many hold the same token. */
  readonly rankAgreement: number;
};

/** A few numbers of both sides at one position: the first three and the last three. */
export type Sample = {
  readonly position: number;
  readonly model: readonly number[];
  readonly golden: readonly number[];
};

/** How far two tables of logits are apart. Positions count from the start of the prompt. */
export type Comparison = {
  readonly modelVocab: number;
  readonly goldenVocab: number;
  /** Ids compared: the smaller vocabulary. */
  readonly vocab: number;
  /** The first position compared. */
  readonly start: number;
  /** One after the last position compared. */
  readonly end: number;
  /** Model logits that are no finite number, and the first of them. */
  readonly notFinite?: { readonly count: number; readonly first: Difference };
  readonly maxAbsolute: Difference;
  readonly maxRelative: Difference;
  /** Logits outside the tolerance, and the one furthest outside; only with `atol`. */
  readonly tolerance?: { readonly mismatches: number; readonly worst: Difference };
  /** Norm of the difference of all logits over the norm of the golden ones. */
  readonly relativeL2: number;
  /** KL(golden‖model) of each position compared. */
  readonly kl: readonly number[];
  /** KL(model‖golden) of each. */
  readonly reverseKl: readonly number[];
  readonly maxKl: { readonly value: number; readonly position: number };
  readonly topTokens: TopTokens;
  readonly logitSample?: Sample;
  readonly probabilitySample?: Sample;
};

const TOP = 10;
const SAMPLE_EDGE = 3;

/** The positions that would be compared, as a half-open range; empty when `end` is not above `start`. */
export function comparedRange(
  length: number,
  options: Pick<CompareOptions, "tokenSize" | "skipFirstToken">,
): { start: number; end: number } {
  return { start: options.skipFirstToken ? 1 : 0, end: Math.min(length, options.tokenSize ?? length) };
}

/** Compares two tables of as many rows, of which at least one must be in the range compared. */
export function compareLogits(model: LogitTable, golden: LogitTable, options: CompareOptions): Comparison {
  const { start, end } = comparedRange(golden.logits.length / golden.vocab, options);
  const vocab = Math.min(model.vocab, golden.vocab);
  const row = (table: LogitTable, position: number): Float32Array =>
    table.logits.subarray(position * table.vocab, position * table.vocab + vocab);
  const differences = openDifferences(options);
  const scratch = { model: new Float64Array(vocab), golden: new Float64Array(vocab) };
  const kl: number[] = [];
  const reverseKl: number[] = [];
  let logitSample: Sample | undefined;
  let probabilitySample: Sample | undefined;
  for (let position = start; position < end; position++) {
    const rows = { model: row(model, position), golden: row(golden, position) };
    addRow(differences, position, rows);
    const logs = {
      model: logProbabilities(rows.model, scratch.model, options.clipLogitsEpsilon),
      golden: logProbabilities(rows.golden, scratch.golden, options.clipLogitsEpsilon),
    };
    kl.push(divergence(logs.golden, logs.model));
    reverseKl.push(divergence(logs.model, logs.golden));
    if (position === start + 2) logitSample = sample(position, rows, (x) => x);
    if (position === start + 1) probabilitySample = sample(position, logs, Math.exp);
  }
  const last = { model: row(model, end - 1), golden: row(golden, end - 1) };
  return {
    modelVocab: model.vocab,
    goldenVocab: golden.vocab,
    vocab,
    start,
    end,
    ...summary(differences, options),
    kl,
    reverseKl,
    maxKl: highestKl(kl, start),
    topTokens: compareTop(end - 1, last),
    ...(logitSample && { logitSample }),
    ...(probabilitySample && { probabilitySample }),
  };
}

type Row = ArrayLike<number>;
type Rows<R extends Row = Row> = { readonly model: R; readonly golden: R };

// Not a number lies above all numbers, so that no maximum hides one.
const isAbove = (x: number, y: number): boolean => x > y || (Number.isNaN(x) && !Number.isNaN(y));

type Peak = { value: number; position: number; id: number; model: number; golden: number };

const peak = (): Peak => ({
  value: Number.NEGATIVE_INFINITY,
  position: 0,
  id: 0,
  model: 0,
  golden: 0,
});

type Differences = {
  readonly atol: number;
  readonly rtol: number;
  readonly absolute: Peak;
  readonly relative: Peak;
  /** How far outside the tolerance. */
  readonly excess: Peak;
  readonly notFinite: Peak;
  notFiniteCount: number;
  mismatches: number;
  squares: number;
  goldenSquares: number;
};

const openDifferences = ({ atol = 0, rtol }: CompareOptions): Differences => ({
  atol,
  rtol,
  absolute: peak(),
  relative: peak(),
  excess: peak(),
  notFinite: peak(),
  notFiniteCount: 0,
  mismatches: 0,
  squares: 0,
  goldenSquares: 0,
});

function raise(peak: Peak, value: number, position: number, id: number, { model, golden }: Rows): void {
  peak.value = value;
  peak.position = position;
  peak.id = id;
  peak.model = model[id] ?? 0;
  peak.golden = golden[id] ?? 0;
}

function addRow(to: Differences, position: number, rows: Rows<Float32Array>): void {
  for (const [id, a] of rows.model.entries()) {
    const b = rows.golden[id] ?? 0;
    const difference = Math.abs(a - b);
    // As MaxText: a golden zero counts as 1e-8.
    const relative = difference / (b === 0 ? 1e-8 : Math.abs(b));
    const allowed = to.atol + to.rtol * Math.abs(b);
    if (isAbove(difference, to.absolute.value)) raise(to.absolute, difference, position, id, rows);
    if (isAbove(relative, to.relative.value)) raise(to.relative, relative, position, id, rows);
    if (isAbove(difference - allowed, to.excess.value))
      raise(to.excess, difference - allowed, position, id, rows);
    // Also a mismatch when not a number.
    if (!(difference <= allowed)) to.mismatches++;
    if (!Number.isFinite(a) && to.notFiniteCount++ === 0) raise(to.notFinite, a, position, id, rows);
    to.squares += difference * difference;
    to.goldenSquares += b * b;
  }
}

function summary(found: Differences, { atol }: CompareOptions) {
  const { absolute, relative, excess, notFinite, notFiniteCount, mismatches, squares, goldenSquares } = found;
  return {
    ...(notFiniteCount > 0 && { notFinite: { count: notFiniteCount, first: notFinite } }),
    maxAbsolute: absolute,
    maxRelative: relative,
    ...(atol !== undefined && { tolerance: { mismatches, worst: excess } }),
    relativeL2: squares === 0 ? 0 : Math.sqrt(squares / goldenSquares),
  };
}

// Fills `into` with the logarithms of softmax(row), whose least value is then raised to `floor`.
function logProbabilities(row: Float32Array, into: Float64Array, floor: number | undefined): Float64Array {
  const log = logSumExp(row);
  for (const [id, x] of row.entries()) into[id] = x - log;
  if (floor === undefined) return into;
  let total = 0;
  for (const [id, x] of into.entries()) {
    const clipped = Math.max(Math.exp(x), floor);
    into[id] = clipped;
    total += clipped;
  }
  for (const [id, clipped] of into.entries()) into[id] = Math.log(clipped / total);
  return into;
}

/** KL(p‖q) from log probabilities. It is never below zero, but its rounding may be. */
function divergence(p: Float64Array, q: Float64Array): number {
  let sum = 0;
  for (const [id, log] of p.entries()) {
    const mass = Math.exp(log);
    // What p never chooses costs nothing, were it impossible for q as well.
    if (mass !== 0) sum += mass * (log - (q[id] ?? 0));
  }
  return Math.max(0, sum);
}

function highestKl(kl: readonly number[], start: number): { value: number; position: number } {
  let best = 0;
  for (const [i, value] of kl.entries()) if (isAbove(value, kl[best] ?? 0)) best = i;
  return { value: kl[best] ?? 0, position: start + best };
}

function sample(position: number, { model, golden }: Rows, see: (x: number) => number): Sample {
  const edges = (row: Row): number[] => {
    const all = Array.from(row);
    const shown =
      all.length > 2 * SAMPLE_EDGE ? [...all.slice(0, SAMPLE_EDGE), ...all.slice(-SAMPLE_EDGE)] : all;
    return shown.map(see);
  };
  return { position, model: edges(model), golden: edges(golden) };
}

/** The highest of the logits, the lower id first at a tie; what is not a number has no rank. */
export function topCandidates(row: Float32Array, count: number): readonly Candidate[] {
  const best: Candidate[] = [];
  for (const [id, score] of row.entries()) {
    const worst = best.at(-1);
    if (Number.isNaN(score) || (worst && best.length === count && score <= worst.score)) continue;
    const rank = best.findLastIndex((each) => each.score >= score) + 1;
    best.splice(rank, 0, { id, score });
    if (best.length > count) best.pop();
  }
  return best;
}

function compareTop(position: number, rows: Rows<Float32Array>): TopTokens {
  const [model, golden] = [topCandidates(rows.model, TOP), topCandidates(rows.golden, TOP)];
  const goldenIds = new Set(golden.map(({ id }) => id));
  const overlap = model.filter(({ id }) => goldenIds.has(id)).length;
  const ranks = Math.min(model.length, golden.length);
  const agreeing = model.filter(({ id }, rank) => golden[rank]?.id === id).length;
  return {
    position,
    model,
    golden,
    overlap,
    jaccard: overlap / (model.length + golden.length - overlap),
    rankAgreement: ranks > 0 ? (agreeing / ranks) * 100 : 0,
  };
}
