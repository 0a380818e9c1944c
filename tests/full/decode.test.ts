// A prompt of 150 tokens, split at every point.
import { describe, expect, test } from "@jest/globals";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { feedParts, generatorOf, statesOf, tokensFrom } from "../decode/support.ts";
import { configOf, goldenDirectories, relativeError } from "../reference/golden.ts";

const engine = await startTfjsEngine();

describe.each(goldenDirectories())("%s", (dir) => {
  test("a prompt read in two parts, wherever it is split, leaves the same state and logits", () => {
    const generator = generatorOf(configOf(dir), engine, { length: 150 });
    const prompt = tokensFrom(11, 150, generator.vocab);
    const feed = (...parts: (readonly number[])[]) => {
      const { logits, sequences } = feedParts(generator, parts);
      const states = statesOf(engine, sequences);
      generator.drop(sequences);
      return [logits, ...states];
    };
    const whole = feed(prompt);
    for (let split = 1; split < prompt.length; split++)
      feed(prompt.slice(0, split), prompt.slice(split)).forEach((found, i) => {
        expect([split, i, relativeError(found, whole[i]!) < 2e-5]).toEqual([split, i, true]);
      });
    generator.release();
  }, 600_000);
});
