// The dense architecture does what its keys say.
import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { elaborated, tiny } from "./fixture.ts";

const text = readFileSync(new URL("../../models/qwen3.arch", import.meta.url), "utf8");

test.each([
  [0.25, 2],
  [0.5, 4],
  [1, 8],
])("partial_rotary_factor=%d rotates %d of 8 dims", (partial_rotary_factor, rotated) => {
  const { module } = elaborated(text, { ...tiny, num_decoder_layers: 1, partial_rotary_factor });
  const dims = module.body.nodes.flatMap(({ op, attrs }) =>
    op.name === "rotary_embedding" ? [attrs["rotary_dim"]] : [],
  );
  expect(dims).toEqual([rotated, rotated]);
});
