// Each way an architecture can be wrong, with the whole of what is printed for it.
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { errorGoldens } from "../support/goldens.ts";
import { programs } from "./fixture.ts";

const values = { hidden_size: 8, num_heads: 2, num_layers: 2, activation: "silu", eps: 1e-6 };

const codes = errorGoldens(fileURLToPath(new URL("errors/", import.meta.url)), (text, file) =>
  programs(text, values, file),
);

test("every code of the language has a golden", () => {
  expect(new Set(codes)).toEqual(
    new Set([
      ...["arch-arity", "arch-dim", "arch-init", "arch-layout", "arch-name", "arch-recursion", "arch-shape"],
      "arch-state",
      ...["arch-syntax", "arch-type", "bad-attribute", "bad-operands", "expression-type", "expression-value"],
    ]),
  );
});
