// What routes rows to experts and multiplies them there: sorting, counting, ragged products.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { exactly } from "../support/random.ts";
import { distance, runModule } from "../support/run.ts";
import { dataOf, engine, gradientsOf, moduleOf, seeds, size } from "./meaning.ts";
import * as oracle from "./oracles.ts";

describe("ragged_dot", () => {
  test("multiplies each group of rows by its own matrix, whatever groups are empty", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 6 }),
        size(4),
        size(4),
        fc.integer({ min: 0, max: 2 }),
        seeds,
        (sizes, k, n, over, seed) => {
          const m = Math.max(
            1,
            sizes.reduce((total, x) => total + x, over),
          );
          const module = moduleOf(
            `param %a: f32[m=${m}, k=${k}], param %w: f32[e=${sizes.length}, k=${k}, n=${n}], input %s: i32[e=${sizes.length}]`,
            `%y = ragged_dot(%a, %w, %s) : f32[m=${m}, n=${n}]`,
            "%y",
          );
          const [a, w, s] = dataOf(module, seed, { s: exactly(...sizes) }) as [
            HostArray,
            HostArray,
            HostArray,
          ];
          expect(
            distance(runModule(engine, module, [a, w, s])[0]!, oracle.raggedDot(a, w, sizes, [m, k, n])),
          ).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("an expert nobody goes to has a zero gradient", () => {
    const module = moduleOf(
      "param %a: f32[m=3, k=2], param %w: f32[e=3, k=2, n=2], input %s: i32[e=3]",
      "%y = ragged_dot(%a, %w, %s) : f32[m=3, n=2]",
      "%y",
    );
    const [, dw] = gradientsOf(module, dataOf(module, 1, { s: exactly(2, 0, 1) }));
    expect([...dw!.slice(4, 8)]).toEqual([0, 0, 0, 0]);
    expect(dw!.slice(0, 4).every((x) => x !== 0)).toBe(true);
  });
});

test("top_k takes the lower index first among equals", () => {
  const module = moduleOf(
    "param %x: f32[r=3, n=5]",
    `%v, %i = top_k(%x) {k=3, label="top"} : f32[r=3, top=3], i32[r=3, top=3]`,
    "%v, %i",
  );
  const [values, indices] = runModule(engine, module, [
    Float32Array.from([1, 2, 2, 0, 2, 7, 7, 7, 7, 7, -1, -2, -1, -3, -1]),
  ]);
  expect([...values!]).toEqual([2, 2, 2, 7, 7, 7, -1, -1, -1]);
  expect([...indices!]).toEqual([1, 2, 4, 0, 1, 2, 0, 2, 4]);
});

test("argsort is stable", () => {
  const module = moduleOf("input %x: i32[n=7]", "%y = argsort(%x) : i32[n=7]", "%y");
  expect([...runModule(engine, module, [Int32Array.from([2, 0, 2, 1, 0, 2, 1])])[0]!]).toEqual([
    1, 4, 3, 6, 0, 2, 5,
  ]);
});

test("bincount counts, zero for what never comes", () => {
  const module = moduleOf("input %x: i32[n=5]", "%y = bincount(%x) : i32[e=4]", "%y");
  expect([...runModule(engine, module, [Int32Array.from([3, 0, 3, 3, 0])])[0]!]).toEqual([2, 0, 0, 3]);
});

test("bincount leaves out what is no index", () => {
  const module = moduleOf("input %x: i32[n=5]", "%y = bincount(%x) : i32[e=2]", "%y");
  expect([...runModule(engine, module, [Int32Array.from([2, 0, -1, 1, 1])])[0]!]).toEqual([1, 2]);
});

test("limit_to_capacity admits a row's ids in order until an expert is full", () => {
  const module = moduleOf(
    "input %x: i32[b=2, n=10]",
    "%y = limit_to_capacity(%x) {experts=4, capacity_factor=0.7} : i32[b=2, n=10]",
    "%y",
  );
  // ceil(10 / 4) * 0.7 = 2.1: two each, counted anew in each row.
  const ids = [0, 1, 0, 2, 1, 0, 0, 1, 2, 3, 3, 3, 3, 0, 0, 0, 2, 1, 3, 1];
  expect([...runModule(engine, module, [Int32Array.from(ids)])[0]!]).toEqual([
    ...[0, 1, 0, 2, 1, 4, 4, 4, 2, 3],
    ...[3, 3, 4, 0, 0, 4, 2, 1, 4, 1],
  ]);
});
