import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { randomFrom } from "../support/random.ts";
import { scratch } from "../support/scratch.ts";
import { compileProgram, interruptProgram, runProgram, survivesKills } from "./killing.ts";

const folder = join(process.cwd(), "node_modules", ".cache", `q3c-kill-test-${process.pid}`);
let program = "";
beforeAll(() => {
  program = compileProgram(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("training that is killed goes on from the latest checkpoint as if nothing had been", async () => {
  await survivesKills(program, scratch(), 3, randomFrom(Date.now()));
});

test("a checkpoint that cannot be written ends the run with its error, though a thread writes it", async () => {
  const out = scratch();
  mkdirSync(join(out, "killed", "checkpoints"), { recursive: true });
  writeFileSync(join(out, "killed", "checkpoints", "0"), "");
  const { code, err } = await runProgram(program, out, 3);
  expect([code, err]).toEqual([
    1,
    expect.stringMatching(/checkpoints\/0: checkpoint-exists: already exists/),
  ]);
});

test("training that is interrupted says where it goes on, and leaves checkpoints and nothing else", async () => {
  const out = scratch();
  const { code, err } = await interruptProgram(program, out);
  expect([code, err]).toEqual([
    130,
    expect.stringMatching(/^interrupted; the same command goes on at step [1-9]\d*\n$/),
  ]);
  expect(readdirSync(join(out, "killed"))).toEqual(["checkpoints"]);
});
