// What composite and delicate ops compute, against oracles of their own in double precision.
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { elements, range } from "../../compiler/ir/shape.ts";
import type { Module } from "../../compiler/ir/types.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { lossOf } from "../support/gradients.ts";
import { exactly, type Numbers, randomData, randomFrom, shuffled, within } from "../support/random.ts";
import { areFinite, distance, runModule } from "../support/run.ts";
import * as oracle from "./oracles.ts";

const engine = await startTfjsEngine();

/** `(param %x: …)` and `%y = …` as a module whose results are named after `return`. */
const moduleOf = (params: string, body: string, results: string): Module =>
  parseModule(`module meaning(${params}) {\n  ${body}\n  return ${results}\n}\n`);

const dataOf = (module: Module, seed: number, numbers: Record<string, Numbers> = {}): HostArray[] => {
  const random = randomFrom(seed);
  return module.body.params.map((x) => randomData(x.type, random, numbers[x.hint]));
};

/** The gradients of sum(result * weight) for each `param`, with weights from a seed. */
function gradientsOf(module: Module, ins: readonly HostArray[], seed = 1): HostArray[] {
  const joint = differentiate(lossOf(module));
  const random = randomFrom(seed);
  const weights = joint.body.params.slice(ins.length).map((x) => randomData(x.type, random));
  return runModule(engine, joint, [...ins, ...weights]).slice(1);
}

const size = (max: number) => fc.integer({ min: 1, max });
const seeds = fc.integer({ min: 0, max: 2 ** 30 });

