// Every op of the table on every case: what it says about itself is what it does.
import { describe, expect, test } from "@jest/globals";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { isFloat } from "../../compiler/dtype.ts";
import { expand } from "../../compiler/ir/expand.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { shapeOf } from "../../compiler/ir/shape.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { hasKernel } from "../../compiler/ops/fused.ts";
import { ops } from "../../compiler/ops/index.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";
import { type Case, cases, floatParams, operandsOf } from "../support/cases.ts";
import { difference } from "../support/equal.ts";
import { checkGradients, lossOf } from "../support/gradients.ts";
import { randomFrom } from "../support/random.ts";
import { distance, runModule, runner } from "../support/run.ts";

const engines = [await startTfjsEngine("wasm"), await startTfjsEngine("cpu")] as const;
const [wasm] = engines;
const SEED = 7;

/** The case's own node replaced by its decomposition. */
const expanded = ({ module, op }: Case): Module => ({
  ...module,
  body: expand(module.body, (node) => node.op.name === op),
});
const opOf = ({ op }: Case) => ops.find(({ name }) => name === op)!;
const title = (each: Case): [string, Case] => [each.name, each];

test("every op has a case, and every case an op", () => {
  expect([...new Set(cases.map(({ op }) => op))].sort()).toEqual(ops.map(({ name }) => name).sort());
});

test("both backends are here", () => {
  expect(engines.map(({ name }) => name)).toEqual(["tfjs-wasm", "tfjs-cpu"]);
});

describe.each(cases.map(title))("%s", (_name, each) => {
  const op = opOf(each);
  const data = () => operandsOf(each, randomFrom(SEED));

  test("holds, and prints as text that reads back to the same module", () => {
    verifyModule(each.module);
    const text = printModule(each.module);
    const again = parseModule(text);
    expect(difference(again, each.module)).toBeUndefined();
    expect(printModule(again)).toBe(text);
  });

  test("runs to what is inferred, the same on both backends", () => {
    const [first, second] = engines.map((engine) => runner(engine, each.module)(data()));
    each.module.body.results.forEach((result, i) => {
      const { data: found, shape } = first![i]!;
      expect(shape).toEqual(shapeOf(result.type));
      const array = { i32: Int32Array, bool: Uint8Array }[result.type.dtype as string] ?? Float32Array;
      expect(found).toBeInstanceOf(array);
      expect(distance(second![i]!.data, found)).toBeLessThan(1e-5);
    });
  });

  if (op.decompose && hasKernel(op))
    test("its decomposition is its own run", () => {
      const own = runModule(wasm, each.module, data());
      const simpler = runModule(wasm, expanded(each), data());
      for (const [i, x] of own.entries()) expect(distance(simpler[i]!, x)).toBeLessThan(1e-5);
    });

  if (op.decompose && op.vjp)
    test("its gradient rule is its decomposition's gradient", () => {
      const weights = lossOf(each.module).body.params.slice(data().length);
      const random = randomFrom(SEED + 1);
      const ins = [
        ...data(),
        ...weights.map(({ type }) =>
          Float32Array.from({ length: shapeOf(type).reduce((n, d) => n * d, 1) }, () => random() - 0.5),
        ),
      ];
      const [own, simpler] = [each.module, expanded(each)].map((module) =>
        runModule(wasm, differentiate(lossOf(module)), ins),
      );
      for (const [i, x] of own!.entries()) expect(distance(simpler![i]!, x)).toBeLessThan(1e-5);
    });

  if (op.discrete && floatParams(each).length > 0)
    test("lets no gradient through", () => {
      const joint = differentiate(lossOf({ ...each.module, body: withFloats(each.module) }));
      for (const gradient of joint.body.results.slice(1)) {
        const made = joint.body.nodes.find((node) => node.outs.includes(gradient))!;
        expect([made.op.name, made.attrs["value"]]).toEqual(["constant", 0]);
      }
    });

  if (
    !op.discrete &&
    floatParams(each).length > 0 &&
    each.module.body.results.some((x) => isFloat(x.type.dtype))
  )
    test("its gradient is what small steps show", () => {
      const joint = differentiate(lossOf(each.module));
      verifyModule(joint, "differentiate");
      for (const { error, param, found, wanted } of checkGradients(
        wasm,
        each.module,
        data(),
        randomFrom(SEED + 2),
      ))
        expect({ param, found, wanted, isNear: error < 1e-3 }).toMatchObject({ isNear: true });
    });
});

/** The module's body with masks and integers turned into floats, so that a loss can be made of them. */
function withFloats(module: Module): Module["body"] {
  const { body } = parseModule(
    printModule(module).replace(
      /\n {2}return (%\w+)\n/,
      (_whole, result) =>
        `\n  %as_float = convert(${result}) : ${convertedType(module)}\n  return %as_float\n`,
    ),
  );
  return body;
}

const convertedType = ({ body }: Module): string =>
  `f32[${body.results[0]!.type.dims.map((d) => `${d.label}=${d.size}`).join(", ")}]`;
