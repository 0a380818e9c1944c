// Where every tensor of a program lies and how much it needs at once. The program itself stays as it is.
import type { Module } from "../compiler/ir/types.ts";
import { planMemory } from "../compiler/plan/memory.ts";
import { memoryLines } from "../compiler/plan/report.ts";
import type { Pass } from "./pass.ts";

export const planMemoryPass: Pass = {
  name: "plan-memory",
  doc: "Lifetimes, places in one arena, results in the place of operands that go, and the peak, before anything runs.",
  run(module: Module, remark): Module {
    for (const line of memoryLines(planMemory(module, { inPlace: true }))) remark(line);
    return module;
  },
};
