// How many of a sequence's choices one expert takes when tokens may be dropped.

/**
 * MaxText's expert capacity (moe.py): `choices` are a sequence's tokens times the experts each one chose. The even share,
 * rounded up, times the factor, rounded down; 0 when a small factor leaves no room.
 */
export const expertCapacity = (choices: number, experts: number, factor: number): number =>
  Math.trunc(Math.max(Math.ceil(choices / experts) * factor, factor));
