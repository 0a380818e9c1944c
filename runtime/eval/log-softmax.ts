// Probabilities of logits. All arithmetic is float64.

/** The logarithm of the sum of the exponentials: what is subtracted from a logit to give its log probability. */
export function logSumExp(row: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const x of row) if (x > max) max = x;
  let sum = 0;
  for (const x of row) sum += Math.exp(x - max);
  return max + Math.log(sum);
}
