import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "@jest/globals";
import { conversionSurvivesKills } from "../checkpoint/kill-conversion.ts";
import { randomFrom } from "../support/random.ts";
import { scratch } from "../support/scratch.ts";
import { compileProgram } from "../train/killing.ts";

const folder = join(process.cwd(), "node_modules", ".cache", `q3c-conversions-test-${process.pid}`);
beforeAll(() => void compileProgram(folder));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("conversions that are killed thirty times go on where they were", async () => {
  await conversionSurvivesKills(folder, scratch(), 30, randomFrom(Date.now()));
}, 900_000);
