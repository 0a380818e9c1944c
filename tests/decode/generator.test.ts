// A model that goes on from what it has seen computes what it computes on the whole.
import { beforeAll, describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { allNodes } from "../../compiler/ir/rewrite.ts";
import { elements } from "../../compiler/ir/shape.ts";
import { decodeModel } from "../../compiler/model.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { runPipeline } from "../../passes/pass.ts";
import { EACH, type Generator } from "../../runtime/decode/generator.ts";
import { type Engine, optimizing } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { configOf, goldenDirectories, readLogits, relativeError } from "../reference/golden.ts";
import { feedParts, forwardOf, generatorOf, statesOf, tokensFrom } from "./support.ts";

let engine: Engine;
let fusing: Engine;
beforeAll(async () => {
  engine = await startTfjsEngine();
  // As the command line starts it.
  fusing = optimizing(engine, (module) => runPipeline(module, [fuseKernels]));
});

const random = "tests/goldens/random-a";
const near = (found: ArrayLike<number>, wanted: ArrayLike<number>): boolean =>
  found.length === wanted.length && relativeError(found, wanted) < 2e-5;

describe.each(goldenDirectories())("%s", (dir) => {
  test("the golden logits, token by token", () => {
    const config = configOf(dir);
    const records = readLogits(dir);
    const length = Math.max(...records.map(({ tokens }) => tokens.length));
    const generator = generatorOf(config, fusing, { length });
    for (const { tokens, logits } of records) {
      const width = logits.length / tokens.length;
      const { logits: found, sequences } = feedParts(
        generator,
        tokens.map((token) => [token]),
        true,
      );
      generator.drop(sequences);
      for (let i = 0; i < tokens.length; i++) {
        const [from, to] = [i * width, (i + 1) * width];
        expect(relativeError(found.subarray(from, to), logits.subarray(from, to))).toBeLessThanOrEqual(1e-4);
      }
    }
    generator.release();
  });
});

describe.each([random, "tests/goldens/qwen3-dense"])("%s", (dir) => {
  let generator: Generator;
  beforeAll(() => {
    generator = generatorOf(configOf(dir), fusing, { length: 64, chunk: 8 });
  });

  /** State and last logits of a prompt that was read in parts. */
  const readIn = (parts: readonly (readonly number[])[]) => {
    const { logits, sequences } = feedParts(generator, parts);
    const states = statesOf(engine, sequences);
    generator.drop(sequences);
    return [logits, ...states];
  };

  test("a prompt read in any parts leaves the same state and logits", () => {
    const prompt = tokensFrom(11, 50, generator.vocab);
    const whole = readIn([prompt]);
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: prompt.length - 1 }), { maxLength: 4 });
    fc.assert(
      fc.property(cuts, (chosen) => {
        const edges = [0, ...chosen.sort((a, b) => a - b), prompt.length];
        const found = readIn(edges.slice(1).map((edge, i) => prompt.slice(edges[i], edge)));
        found.forEach((each, i) => {
          expect([i, near(each, whole[i]!)]).toEqual([i, true]);
        });
      }),
      { numRuns: 4 },
    );
  });

  test("rows of different lengths are what each is alone", () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(lengths, lengths, fc.nat(1e6), (first, second, seed) => {
        const rowsOf = (counts: readonly number[], salt: number) =>
          counts.map((count, row) => tokensFrom(seed + salt + row, count, generator.vocab));
        const [before, after] = [rowsOf(first, 0), rowsOf(second, 10)];
        const once = generator.feed(generator.start(3), before).sequences;
        const { sequences, logits } = generator.feed(once, after, { wanted: EACH });
        expect(sequences.lengths).toEqual(first.map((n, row) => n + second[row]!));
        logits.forEach((found, row) => {
          const alone = generator.feed(generator.start(1), [before[row]!]).sequences;
          const wanted = generator.feed(alone, [after[row]!], { wanted: EACH });
          expect([row, found.length === 0 || near(found, wanted.logits[0]!)]).toEqual([row, true]);
          expect(found.length).toBe(second[row]! * generator.vocab);
          const own = statesOf(engine, wanted.sequences);
          statesOf(engine, sequences).forEach((state, i) => {
            const size = state.length / 3;
            const part = state.slice(row * size, (row + 1) * size);
            const isZero = own[i]!.every((x) => x === 0);
            expect([i, isZero ? part.every((x) => x === 0) : near(part, own[i]!)]).toEqual([i, true]);
          });
          generator.drop(wanted.sequences);
        });
        generator.drop(sequences);
      }),
      { numRuns: 3 },
    );
  });

  test("the logits of as many last tokens as are wanted are those of all tokens, to the bit", () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 2, maxLength: 2 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 21 }), fc.nat(1e6), (counts, wanted, seed) => {
        const rows = counts.map((count, row) => tokensFrom(seed + row, count, generator.vocab));
        const read = (wanted: number) => {
          const { sequences, logits } = generator.feed(generator.start(2), rows, { wanted });
          generator.drop(sequences);
          return logits;
        };
        const all = read(EACH);
        expect(all.map(({ length }) => length)).toEqual(counts.map((count) => count * generator.vocab));
        expect(read(wanted)).toEqual(all.map((each) => each.slice(-wanted * generator.vocab)));
      }),
      { numRuns: 4 },
    );
  });

  test("a program makes no logits but those that are wanted", () => {
    const { module, states } = decodeModel(configOf(dir), { batch: 2, seq: 8, wanted: 3 });
    const sizes = [...allNodes(module.body)].flatMap(({ outs }) => outs.map(({ type }) => elements(type)));
    const weights = module.body.params.map(({ type }) => elements(type));
    const made = sizes.filter((size) => size % generator.vocab === 0 && !weights.includes(size));
    expect(states.length).toBeGreaterThan(0);
    expect(Math.max(...made)).toBe(2 * 3 * generator.vocab);
  });

  test("kept sequences can be gone back to, and what came after them is gone then", () => {
    const [prompt, wrong, right] = [20, 5, 3].map((count, i) => tokensFrom(i, count, generator.vocab));
    const kept = generator.feed(generator.start(1), [prompt!]).sequences;
    const drafted = generator.feed(kept, [wrong!], { isKept: true }).sequences;
    const { sequences, logits } = generator.feed(kept, [right!]);
    expect(() => generator.feed(drafted, [right!])).toThrow("were fed or dropped");
    expect(() => generator.feed(kept, [right!])).toThrow("were fed or dropped");
    const plain = feedParts(generator, [prompt!, right!]);
    expect(near(logits[0]!, plain.logits)).toBe(true);
    const [found, wanted] = [sequences, plain.sequences].map((each) => statesOf(engine, each));
    const seen = (prompt!.length + right!.length) / generator.length;
    const { states } = decodeModel(configOf(dir), { batch: 1, seq: 1 });
    found!.forEach((state, i) => {
      // What attention keeps of the wrong tokens stays after the right ones, where nobody reads it.
      const end = states[i]!.isRewindable ? state.length * seen : state.length;
      expect([i, near(state.slice(0, end), wanted![i]!.slice(0, end))]).toEqual([i, true]);
    });
    generator.drop(sequences);
    generator.drop(plain.sequences);
  });

  test("tokens that are none, and more than there is room for, are refused before anything runs", () => {
    const empty = generator.start(1);
    expect(() => generator.feed(empty, [[generator.vocab]])).toThrow("the model has no token");
    expect(() => generator.feed(empty, [new Array(65).fill(1)])).toThrow("there is room for 64");
    expect(generator.feed(empty, [new Array(64).fill(1)]).sequences.lengths).toEqual([64]);
  });
});

test("taps come beside the logits, of each token, however many logits are wanted", () => {
  const config = configOf(random);
  const tokens = tokensFrom(3, 9, config.values.vocab_size);
  const forward = forwardOf(config, engine, ["normed"]);
  const generator = generatorOf(config, engine, { length: 16, chunk: 4, taps: ["normed"] });
  const whole = forward.run(tokens).taps[0]!;
  for (const wanted of [1, 5, EACH]) {
    const [found] = generator.feed(generator.start(1), [tokens], { wanted }).taps;
    expect([wanted, near(found![0]!, whole)]).toEqual([wanted, true]);
  }
  forward.release();
  generator.release();
});
