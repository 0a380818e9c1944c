// Slips in an architecture: an error with a place in the file, or a module that holds. Never another exception.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { difference } from "../support/equal.ts";
import { isPlaced, problemOf } from "../support/failures.ts";
import { mutations } from "../support/mutate.ts";
import { archText, programs, tiny } from "./fixture.ts";

function attempt(text: string): void {
  let modules: readonly Module[] = [];
  const problem = problemOf(() => {
    modules = programs(text, tiny).map(({ module }) => module);
  });
  if (problem) {
    expect({ message: problem.message, isPlaced: isPlaced(problem, text) }).toMatchObject({ isPlaced: true });
    return;
  }
  for (const module of modules) {
    verifyModule(module);
    expect(difference(parseModule(printModule(module)), module)).toBeUndefined();
  }
}

test("the shipped architecture with up to three slips", () => {
  fc.assert(fc.property(mutations(archText), attempt), { numRuns: 500 });
});

test("the shipped architecture cut off anywhere", () => {
  const code = (text: string) => text.replaceAll(/#.*$/gm, "").trim();
  // The draft is not needed: what ends before it is whole.
  const whole = code(archText.slice(0, archText.indexOf("\ndraft ")));
  const ends = Array.from({ length: 200 }, (_, i) => Math.floor((i * archText.length) / 200));
  for (const end of ends) {
    const text = archText.slice(0, end);
    const problem = problemOf(() => programs(text, tiny));
    expect(problem?.diagnostics[0]?.code).toBe(code(text) === whole ? undefined : "arch-syntax");
    attempt(text);
  }
});
