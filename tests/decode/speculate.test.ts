// Speculative decoding gives what greedy decoding gives, token for token, and says how its drafts fared.
import { resolve } from "node:path";
import { beforeAll, expect, test } from "@jest/globals";
import fc from "fast-check";
import { loadConfig } from "../../compiler/config/load.ts";
import { draftModel } from "../../compiler/model.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { runPipeline } from "../../passes/pass.ts";
import type { Weights } from "../../runtime/checkpoint/hugging-face.ts";
import { generate, type Token } from "../../runtime/decode/generate.ts";
import { type Generator, openGenerator } from "../../runtime/decode/generator.ts";
import { greedy } from "../../runtime/decode/sampling.ts";
import {
  type Acceptance,
  type DraftingPair,
  openDraftingPair,
  speculate,
} from "../../runtime/decode/speculate.ts";
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

const best = (logits: Float32Array): number => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));

/** What is asked of a decoder. */
type Task = {
  readonly prompts: readonly number[][];
  readonly most: number;
  readonly stops: readonly number[];
};

const optionsOf = ({ most, stops }: Task) => ({ most, stops: new Set(stops) });

/** Tokens with their log probabilities by row, in whatever order rows took turns. */
const byRow = (tokens: Iterable<Token>, { prompts }: Task) => {
  const all = [...tokens];
  return prompts.map((_, i) => all.flatMap(({ row, ...token }) => (row === i ? [token] : [])));
};

const greedily = (task: Task) =>
  byRow(generate(plain, task.prompts, { sampling: greedy, seed: 0, ...optionsOf(task) }), task);

function speculatively(task: Task, drafts: number, from = pair) {
  const acceptance: Acceptance = { drafted: [], accepted: [] };
  const tokens = byRow(speculate(from, task.prompts, { ...optionsOf(task), drafts, acceptance }), task);
  return { tokens, acceptance };
}

test("fifty random prompts, for 1, 2 and 3 drafts: the tokens of greedy decoding, to a stop or the limit", () => {
  const tasks = Array.from({ length: 5 }, (_, group) => ({
    prompts: Array.from({ length: 10 }, (_, i) =>
      tokensFrom(10 * group + i, 1 + ((i * 3) % 11), plain.vocab),
    ),
    most: 4 + 3 * group,
    stops: [7, 30],
  }));
  const wanted = tasks.map(greedily);
  const ends = new Set(wanted.flat().map((row) => row.at(-1)!.end));
  expect([...ends].sort()).toEqual(["length", "stop"]);
  for (const drafts of [1, 2, 3]) {
    const found = tasks.map((task) => speculatively(task, drafts));
    expect(found.map(({ tokens }) => tokens)).toEqual(wanted);
    // At every place there were right drafts and wrong ones.
    for (let place = 0; place < drafts; place++) {
      // The shortest answers have no room for three.
      const total = (kind: keyof Acceptance): number =>
        found.reduce((n, { acceptance }) => n + (acceptance[kind][place] ?? 0), 0);
      const [drafted, accepted] = [total("drafted"), total("accepted")];
      expect(accepted).toBeGreaterThan(0);
      expect(accepted).toBeLessThan(drafted);
    }
  }
});

test("any prompts, limits, stops and number of drafts", () => {
  const row = fc.record({ seed: fc.nat(1e6), length: fc.integer({ min: 1, max: 20 }) });
  const rows = fc.constantFrom(1, 3).chain((n) => fc.array(row, { minLength: n, maxLength: n }));
  const stops = fc.uniqueArray(fc.nat(36), { maxLength: 3 });
  const [most, drafts] = [fc.integer({ min: 0, max: 25 }), fc.integer({ min: 1, max: 5 })];
  fc.assert(
    fc.property(rows, most, stops, drafts, (chosen, most, stops, drafts) => {
      const prompts = chosen.map(({ seed, length }) => tokensFrom(seed, length, plain.vocab));
      const task = { prompts, most, stops };
      expect(speculatively(task, drafts).tokens).toEqual(greedily(task));
    }),
    { numRuns: 4 },
  );
});

test("each draft is the head's choice, given the hidden states of all tokens and then its own", () => {
  const config = configOf(GOLDEN);
  const prompt = tokensFrom(9, 6, plain.vocab);
  const drafts: Float32Array[] = [];
  const draft = {
    ...pair.draft,
    feed(...args: Parameters<typeof pair.draft.feed>) {
      const fed = pair.draft.feed(...args);
      drafts.push(fed.logits[0]!);
      return fed;
    },
  };
  const { tokens: found } = speculatively({ prompts: [prompt], most: 5, stops: [] }, 3, { ...pair, draft });
  // The first feed is the prompt's, whose next token the model has yet to choose.
  const first = found[0]![0]!.id;
  expect(drafts.length).toBeGreaterThanOrEqual(4);

  const forward = openForward(config, engine, weights, ["normed"]);
  const tokens = [...prompt.slice(1), first];
  let [hidden] = forward.run(prompt).taps as [Float32Array];
  const width = hidden.length / prompt.length;
  for (const [place, logits] of drafts.slice(1, 4).entries()) {
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
    tokens.push(best(logits));
    hidden = Float32Array.from([...hidden, ...results[1]!.slice(-width)]);
  }
  forward.release();
});

test("a sequence that fills the room there is", () => {
  const prompts = [tokensFrom(5, LENGTH - 9, plain.vocab)];
  const task = { prompts, most: 10, stops: [] };
  expect(speculatively(task, 3).tokens).toEqual(greedily(task));
});
