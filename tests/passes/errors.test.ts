// Each way the text of a pass can be wrong, with the whole of what is printed for it.
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { readPass } from "../../passes/index.ts";
import { codesIn, errorGoldens } from "../support/goldens.ts";

const codes = errorGoldens(fileURLToPath(new URL("errors/", import.meta.url)), readPass);

test("every code of the passes has a golden", () => {
  expect(new Set(codes)).toEqual(codesIn("passes"));
});
