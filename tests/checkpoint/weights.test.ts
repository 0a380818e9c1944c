// Weights for a run come from a checkpoint of either format, with layers stacked or single, and are the same.
import { join, resolve } from "node:path";
import { expect, test } from "@jest/globals";
import { loadConfig } from "../../compiler/config/load.ts";
import { forwardModel } from "../../compiler/model.ts";
import { startingDraft, startingWeights } from "../../runtime/starting-weights.ts";
import { scratch } from "../support/scratch.ts";
import { conversionOf, convert } from "./convert-support.ts";

const configOf = (model: string, ...keys: string[]) =>
  loadConfig(["base", `model_name=${model}`, "base_output_directory=unused", ...keys], {
    env: {},
    cwd: process.cwd(),
    modelsDir: resolve("models"),
  });

const isSame = (a: Float32Array | undefined, b: Float32Array): boolean =>
  a !== undefined && Buffer.from(a.buffer).equals(Buffer.from(b.buffer));

test.each([
  ["tests/goldens/maxtext-tiny", true],
  ["tests/goldens/maxtext-tiny", false],
  ["tests/goldens/mtp", false],
])(
  "of %s as MaxText's tree, layers stacked: %s: by its item, its step and its directory",
  async (model, scanned) => {
    const directory = scratch();
    await convert(conversionOf(model, model, directory, { scanned }));
    const fromFile = configOf(model);
    const { params } = forwardModel(fromFile);
    const weights = startingWeights(fromFile, params);
    const draft = startingDraft(fromFile);
    expect(draft === undefined).toBe(model !== "tests/goldens/mtp");
    for (const path of [directory, join(directory, "0"), join(directory, "0/items")]) {
      const config = configOf(model, `load_parameters_path=${path}`);
      const found = startingWeights(config, params);
      expect([...found.keys()].toSorted()).toEqual([...weights.keys()].toSorted());
      for (const [name, values] of weights)
        expect([name, isSame(found.get(name), values)]).toEqual([name, true]);
      const head = startingDraft(config)?.weights;
      for (const [name, values] of draft?.weights ?? [])
        expect([name, isSame(head?.get(name), values)]).toEqual([name, true]);
    }
  },
);
