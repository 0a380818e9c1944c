// How sure an accuracy is.

/** So many right answers of so many. */
export type Tally = { readonly correct: number; readonly count: number };

/** An accuracy with its uncertainty; a standard error that a single answer cannot give is left out. */
export type Accuracy = Tally & {
  readonly accuracy: number;
  /** As lm-evaluation-harness prints it: the sample's standard deviation over the root of its size. */
  readonly standardError?: number;
  /** The bounds that hold the true accuracy with 95 % confidence, by Wilson's score interval. */
  readonly interval: readonly [low: number, high: number];
};

const Z_95 = 1.959963984540054;

/** Wilson's score interval at 95 % (E. B. Wilson, 1927): unlike ± some errors it stays within 0 and 1. */
export function wilson({ correct, count }: Tally): readonly [low: number, high: number] {
  const p = correct / count;
  const z2 = Z_95 ** 2 / count;
  const middle = (p + z2 / 2) / (1 + z2);
  const half = Math.sqrt(p * (1 - p) * z2 + z2 ** 2 / 4) / (1 + z2);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

const standardErrorOf = ({ correct, count }: Tally): number =>
  Math.sqrt(((correct / count) * (1 - correct / count)) / (count - 1));

/** The accuracy of one subject. */
export function accuracyOf(tally: Tally): Accuracy {
  const { correct, count } = tally;
  return {
    correct,
    count,
    accuracy: correct / count,
    ...(count > 1 && { standardError: standardErrorOf(tally) }),
    interval: wilson(tally),
  };
}

/** The accuracy over the questions of several subjects, with the pooled standard error of lm-evaluation-harness. */
export function pooledAccuracy(tallies: readonly Tally[]): Accuracy {
  const correct = tallies.reduce((sum, one) => sum + one.correct, 0);
  const count = tallies.reduce((sum, one) => sum + one.count, 0);
  const spread = tallies
    .filter((one) => one.count > 1)
    .reduce((sum, one) => sum + (one.count - 1) * standardErrorOf(one) ** 2 * one.count, 0);
  const freedom = count - tallies.length;
  return {
    correct,
    count,
    accuracy: correct / count,
    ...(freedom > 0 && { standardError: Math.sqrt(spread / freedom / count) }),
    interval: wilson({ correct, count }),
  };
}
