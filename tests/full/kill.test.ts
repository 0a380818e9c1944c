import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "@jest/globals";
import { randomFrom } from "../support/random.ts";
import { scratch } from "../support/scratch.ts";
import { compileProgram, survivesKills } from "../train/killing.ts";

const folder = join(process.cwd(), "node_modules", ".cache", `q3c-kills-test-${process.pid}`);
let program = "";
beforeAll(() => {
  program = compileProgram(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("training that is killed thirty times goes on from the latest checkpoint as if nothing had been", async () => {
  await survivesKills(program, scratch(), 30, randomFrom(Date.now()));
}, 900_000);
