// Speculative decoding gives what greedy decoding gives, token for token, and says how its drafts fared.
import { resolve } from "node:path";
import { beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadConfig } from "../../compiler/config/load.ts";
import { draftModel } from "../../compiler/model.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { runPipeline } from "../../passes/pass.ts";
import type { Weights } from "../../runtime/checkpoint/hugging-face.ts";
import { type Generator, openGenerator } from "../../runtime/decode/generator.ts";
import { type DraftingPair, openDraftingPair, speculate } from "../../runtime/decode/speculate.ts";
import { type Engine, optimizing } from "../../runtime/engines/engine.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { openForward } from "../../runtime/forward.ts";
import { startingDraft } from "../../runtime/starting-weights.ts";
import { relativeError } from "../reference/golden.ts";
import { tokensFrom, weightsOf } from "./support.ts";

const GOLDEN = "tests/goldens/mtp";
const LENGTH = 64;

const configOf = (dir: string) =>
  loadConfig(["base", `model_name=${resolve(dir)}`, "base_output_directory=unused"], {
    env: {},
    cwd: process.cwd(),
    modelsDir: resolve("models"),
  });

let engine: Engine;
let plain: Generator;
let pair: DraftingPair;
let weights: Weights;
beforeAll(async () => {
  engine = optimizing(await startTfjsEngine(), (module) => runPipeline(module, [fuseKernels]));
  const config = configOf(GOLDEN);
  weights = new Map([...weightsOf(config), ...startingDraft(config)!.weights]);
  plain = openGenerator(config, engine, weights, { length: LENGTH, chunk: 8 });
  pair = openDraftingPair(config, engine, weights, { length: LENGTH, chunk: 8 });
});

const choose = (logits: Float32Array): number => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));

/** What is asked of a decoder: rows go on until they have `most` tokens or the first of `stops`. */
type Task = {
  readonly prompts: readonly number[][];
  readonly most: readonly number[];
  readonly stops: readonly number[];
};

/** Runs a way of choosing next tokens to the end of every row. */
function decode(
  { prompts, most, stops }: Task,
  next: (room: readonly number[]) => readonly (readonly number[])[],
): number[][] {
  const rows: number[][] = prompts.map(() => []);
  const isDone = prompts.map(() => false);
  while (isDone.includes(false)) {
    const room = rows.map((own, row) => (isDone[row] ? 0 : most[row]! - own.length));
    next(room).forEach((tokens, row) => {
      expect(tokens.length).toBeLessThanOrEqual(Math.max(0, room[row]!));
      for (const token of tokens) {
        if (isDone[row]) break;
        rows[row]!.push(token);
        isDone[row] = stops.includes(token) || rows[row]!.length === most[row];
      }
    });
  }
  return rows;
}

function greedily(task: Task): number[][] {
  let fed = plain.feed(plain.start(task.prompts.length), task.prompts);
  const found = decode(task, (room) => {
    const chosen = fed.logits.map((logits, row) => (room[row] === 0 ? [] : [choose(logits)]));
    fed = plain.feed(fed.sequences, chosen);
    return chosen;
  });
  plain.drop(fed.sequences);
  return found;
}

function speculatively(task: Task, drafts: number) {
  const speculation = speculate(pair, task.prompts, { drafts, choose });
  const tokens = decode(task, speculation.next);
  speculation.drop();
  return { tokens, acceptance: speculation.acceptance };
}

test("fifty random prompts, for 1, 2 and 3 drafts: the tokens of greedy decoding, to a stop or the limit", () => {
  const tasks = Array.from({ length: 5 }, (_, group) => {
    const prompts = Array.from({ length: 10 }, (_, i) =>
      tokensFrom(10 * group + i, 1 + ((i * 3) % 11), plain.vocab),
    );
    return { prompts, most: prompts.map((_, i) => 1 + ((group + i * 11) % 13)), stops: [7, 30] };
  });
  const wanted = tasks.map(greedily);
  expect(wanted.some((rows, group) => rows.some((row, i) => row.length < tasks[group]!.most[i]!))).toBe(true);
  for (const drafts of [1, 2, 3]) {
    const found = tasks.map((task) => speculatively(task, drafts));
    expect(found.map(({ tokens }) => tokens)).toEqual(wanted);
    // At every place there were right drafts and wrong ones.
    for (let place = 0; place < drafts; place++) {
      const counts = found.map(
        ({ acceptance }) => [acceptance.drafted[place]!, acceptance.accepted[place]!] as const,
      );
      const drafted = counts.reduce((n, [count]) => n + count, 0);
      const accepted = counts.reduce((n, [, count]) => n + count, 0);
      expect(accepted).toBeGreaterThan(0);
      expect(accepted).toBeLessThan(drafted);
    }
  }
});

test("any prompts, limits, stops and number of drafts", () => {
  const row = fc.record({
    seed: fc.nat(1e6),
    length: fc.integer({ min: 1, max: 20 }),
    most: fc.integer({ min: 1, max: 25 }),
  });
  const count = fc.constantFrom(1, 3);
  const rows = count.chain((n) => fc.array(row, { minLength: n, maxLength: n }));
  const stops = fc.uniqueArray(fc.nat(36), { maxLength: 3 });
  fc.assert(
    fc.property(rows, stops, fc.integer({ min: 1, max: 5 }), (chosen, stops, drafts) => {
      const task = {
        prompts: chosen.map(({ seed, length }) => tokensFrom(seed, length, plain.vocab)),
        most: chosen.map(({ most }) => most),
        stops,
      };
      expect(speculatively(task, drafts).tokens).toEqual(greedily(task));
    }),
    { numRuns: 4 },
  );
});

test("each draft is the head's choice, given the hidden states of all tokens and then its own", () => {
  const config = configOf(GOLDEN);
  const prompt = tokensFrom(9, 6, plain.vocab);
  const seen: Float32Array[] = [];
  const speculation = speculate(pair, [prompt], {
    drafts: 3,
    choose(logits) {
      seen.push(logits);
      return choose(logits);
    },
  });
  const [[first]] = speculation.next([9]) as [[number]];
  speculation.next([8]);
  speculation.drop();
  const drafts = seen.slice(1, 4);

  const forward = openForward(config, engine, weights, ["normed"]);
  const tokens = [...prompt.slice(1), first];
  let [hidden] = forward.run(prompt).taps as [Float32Array];
  const width = hidden.length / prompt.length;
  for (const [place, logits] of drafts.entries()) {
    const seq = tokens.length;
    const { module, params } = draftModel(config, { sizes: { batch: 1, seq }, taps: ["normed"] })!;
    const inputs = [Int32Array.from(tokens), Int32Array.from(tokens.keys()), hidden];
    const results = engine
      .compile(module)
      .run([
        ...inputs.map((data, i) => engine.upload(module.body.params[i]!.type, data)),
        ...params.map(({ path, value }) => engine.upload(value.type, weights.get(path)!)),
      ])
      .map((buffer) => engine.download(buffer) as Float32Array);
    const error = relativeError(logits, results[0]!.slice(-plain.vocab));
    expect([place, error < 1e-5]).toEqual([place, true]);
    tokens.push(choose(logits));
    hidden = Float32Array.from([...hidden, ...results[1]!.slice(-width)]);
  }
  forward.release();
});

test("a sequence that fills the room there is", () => {
  const prompts = [tokensFrom(5, LENGTH - 9, plain.vocab)];
  const task = { prompts, most: [9], stops: [] };
  expect(speculatively(task, 3).tokens).toEqual(greedily(task));
});
