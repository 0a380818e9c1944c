// Each way a text can be wrong, with the whole of what is printed for it.
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { parseModule } from "../../compiler/ir/parse.ts";
import { codesIn, errorGoldens } from "../support/goldens.ts";

const codes = errorGoldens(fileURLToPath(new URL("errors/", import.meta.url)), parseModule);

test("every code of the intermediate representation has a golden", () => {
  expect(new Set(codes)).toEqual(
    codesIn("compiler/ir", "compiler/ops", "compiler/autodiff", "compiler/plan"),
  );
});
