// The measure for programs that round at other places: it lets rounding through and nothing else.
import { expect, test } from "@jest/globals";
import { parseModule } from "../../compiler/ir/parse.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { expectSameButRounding } from "../support/rounding.ts";
import { runModule } from "../support/run.ts";

const engine = await startTfjsEngine();
/** y of x and of numbers near 1000. */
const program = (...lines: string[]): Module =>
  parseModule(
    `module m(param %x: f32[n=3], param %big: f32[n=3]) {\n${lines.join("\n")}\nreturn %y\n}\n`,
    "m",
  );
const numbers = [Float32Array.of(0.3, -0.7, 1.1), Float32Array.of(1001, -997, 1003)];
const compare = (module: Module, other: Module) => () =>
  expectSameButRounding(engine, module, numbers, runModule(engine, other, numbers), 1e-6);

const cancelling = ["%sum = add(%x, %big) : f32[n=3]", "%back = subtract(%sum, %big) : f32[n=3]"];
const kept = program("%none = subtract(%big, %big) : f32[n=3]", "%y = add(%x, %none) : f32[n=3]");
const times = (factor: number): Module =>
  program(
    ...cancelling,
    `%factor = constant() {value=${factor}} : f32[]`,
    "%y = multiply(%back, %factor) : f32[n=3]",
  );

test("what rounding explains is let through", () => {
  expect(compare(times(1), kept)).not.toThrow();
});

test("what it does not explain is not, though the module magnifies rounding", () => {
  expect(compare(times(1), times(1.01))).toThrow("isSame");
});

test("nor a program that magnifies rounding where the module does not", () => {
  expect(compare(kept, times(1))).toThrow("isSame");
});
