// Products of matrices that lie anyhow in two tensors: the rounded sums in order of k, to the bit, whatever the sizes.
import { beforeAll, expect, test } from "@jest/globals";
import * as tf from "@tensorflow/tfjs-core";
import fc from "fast-check";
import { dim, tensor } from "../../compiler/ir/shape.ts";
import type { Matrix, Product } from "../../compiler/ops/op.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { products } from "../../runtime/engines/tfjs/products.ts";
import { randomFrom } from "../support/random.ts";

type Size = { readonly rows: number; readonly columns: number };
type Placed = { readonly matrix: Matrix; readonly end: number };

/** A matrix behind `offset` others: by rows, by columns, or with something between its elements both ways. */
function placed({ rows, columns }: Size, way: string, gap: number, offset: number): Placed {
  const by: Record<string, Omit<Matrix, "offset">> = {
    rows: { row: columns + gap, column: 1 },
    columns: { row: 1, column: rows + gap },
    apart: { row: (columns + gap) * 2, column: 2 },
  };
  const { row, column } = by[way]!;
  return {
    matrix: { offset, row, column },
    end: offset + Math.max(rows, 1) * Math.max(columns, 1) * 2 + row * (rows + 1) + column * (columns + 1),
  };
}

const way = fc.constantFrom("rows", "columns", "apart");
const gap = fc.constantFrom(0, 0, 1, 3);
/** Sizes at and around what the kernels take at once. */
const shape = fc.record({
  m: fc.oneof(fc.nat(9), fc.constantFrom(16, 17, 33)),
  k: fc.nat(11),
  n: fc.oneof(fc.nat(19), fc.constantFrom(16, 24, 40, 1050)),
});
const one = fc.record({ shape, a: way, b: way, aGap: gap, bGap: gap, cGap: gap });

function heapOf(length: number, random: () => number): Float32Array {
  return Float32Array.from({ length: length + 1 }, () => (random() - 0.5) * 2 ** Math.floor(random() * 20));
}

beforeAll(async () => {
  await startTfjsEngine();
});

test("products of any sizes and places", () => {
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 3 }), fc.nat(1e6), (list, seed) => {
      let [aEnd, bEnd, cEnd] = [seed % 3, seed % 5, 0];
      const all = list.map(({ shape: { m, k, n }, ...how }): Product => {
        const a = placed({ rows: m, columns: k }, how.a, how.aGap, aEnd);
        const b = placed({ rows: k, columns: n }, how.b, how.bGap, bEnd);
        const c = { offset: cEnd, row: n + how.cGap };
        [aEnd, bEnd, cEnd] = [a.end, b.end, cEnd + m * c.row];
        return { m, k, n, a: a.matrix, b: b.matrix, c };
      });
      const random = randomFrom(seed);
      const [x, y] = [heapOf(aEnd, random), heapOf(bEnd, random)];
      const [a, b] = [tf.tensor1d(x), tf.tensor1d(y)];
      const made = products(a, b, tensor("f32", [dim("_", cEnd + 1)]), all);
      const found = made.dataSync();
      for (const { m, k, n, a, b, c } of all)
        for (let i = 0; i < m; i++) {
          const wanted = Float32Array.from({ length: n }, (_, j) => {
            let sum = 0;
            for (let p = 0; p < k; p++)
              sum += x[a.offset + i * a.row + p * a.column]! * y[b.offset + p * b.row + j * b.column]!;
            return sum;
          });
          expect(found.slice(c.offset + i * c.row, c.offset + i * c.row + n)).toEqual(wanted);
        }
      for (const each of [a, b, made]) each.dispose();
    }),
    { numRuns: 60 },
  );
});
