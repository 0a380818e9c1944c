import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "@jest/globals";
import { randomFrom } from "../support/random.ts";
import { scratch } from "../support/scratch.ts";
import { compileProgram } from "../train/killing.ts";
import { conversionSurvivesKills } from "./kill-conversion.ts";

const folder = join(process.cwd(), "node_modules", ".cache", `q3c-convert-test-${process.pid}`);
beforeAll(() => void compileProgram(folder));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a conversion that is killed goes on where it was, in threads as well", async () => {
  await conversionSurvivesKills(folder, scratch(), 4, randomFrom(Date.now()));
});
