// Each way a text can be wrong, with the whole of what is printed for it.
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { parseModule } from "../../compiler/ir/parse.ts";
import { errorGoldens } from "../support/goldens.ts";

const codes = errorGoldens(fileURLToPath(new URL("errors/", import.meta.url)), parseModule);

test("every code of the reader has a golden", () => {
  expect([...new Set(codes)].sort()).toEqual([
    "bad-attribute",
    "bad-operands",
    "ir-name",
    "ir-op",
    "ir-role",
    "ir-syntax",
    "ir-type",
  ]);
});
