// Products of matrices that lie in one heap of floats: which kernel goes about each, and from which side.
import type { Matrix, Product } from "../../../compiler/ops/op.ts";
import { type ByColumns, LANES } from "./by-columns-wasm.ts";
import { type ByRows, GROUP, SUMS } from "./by-rows-wasm.ts";

export type Kernels = { readonly byRows: ByRows; readonly byColumns: ByColumns };

/** A product whose result, too, may lie in any order; offsets count floats from the heap's beginning. */
export type HeapProduct = Omit<Product, "c"> & { readonly c: Matrix };

/** The heap's floats, and where `scratchFloats` of them are nobody's. */
export type Heap = { readonly floats: Float32Array; readonly scratch: number };

const FLOAT = 4;
/** So many columns at a time are laid side by side, where they are not. */
const WIDE = 16;
/** Up to so many rows times columns in one piece are faster than first laying the columns side by side. */
const FEW = 32;
/**
 * Rows that read b once or twice read it in whole rows, which memory gives the fastest; for more, as many columns at a
 * time as have room in the cache.
 */
const blockOf = ({ m }: { readonly m: number }, groups: number): number => (m > 4 ? 128 : groups);

const groupsOf = ({ n }: { readonly n: number }): number => Math.floor(n / GROUP);

/** What a product needs besides its matrices: sums, columns laid side by side, and what is left over of its result. */
export function scratchFloats(product: Pick<Product, "m" | "k" | "n">): number {
  const { m, k } = product;
  const groups = groupsOf(product);
  const together = Math.max(WIDE / GROUP, Math.min(groups, blockOf(product, groups)));
  return together * SUMS + (k + m) * WIDE;
}

/** Puts a product in its place. Each element is a sum in order of k, in double precision, whatever the way. */
export function multiplyOn(heap: Heap, kernels: Kernels, product: HeapProduct): void {
  const { m, n, a, b } = product;
  if (b.column === 1 && n >= GROUP) byRows(heap, kernels, product);
  else if (b.row === 1 && n >= LANES && m <= FEW) byColumns(kernels, product);
  else if (a.column === 1 && m >= LANES && n <= FEW) byColumns(kernels, turned(product));
  else packed(heap, kernels, product);
}

const transposed = ({ offset, row, column }: Matrix): Matrix => ({ offset, row: column, column: row });

/** cᵀ = bᵀ·aᵀ. */
const turned = ({ m, k, n, a, b, c }: HeapProduct): HeapProduct => ({
  m: n,
  k,
  n: m,
  a: transposed(b),
  b: transposed(a),
  c: transposed(c),
});

/** The last columns make a whole group with some that are done already, to the same numbers. */
function byRows({ scratch }: Heap, kernels: Kernels, product: HeapProduct): void {
  const { m, k, n, a, b, c } = product;
  const run = (column: number, groups: number): void =>
    kernels.byRows(
      a.offset * FLOAT,
      a.row * FLOAT,
      a.column * FLOAT,
      (b.offset + column) * FLOAT,
      b.row * FLOAT,
      (c.offset + column) * FLOAT,
      c.row * FLOAT,
      m,
      k,
      groups,
      scratch * FLOAT,
    );
  const groups = groupsOf(product);
  const block = blockOf(product, groups);
  for (let group = 0; group < groups; group += block) run(group * GROUP, Math.min(block, groups - group));
  if (n % GROUP > 0) run(n - GROUP, 1);
}

/** The columns worked on at once lie far apart, so that each is a stretch of memory that goes on to the end. */
function byColumns(kernels: Kernels, { m, k, n, a, b, c }: HeapProduct): void {
  const run = (column: number, groups: number): void =>
    kernels.byColumns(
      a.offset * FLOAT,
      a.row * FLOAT,
      a.column * FLOAT,
      (b.offset + column * b.column) * FLOAT,
      groups * b.column * FLOAT,
      b.column * FLOAT,
      (c.offset + column * c.column) * FLOAT,
      c.row * FLOAT,
      groups * c.column * FLOAT,
      c.column * FLOAT,
      m,
      k,
      groups,
    );
  run(0, Math.floor(n / LANES));
  if (n % LANES > 0) run(n - LANES, 1);
}

/** Some columns at a time, which are laid side by side before. */
function packed({ floats, scratch }: Heap, kernels: Kernels, product: HeapProduct): void {
  const { m, k, n, a, b, c } = product;
  for (let j = 0; j < n; j += WIDE) {
    const width = Math.min(WIDE, n - j);
    const groups = Math.ceil(width / GROUP);
    const row = groups * GROUP;
    const panel = scratch + groups * SUMS;
    const edge = panel + k * row;
    const to = c.offset + j * c.column;
    const isDirect = c.column === 1 && width === row;
    if (width < row) floats.fill(0, panel, edge);
    copy(floats, b.offset + j * b.column, b.row, b.column, panel, row, 1, k, width);
    kernels.byRows(
      a.offset * FLOAT,
      a.row * FLOAT,
      a.column * FLOAT,
      panel * FLOAT,
      row * FLOAT,
      (isDirect ? to : edge) * FLOAT,
      (isDirect ? c.row : row) * FLOAT,
      m,
      k,
      groups,
      scratch * FLOAT,
    );
    if (!isDirect) copy(floats, edge, row, 1, to, c.row, c.column, m, width);
  }
}

/** A matrix to another place, column by column. */
function copy(
  floats: Float32Array,
  from: number,
  fromRow: number,
  fromColumn: number,
  to: number,
  toRow: number,
  toColumn: number,
  rows: number,
  columns: number,
): void {
  for (let j = 0; j < columns; j++) {
    let at = from + j * fromColumn;
    let into = to + j * toColumn;
    for (let i = 0; i < rows; i++) {
      floats[into] = floats[at] as number;
      at += fromRow;
      into += toRow;
    }
  }
}
