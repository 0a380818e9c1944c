import { expect, test } from "@jest/globals";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { blockBuilder, buildBlock } from "../../compiler/ir/build.ts";
import { printModule } from "../../compiler/ir/print.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";
import { dim, elements, tensor } from "../../compiler/ir/shape.ts";
import type { Module } from "../../compiler/ir/types.ts";
import { startTfjsEngine } from "../../runtime/engines/tfjs/engine.ts";

const T = 7, B = 2, HK = 2, HV = 4, DK = 3, DV = 5;
const d = (label: string, size: number) => dim(label, size);
const make = (chunk: number): Module => {
  const params = [
    { hint: "q", type: tensor("f32", [d("batch", B), d("seq", T), d("k_heads", HK), d("dk", DK)]) },
    { hint: "k", type: tensor("f32", [d("batch", B), d("seq", T), d("k_heads", HK), d("dk", DK)]) },
    { hint: "v", type: tensor("f32", [d("batch", B), d("seq", T), d("v_heads", HV), d("dv", DV)]) },
    { hint: "g", type: tensor("f32", [d("batch", B), d("seq", T), d("v_heads", HV)]) },
    { hint: "beta", type: tensor("f32", [d("batch", B), d("seq", T), d("v_heads", HV)]) },
    { hint: "state", type: tensor("f32", [d("batch", B), d("v_heads", HV), d("dk", DK), d("dv", DV)]) },
  ];
  const body = buildBlock(params, (k, ins) => {
    const [o, s] = k.apply("gated_delta_rule", ins, { chunk_size: chunk });
    const loss = k.add(k.sum(k.mul(o!, k.sin(o!)), [0, 1, 2, 3]), k.sum(k.mul(s!, s!), [0, 1, 2, 3]));
    return [loss, o!, s!];
  });
  return { name: "f", roles: params.map(() => "param" as const), body };
};
test("delta rule", async () => {
  const engine = await startTfjsEngine();
  let seed = 1; const rnd = () => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed / 2147483648 - 0.5; };
  const m0 = make(0);
  const data = m0.body.params.map((p, i) => Float32Array.from({ length: elements(p.type) }, () => i === 3 ? -Math.abs(rnd()) : rnd()));
  const results = [0, 1, 2, 4, 7, 64].map((c) => {
    const m = differentiate(make(c));
    verifyModule(m);
    const text = printModule(m);
    expect(printModule(parseModule(text))).toBe(text);
    if (c === 4) console.log(text.slice(0, 6000));
    return engine.compile(m).run(m.body.params.map((p, i) => engine.upload(p.type, data[i]!))).map((b) => Array.from(engine.download(b)));
  });
  const num = [0,1,2,3,4,5].map((pi) => {
    const ex = engine.compile(m0);
    const f = (e: number) => { const dd = data.map((x, i) => i === pi ? x.map((v, j) => j === 2 ? v + e : v) : x); return engine.download(ex.run(m0.body.params.map((p, i) => engine.upload(p.type, dd[i]!)))[0]!)[0]!; };
    return (f(1e-2) - f(-1e-2)) / 2e-2;
  });
  console.log(num, results[0]!.slice(3).map((g) => g[2]));
  for (const r of results) r.forEach((x, i) => x.forEach((v, j) => expect(Math.abs(v - results[0]![i]![j]!)).toBeLessThan(1e-4)));
});