describe("attention", () => {
  const build = ({ b, s, t, h, kv, d, dv }: oracle.AttentionSizes, scale: number, causal: boolean) =>
    moduleOf(
      `param %q: f32[b=${b}, s=${s}, h=${h}, d=${d}], param %k: f32[b=${b}, t=${t}, kv=${kv}, d=${d}], param %v: f32[b=${b}, t=${t}, kv=${kv}, dv=${dv}]`,
      `%o = attention(%q, %k, %v) {scale=${scale}, causal=${causal}} : f32[b=${b}, s=${s}, h=${h}, dv=${dv}]`,
      "%o",
    );

  test("is softmax of scaled scores over the keys of the query's group", () => {
    fc.assert(
      fc.property(
        size(2),
        size(7),
        fc.integer({ min: 0, max: 4 }),
        size(3),
        size(3),
        size(5),
        size(5),
        fc.boolean(),
        seeds,
        (b, s, more, kv, ratio, d, dv, causal, seed) => {
          const sizes = { b, s, t: s + more, h: kv * ratio, kv, d, dv };
          const module = build(sizes, 0.6, causal);
          const [q, k, v] = dataOf(module, seed, { q: within(-3, 3), k: within(-3, 3) }) as [
            HostArray,
            HostArray,
            HostArray,
          ];
          const [found] = runModule(engine, module, [q, k, v]);
          expect(distance(found!, oracle.attention(q, k, v, sizes, 0.6, causal))).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a causal query's output does not depend on later keys", () => {
    const module = build({ b: 1, s: 5, t: 5, h: 2, kv: 1, d: 3, dv: 2 }, 1, true);
    const [q, k, v] = dataOf(module, 3) as [HostArray, HostArray, HostArray];
    const changed = [k, v].map((x) => x.map((n, i) => (i >= (3 * x.length) / 5 ? n + 5 : n)) as HostArray);
    const [before, after] = [
      runModule(engine, module, [q, k, v])[0]!,
      runModule(engine, module, [q, ...changed])[0]!,
    ];
    expect(after.slice(0, 3 * 4)).toEqual(before.slice(0, 3 * 4));
    expect(distance(after.slice(3 * 4), before.slice(3 * 4))).toBeGreaterThan(1e-3);
  });

  test("stays finite at scores of ±1e4, values and gradients", () => {
    const module = build({ b: 1, s: 4, t: 4, h: 1, kv: 1, d: 2, dv: 2 }, 1, true);
    const ins = dataOf(module, 4, { q: within(-100, 100), k: within(-100, 100) });
    for (const x of [...runModule(engine, module, ins), ...gradientsOf(module, ins)])
      expect(areFinite(x)).toBe(true);
  });
});

test("cached_attention is attention over the rows up to each query's own", () => {
  fc.assert(
    fc.property(
      fc.record({ b: size(2), s: size(5), t: size(9), kv: size(3), ratio: size(3), d: size(5), dv: size(5) }),
      seeds,
      ({ b, s, t, kv, ratio, d, dv }, seed) => {
        const h = kv * ratio;
        const module = moduleOf(
          `param %q: f32[b=${b}, s=${s}, h=${h}, d=${d}], param %k: f32[b=${b}, t=${t}, kv=${kv}, d=${d}], param %v: f32[b=${b}, t=${t}, kv=${kv}, dv=${dv}], input %at: i32[b=${b}, s=${s}]`,
          `%o = cached_attention(%q, %k, %v, %at) {scale=0.6} : f32[b=${b}, s=${s}, h=${h}, dv=${dv}]`,
          "%o",
        );
        const ins = dataOf(module, seed, { q: within(-3, 3), k: within(-3, 3), at: within(0, t - 1) });
        const [q, k, v, positions] = ins as [HostArray, HostArray, HostArray, HostArray];
        const wanted = range(b * s).flatMap((query) => {
          const seen = positions[query]! + 1;
          const start = Math.floor(query / s) * t * kv;
          const own = [
            q.slice(query * h * d, (query + 1) * h * d),
            k.slice(start * d, (start + seen * kv) * d),
            v.slice(start * dv, (start + seen * kv) * dv),
          ] as const;
          return [...oracle.attention(...own, { b: 1, s: 1, t: seen, h, kv, d, dv }, 0.6, false)];
        });
        expect(distance(runModule(engine, module, ins)[0]!, wanted)).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 60 },
  );
});

test("update_rows writes the rows that count where they belong, and nothing else", () => {
  fc.assert(
    fc.property(size(3), size(6), size(6), size(3), seeds, (b, t, s, c, seed) => {
      const module = moduleOf(
        `param %x: f32[b=${b}, t=${t}, c=${c}], param %fresh: f32[b=${b}, s=${s}, c=${c}], input %at: i32[b=${b}, s=${s}], input %lengths: i32[b=${b}]`,
        `%y = update_rows(%x, %fresh, %at, %lengths) : f32[b=${b}, t=${t}, c=${c}]`,
        "%y",
      );
      const [x, fresh, , lengths] = dataOf(module, seed, { lengths: within(0, s) }) as HostArray[];
      const random = randomFrom(seed);
      // Some before the first row, some after the last.
      const places = range(b).map(() =>
        shuffled(
          range(t + s).map((i) => i - 2),
          random,
        ).slice(0, s),
      );
      const wanted = Float32Array.from(x!);
      places.forEach((own, row) => {
        own.slice(0, lengths![row]).forEach((place, i) => {
          if (place < 0 || place >= t) return;
          for (let j = 0; j < c; j++) wanted[(row * t + place) * c + j] = fresh![(row * s + i) * c + j]!;
        });
      });
      const ins = [x!, fresh!, Int32Array.from(places.flat()), lengths!];
      expect(runModule(engine, module, ins)[0]).toEqual(wanted);
    }),
    { numRuns: 60 },
  );
});

test("a row of a product is the same to the bit, however many rows are beside it", () => {
  fc.assert(
    fc.property(size(20), size(12), size(40), fc.boolean(), seeds, (m, k, n, isTied, seed) => {
      const b = isTied ? `n=${n}, k=${k}` : `k=${k}, n=${n}`;
      const build = (rows: number) =>
        moduleOf(
          `param %a: f32[m=${rows}, k=${k}], param %b: f32[${b}]`,
          `%y = dot_general(%a, %b) {lhs_contracting=[1], rhs_contracting=[${isTied ? 1 : 0}], lhs_batch=[], rhs_batch=[]} : f32[m=${rows}, n=${n}]`,
          "%y",
        );
      const [a, weights] = dataOf(build(m), seed) as [HostArray, HostArray];
      const [whole] = runModule(engine, build(m), [a, weights]);
      for (const row of range(m)) {
        const own = [a.slice(row * k, (row + 1) * k), weights];
        expect(runModule(engine, build(1), own)[0]).toEqual(whole!.slice(row * n, (row + 1) * n));
      }
    }),
    { numRuns: 40 },
  );
});

test("rotary_embedding turns pairs of halves by position, and leaves the rest", () => {
  fc.assert(
    fc.property(
      size(2),
      size(5),
      size(3),
      size(4),
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom(100, 10000, 1e7),
      seeds,
      (b, s, h, half, rest, theta, seed) => {
        const d = 2 * half + rest;
        const dims = `b=${b}, s=${s}, h=${h}, d=${d}`;
        const module = moduleOf(
          `param %x: f32[${dims}], input %p: i32[b=${b}, s=${s}]`,
          `%y = rotary_embedding(%x, %p) {theta=${theta}, rotary_dim=${2 * half}} : f32[${dims}]`,
          "%y",
        );
        const [x, p] = dataOf(module, seed, { p: within(0, 300) }) as [HostArray, HostArray];
        const [found] = runModule(engine, module, [x, p]);
        // Angles are formed in f32: 300 radians carry an error of about 3e-5.
        expect(distance(found!, oracle.rotary(x, p, [b, s, h, d], theta, 2 * half))).toBeLessThan(1e-4);
      },
    ),
    { numRuns: 40 },
  );
});

test("rms_norm divides by the root mean square and scales by offset + weight", () => {
  fc.assert(
    fc.property(
      size(4),
      size(9),
      fc.constantFrom(0, 1),
      fc.constantFrom(1e-6, 1e-2),
      seeds,
      (rows, width, offset, eps, seed) => {
        const module = moduleOf(
          `param %x: f32[r=${rows}, n=${width}], param %w: f32[n=${width}]`,
          `%y = rms_norm(%x, %w) {eps=${eps}, offset=${offset}} : f32[r=${rows}, n=${width}]`,
          "%y",
        );
        const [x, w] = dataOf(module, seed, { x: within(-30, 30) }) as [HostArray, HostArray];
        expect(
          distance(runModule(engine, module, [x, w])[0]!, oracle.rmsNorm(x, w, width, eps, offset)),
        ).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 40 },
  );
});

test("causal_conv1d looks back, never ahead", () => {
  fc.assert(
    fc.property(size(2), size(9), size(4), size(5), seeds, (b, t, c, width, seed) => {
      const module = moduleOf(
        `param %x: f32[b=${b}, t=${t}, c=${c}], param %w: f32[width=${width}, c=${c}]`,
        `%y = causal_conv1d(%x, %w) : f32[b=${b}, t=${t}, c=${c}]`,
        "%y",
      );
      const [x, w] = dataOf(module, seed) as [HostArray, HostArray];
      expect(
        distance(runModule(engine, module, [x, w])[0]!, oracle.causalConv(x, w, [b, t, c], width)),
      ).toBeLessThan(1e-5);
    }),
    { numRuns: 40 },
  );
});

describe("gated_delta_rule", () => {
  const build = ({ b, t, hk, hv, dk, dv }: oracle.DeltaSizes, chunk: number) => {
    const [keys, values, gates, state] = [
      `b=${b}, t=${t}, hk=${hk}, dk=${dk}`,
      `b=${b}, t=${t}, hv=${hv}, dv=${dv}`,
      `b=${b}, t=${t}, hv=${hv}`,
      `b=${b}, hv=${hv}, dk=${dk}, dv=${dv}`,
    ];
    return moduleOf(
      `param %q: f32[${keys}], param %k: f32[${keys}], param %v: f32[${values}], param %g: f32[${gates}], param %beta: f32[${gates}], param %state: f32[${state}]`,
      `%o, %s = gated_delta_rule(%q, %k, %v, %g, %beta, %state) {chunk_size=${chunk}} : f32[${values}], f32[${state}]`,
      "%o, %s",
    );
  };
  /** Operands as the model makes them: keys of length one (the rule is stable), rates in (0, 1), decays below zero. */
  const operands = (module: Module, seed: number, lowest = -2): HostArray[] => {
    const ins = dataOf(module, seed, { g: within(lowest, -1e-3), beta: within(0.02, 0.98) });
    const dk = module.body.params[0]!.type.dims[3]!.size;
    return ins.map((x, i) => (i < 2 ? unitRows(x, dk) : x));
  };
  const unitRows = (x: HostArray, width: number): HostArray =>
    x.map((n, i) => {
      const row = [...x.slice(i - (i % width), i - (i % width) + width)];
      return n / Math.sqrt(row.reduce((sum, m) => sum + m * m, 0) + 1e-6);
    }) as HostArray;
  const inputsOf = ([q, k, v, g, beta, state]: readonly HostArray[]): oracle.DeltaInputs => ({
    q: q!,
    k: k!,
    v: v!,
    g: g!,
    beta: beta!,
    state: state!,
  });

  const arbitrarySizes = fc
    .record({
      b: size(2),
      t: fc.oneof(size(12), size(150), fc.constantFrom(63, 64, 65, 128)),
      hk: size(2),
      ratio: size(3),
      dk: size(6),
      dv: size(6),
    })
    .map(({ ratio, ...sizes }) => ({ ...sizes, hv: sizes.hk * ratio }));

  test("is the recurrence, token by token and in chunks of any size, from any state", () => {
    fc.assert(
      fc.property(arbitrarySizes, fc.constantFrom(0, 1, 2, 5, 16, 64, 200), seeds, (sizes, chunk, seed) => {
        const module = build(sizes, chunk);
        const ins = operands(module, seed);
        const [o, state] = runModule(engine, module, ins);
        const wanted = oracle.gatedDeltaRule(inputsOf(ins), sizes);
        expect(distance(o!, wanted.o, 1e-2)).toBeLessThan(2e-5);
        expect(distance(state!, wanted.state, 1e-2)).toBeLessThan(2e-5);
      }),
      { numRuns: 50 },
    );
  });

  test("in chunks has the gradients of the recurrence", () => {
    fc.assert(
      fc.property(arbitrarySizes, fc.constantFrom(1, 3, 16, 64), seeds, (sizes, chunk, seed) => {
        const short = { ...sizes, t: Math.min(sizes.t, 70) };
        const [chunked, recurrent] = [build(short, chunk), build(short, 0)];
        const ins = operands(recurrent, seed);
        const [found, wanted] = [gradientsOf(chunked, ins), gradientsOf(recurrent, ins)];
        for (const [i, x] of wanted.entries()) expect(distance(found[i]!, x, 1e-2)).toBeLessThan(5e-5);
      }),
      { numRuns: 15 },
    );
  });

  // What fresh weights make of most heads: a token is a millionth of what it was when the next one has passed.
  test("in chunks has the gradient of decays so strong that next to nothing is left", () => {
    const sizes = { b: 1, t: 70, hk: 1, hv: 2, dk: 5, dv: 4 };
    const [chunked, recurrent] = [build(sizes, 64), build(sizes, 0)];
    const ins = operands(recurrent, 3).map((x, i) => (i === 3 ? x.map((g) => g - 12) : x));
    const [found, wanted] = [gradientsOf(chunked, ins), gradientsOf(recurrent, ins)];
    expect(distance(found[3]!, wanted[3]!, 0)).toBeLessThan(1e-4);
  });

  test("split anywhere, the state carries on as if it were whole", () => {
    const [t, cut] = [23, 9];
    const sizes = { b: 1, t, hk: 1, hv: 2, dk: 3, dv: 2 };
    const whole = build(sizes, 4);
    const ins = operands(whole, 11);
    const part = (x: HostArray, from: number, to: number) =>
      x.slice((from * x.length) / t, (to * x.length) / t);
    const [state, streams] = [ins[5]!, ins.slice(0, 5)];
    const first = runModule(engine, build({ ...sizes, t: cut }, 4), [
      ...streams.map((x) => part(x, 0, cut)),
      state,
    ]);
    const second = runModule(engine, build({ ...sizes, t: t - cut }, 0), [
      ...streams.map((x) => part(x, cut, t)),
      first[1]!,
    ]);
    const [o, last] = runModule(engine, whole, ins);
    expect(distance([...first[0]!, ...second[0]!], o!)).toBeLessThan(1e-5);
    expect(distance(second[1]!, last!)).toBeLessThan(1e-5);
  });

  test.each([0, 16, 64])(
    "with g near -50 values and gradients are finite and right (chunks of %i)",
    (chunk) => {
      const sizes = { b: 1, t: 70, hk: 1, hv: 2, dk: 4, dv: 3 };
      const module = build(sizes, chunk);
      const ins = operands(module, 5).map((x, i) =>
        i === 3 ? x.map((_, j) => (j % 3 === 0 ? -50 : -0.01)) : x,
      ) as HostArray[];
      const [o, state] = runModule(engine, module, ins);
      const wanted = oracle.gatedDeltaRule(inputsOf(ins), sizes);
      expect(distance(o!, wanted.o)).toBeLessThan(1e-5);
      expect(distance(state!, wanted.state)).toBeLessThan(1e-5);
      const gradients = gradientsOf(module, ins);
      for (const x of gradients) expect(areFinite(x)).toBe(true);
      const recurrent = gradientsOf(build(sizes, 0), ins);
      for (const [i, x] of recurrent.entries()) expect(distance(gradients[i]!, x, 1e-2)).toBeLessThan(5e-5);
    },
  );
});

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

test("dot_general may read one operand as two different matrices", () => {
  const module = moduleOf(
    "param %a: f32[m=5], param %b: f32[n=7], param %c: f32[m=5, n=7]",
    `%outer = dot_general(%a, %b) {lhs_contracting=[], rhs_contracting=[], lhs_batch=[], rhs_batch=[]} : f32[m=5, n=7]
  %inner = dot_general(%c, %b) {lhs_contracting=[1], rhs_contracting=[0], lhs_batch=[], rhs_batch=[]} : f32[m=5]`,
    "%outer, %inner",
  );
  for (const seed of range(20)) {
    const [a, b, c] = dataOf(module, seed) as [HostArray, HostArray, HostArray];
    const [outer, inner] = runModule(engine, module, [a, b, c]);
    expect(
      distance(
        outer!,
        range(35).map((i) => a[Math.floor(i / 7)]! * b[i % 7]!),
      ),
    ).toBeLessThan(1e-6);
    expect(
      distance(
        inner!,
        range(5).map((i) => range(7).reduce((sum, j) => sum + c[i * 7 + j]! * b[j]!, 0)),
      ),
    ).toBeLessThan(1e-5);
  }
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

describe("cross_entropy", () => {
  const build = (rows: number, classes: number, z: number) =>
    moduleOf(
      `param %x: f32[r=${rows}, v=${classes}], input %t: i32[r=${rows}]`,
      `%y = cross_entropy(%x, %t) {z_loss=${z}} : f32[r=${rows}]`,
      "%y",
    );

  test("is logsumexp minus the target's logit, plus z_loss times logsumexp squared", () => {
    fc.assert(
      fc.property(
        size(5),
        size(9),
        fc.constantFrom(0, 1e-4, 0.3),
        fc.constantFrom(1, 30),
        seeds,
        (rows, classes, z, spread, seed) => {
          const module = build(rows, classes, z);
          const [x, t] = dataOf(module, seed, { x: within(-spread, spread), t: within(0, classes - 1) }) as [
            HostArray,
            HostArray,
          ];
          expect(
            distance(runModule(engine, module, [x, t])[0]!, oracle.crossEntropy(x, t, classes, z), 1),
          ).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  test.each([0, 1e-4])("at logits of ±1e4 stays finite, and right (z_loss %d)", (z) => {
    const module = build(4, 3, z);
    const logits = Float32Array.from([1e4, -1e4, 0, -1e4, -1e4, -1e4, 1e4, 1e4, 1e4, 1e4, 9999, -1e4]);
    const targets = Int32Array.from([1, 2, 0, 1]);
    const [loss] = runModule(engine, module, [logits, targets]);
    expect(distance(loss!, oracle.crossEntropy(logits, targets, 3, z))).toBeLessThan(1e-5);
    for (const x of gradientsOf(module, [logits, targets])) expect(areFinite(x)).toBe(true);
  });
});

test("adamw is optax's formula over several steps", () => {
  const scalars = "f32[]";
  const module = moduleOf(
    `param %p: f32[n=6], param %g: f32[n=6], param %mu: f32[n=6], param %nu: f32[n=6], param %rate: ${scalars}, param %b1t: ${scalars}, param %b2t: ${scalars}`,
    "%p2, %mu2, %nu2 = adamw(%p, %g, %mu, %nu, %rate, %b1t, %b2t) {b1=0.9, b2=0.95, eps=1e-8, eps_root=1e-6, weight_decay=0.1} : f32[n=6], f32[n=6], f32[n=6]",
    "%p2, %mu2, %nu2",
  );
  const random = randomFrom(9);
  let state = [
    Float32Array.from(range(6), () => random() - 0.5),
    new Float32Array(6),
    new Float32Array(6),
  ] as HostArray[];
  let wanted = range(6).map((i): readonly [number, number, number] => [state[0]![i]!, 0, 0]);
  for (const step of [1, 2, 3, 4, 5]) {
    const [rate, grad] = [
      0.01 * step,
      Float32Array.from(range(6), (i) => (i === 0 ? 0 : (random() - 0.5) * 10 ** (i - 3))),
    ];
    const [p, mu, nu] = state as [HostArray, HostArray, HostArray];
    state = runModule(engine, module, [
      p,
      grad,
      mu,
      nu,
      ...[rate, 0.9 ** step, 0.95 ** step].map((x) => Float32Array.of(x)),
    ]);
    wanted = wanted.map(([p0, mu0, nu0], i) =>
      oracle.adamw(p0, grad[i]!, mu0, nu0, {
        b1: 0.9,
        b2: 0.95,
        eps: 1e-8,
        epsRoot: 1e-6,
        decay: 0.1,
        rate,
        step,
      }),
    );
    for (const [i, x] of state.entries())
      expect(
        distance(
          x,
          wanted.map((each) => each[i]!),
        ),
      ).toBeLessThan(2e-6);
  }
});

describe.each(["bf16", "f16"] as const)("%s", (dtype) => {
  const module = (count: number) =>
    moduleOf(`input %x: f32[n=${count}]`, `%y = convert(%x) : ${dtype}[n=${count}]`, "%y");
  const rounded = (values: ArrayLike<number>) => [
    ...runModule(engine, module(values.length), [Float32Array.from(values)])[0]!,
  ];

  test("rounds to the nearest, ties to even, over all magnitudes", () => {
    const random = randomFrom(13);
    const bits = new Uint32Array(4096).map(() => Math.floor(random() * 2 ** 32));
    const values = [...new Float32Array(bits.buffer)].filter((x) => !Number.isNaN(x));
    const near = range(2000).map(() => Math.fround((random() - 0.5) * 10 ** (6 - 14 * random())));
    const all = [...values, ...near];
    expect(rounded(all)).toEqual(all.map((x) => oracle.nearest(dtype, x)));
  });

  test("rounds ties, the largest, the smallest, zeros and infinities as IEEE does", () => {
    const steps = { bf16: 2 ** -7, f16: 2 ** -10 }[dtype];
    const edges = {
      bf16: [3.3895313892515355e38, 3.396177529230496e38, 3.39e38],
      f16: [65504, 65519, 65520, 65535],
    }[dtype];
    const tiny = {
      bf16: [2 ** -133, 2 ** -134, 3 * 2 ** -134, 2 ** -126],
      f16: [2 ** -24, 2 ** -25, 3 * 2 ** -25, 2 ** -14, 2 ** -14 - 2 ** -25],
    }[dtype];
    const ties = range(8).flatMap((i) => [1 + (i + 0.5) * steps, 1 + (i + 0.5) * steps + 2 ** -20]);
    const all = [...edges, ...tiny, ...ties, 0, Number.POSITIVE_INFINITY]
      .flatMap((x) => [x, -x])
      .map(Math.fround);
    expect(rounded(all)).toEqual(all.map((x) => oracle.nearest(dtype, x)));
    expect(rounded([Number.NaN])).toEqual([Number.NaN]);
  });

  test("sums, products and quotients are the rounded exact ones", () => {
    const random = randomFrom(17);
    const [a, b] = [0, 1].map(() =>
      rounded(range(500).map(() => (random() - 0.5) * 2 ** (8 - 16 * random()))),
    ) as [number[], number[]];
    const type = `${dtype}[n=500]`;
    const all = moduleOf(
      `input %a: ${type}, input %b: ${type}`,
      `%s = add(%a, %b) : ${type}\n  %p = multiply(%a, %b) : ${type}\n  %q = divide(%a, %b) : ${type}`,
      "%s, %p, %q",
    );
    const found = runModule(engine, all, [Float32Array.from(a), Float32Array.from(b)]);
    const wanted = [
      (x: number, y: number) => x + y,
      (x: number, y: number) => x * y,
      (x: number, y: number) => x / y,
    ];
    for (const [i, of] of wanted.entries())
      expect([...found[i]!]).toEqual(a.map((x, j) => oracle.nearest(dtype, of(x, b[j]!))));
  });
});

describe("softmax", () => {
  test("of extreme rows is finite, sums to one, and picks the largest", () => {
    const module = moduleOf("param %x: f32[r=5, n=3]", "%y = softmax(%x) : f32[r=5, n=3]", "%y");
    const x = Float32Array.from([
      1e4, -1e4, 0, -1e30, -1e30, -1e30, 3e38, 3e38, -3e38, 88, 89, 90, -1e30, 5, 5,
    ]);
    const [y] = runModule(engine, module, [x]);
    const e = [Math.exp(-2), Math.exp(-1), 1].map((w, _, all) => w / all.reduce((sum, v) => sum + v, 0));
    expect(distance(y!, [1, 0, 0, 1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 0, ...e, 0, 0.5, 0.5])).toBeLessThan(1e-6);
    for (const gradient of gradientsOf(module, [x])) expect(areFinite(gradient)).toBe(true);
  });
});

test("l2_norm at zero is zero with the gradient dy / sqrt(eps)", () => {
  const module = moduleOf("param %x: f32[r=2, n=3]", "%y = l2_norm(%x) {eps=1e-6} : f32[r=2, n=3]", "%y");
  const x = new Float32Array(6);
  expect([...runModule(engine, module, [x])[0]!]).toEqual([0, 0, 0, 0, 0, 0]);
  const [gradient] = gradientsOf(module, [x], 1);
  const random = randomFrom(1);
  const weights = randomData(module.body.results[0]!.type, random);
  expect(
    distance(
      gradient!,
      [...weights].map((w) => w * 1e3),
    ),
  ).toBeLessThan(1e-5);
});

test("log_plus_one and softplus keep their small values", () => {
  const module = moduleOf(
    "param %x: f32[n=3]",
    "%y = log_plus_one(%x) : f32[n=3]\n  %s = softplus(%x) : f32[n=3]",
    "%y, %s",
  );
  const x = Float32Array.of(1e-10, -1e-8, 1e-4);
  const [y] = runModule(engine, module, [x]);
  for (const [i, n] of [...x].entries()) expect(Math.abs(y![i]! / Math.log1p(n) - 1)).toBeLessThan(1e-6);
  const [, low] = runModule(engine, module, [Float32Array.of(-40, -80, 90)]);
  for (const [i, n] of [-40, -80, 90].entries())
    expect(Math.abs(low![i]! / Math.log1p(Math.exp(n)) - 1)).toBeLessThan(1e-6);
});

test("sums are formed in double precision", () => {
  const count = 100_000;
  const module = moduleOf(`param %x: f32[n=${count}]`, "%y = reduce_sum(%x) {axes=[0]} : f32[]", "%y");
  const x = new Float32Array(elements(module.body.params[0]!.type)).fill(0.1);
  expect(Math.abs(runModule(engine, module, [x])[0]![0]! / (count * Math.fround(0.1)) - 1)).toBeLessThan(
    1e-7,
  );
});
