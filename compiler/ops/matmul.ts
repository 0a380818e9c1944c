// Matrix products on the host, for batches of matrices too small to be worth a kernel call each.
import type { NumberArray } from "./loops.ts";

/** Where a row-major matrix starts. */
type At = { readonly array: NumberArray; readonly offset: number };

/**
 * c = a·b for [m, k] and [k, n], four by four results at a time: sixteen sums stay in registers, in double precision.
 */
export function multiply(
  { array: a, offset: a0 }: At,
  { array: b, offset: b0 }: At,
  { array: c, offset: c0 }: At,
  m: number,
  k: number,
  n: number,
): void {
  for (let i = 0; i < m; i += 4)
    for (let j = 0; j < n; j += 4) {
      if (i + 4 <= m && j + 4 <= n) tile(a, a0 + i * k, b, b0 + j, c, c0 + i * n + j, k, n);
      else edge(a, a0 + i * k, b, b0 + j, c, c0 + i * n + j, Math.min(4, m - i), k, Math.min(4, n - j), n);
    }
}

function edge(
  a: NumberArray,
  a0: number,
  b: NumberArray,
  b0: number,
  c: NumberArray,
  c0: number,
  rows: number,
  k: number,
  columns: number,
  n: number,
): void {
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += (a[a0 + i * k + p] as number) * (b[b0 + p * n + j] as number);
      c[c0 + i * n + j] = sum;
    }
}

function tile(
  a: NumberArray,
  a0: number,
  b: NumberArray,
  b0: number,
  c: NumberArray,
  c0: number,
  k: number,
  n: number,
): void {
  let [s00, s01, s02, s03] = [0, 0, 0, 0];
  let [s10, s11, s12, s13] = [0, 0, 0, 0];
  let [s20, s21, s22, s23] = [0, 0, 0, 0];
  let [s30, s31, s32, s33] = [0, 0, 0, 0];
  const [a1, a2, a3] = [a0 + k, a0 + 2 * k, a0 + 3 * k];
  for (let p = 0, q = b0; p < k; p++, q += n) {
    const y0 = b[q] as number;
    const y1 = b[q + 1] as number;
    const y2 = b[q + 2] as number;
    const y3 = b[q + 3] as number;
    const x0 = a[a0 + p] as number;
    const x1 = a[a1 + p] as number;
    const x2 = a[a2 + p] as number;
    const x3 = a[a3 + p] as number;
    s00 += x0 * y0;
    s01 += x0 * y1;
    s02 += x0 * y2;
    s03 += x0 * y3;
    s10 += x1 * y0;
    s11 += x1 * y1;
    s12 += x1 * y2;
    s13 += x1 * y3;
    s20 += x2 * y0;
    s21 += x2 * y1;
    s22 += x2 * y2;
    s23 += x2 * y3;
    s30 += x3 * y0;
    s31 += x3 * y1;
    s32 += x3 * y2;
    s33 += x3 * y3;
  }
  c[c0] = s00;
  c[c0 + 1] = s01;
  c[c0 + 2] = s02;
  c[c0 + 3] = s03;
  const c1 = c0 + n;
  c[c1] = s10;
  c[c1 + 1] = s11;
  c[c1 + 2] = s12;
  c[c1 + 3] = s13;
  const c2 = c1 + n;
  c[c2] = s20;
  c[c2 + 1] = s21;
  c[c2 + 2] = s22;
  c[c2 + 3] = s23;
  const c3 = c2 + n;
  c[c3] = s30;
  c[c3 + 1] = s31;
  c[c3 + 2] = s32;
  c[c3 + 3] = s33;
}
