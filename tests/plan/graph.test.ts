// The execution graph is the program: every use is an edge, levels follow edges, the longest chain is the longest.
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { differentiate } from "../../compiler/autodiff/differentiate.ts";
import { flopsOf } from "../../compiler/ir/cost.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { formatType } from "../../compiler/ir/shape.ts";
import type { Block, Module, Value } from "../../compiler/ir/types.ts";
import { type ExecutionGraph, executionGraph, longestChain } from "../../compiler/plan/graph.ts";
import { fuseKernels } from "../../passes/fuse-kernels.ts";
import { lossOf } from "../support/gradients.ts";
import { moduleOf, recipes } from "../support/modules.ts";

const looped = `module m(
  input %c: f32[n=2],
  param %x: f32[t=3, n=2]
) {
  %last, %ys = scan(%c, %x) {length=3, carries=1, xs=1, reverse=false, label="t"} : f32[n=2], f32[t=3, n=2]
    (%c: f32[n=2], %x: f32[n=2]) {
      %m, %n = fused(%c, %x) : f32[n=2], f32[n=2]
        (%c: f32[n=2], %x: f32[n=2]) {
          %m = multiply(%c, %x) : f32[n=2]
          %n = sine(%m) : f32[n=2]
          return %m, %n
        }
      return %n, %m
    }
  %square = multiply(%last, %last) : f32[n=2]
  return %square, %ys
}
`;

test("a loop with a loop nest in it, whole", () => {
  const graph = executionGraph(parseModule(looped, "looped.q3"));
  const { nodes, edges, ...rest } = graph.export();
  const lines = [rest, ...nodes, ...edges].map((each) => JSON.stringify(each));
  const text = `${lines.join("\n")}\n`;
  const file = new URL("../golden/graph.jsonl", import.meta.url);
  if (process.env["UPDATE_GOLDENS"]) writeFileSync(file, text);
  else expect(text).toBe(readFileSync(file, "utf8"));
  // Three turns of multiply, sine and their nest, which is no work of its own; the loop and the square.
  expect(longestChain(graph)).toEqual({ keys: ["8", "9", "5", "2", "10"], ops: 11, flops: 14 });
});

const levelOf = (graph: ExecutionGraph, key: string): number => graph.getNodeAttribute(key, "level");

/** All uses of a module as `source target index type`, keys counted in the order of its print. */
function usesOf({ body }: Module): string[] {
  const uses: string[] = [];
  let count = 0;
  const walk = ({ params, nodes, results }: Block, into: (first: number) => string): string => {
    const keys = new Map<Value, string>();
    const first = count;
    for (const x of params) keys.set(x, String(count++));
    const use = (x: Value, target: string, i: number): void =>
      void uses.push(`${keys.get(x)} ${target} ${i} ${formatType(x.type)}`);
    for (const { ins, outs, regions } of nodes) {
      const own = String(count++);
      const firsts = regions.map((region) => Number(walk(region, () => own)));
      for (const [i, x] of ins.entries()) use(x, firsts[0] === undefined ? own : String(firsts[0] + i), i);
      for (const x of outs) keys.set(x, own);
    }
    const target = into(first);
    for (const [i, x] of results.entries()) use(x, target, i);
    return String(first);
  };
  walk(body, () => String(count));
  return uses.sort();
}

/** The most runs of ops on a way through the graph, found from its end backwards. */
function mostRuns(graph: ExecutionGraph): number {
  const known = new Map<string, number>();
  const before = (key: string): number => {
    const found = known.get(key);
    if (found !== undefined) return found;
    const { kind, runs } = graph.getNodeAttributes(key);
    const most = Math.max(0, ...graph.inNeighbors(key).map(before)) + (kind === "op" ? runs : 0);
    known.set(key, most);
    return most;
  };
  return Math.max(...graph.mapNodes(before));
}

function expectGraph(module: Module): void {
  const graph = executionGraph(module);
  expect(
    graph.mapEdges((_key, { index, type }, from, to) => `${from} ${to} ${index} ${type}`).sort(),
  ).toEqual(usesOf(module));
  graph.forEachNode((key, { level, parent }) => {
    expect(level).toBe(Math.max(-1, ...graph.inNeighbors(key).map((from) => levelOf(graph, from))) + 1);
    if (parent !== undefined) expect(Number(parent)).toBeLessThan(Number(key));
  });
  const whole = graph.reduceNodes((sum, _key, { flops, runs }) => sum + flops * runs, 0);
  expect(whole).toBe(flopsOf(module.body));
  expect(graph.getAttribute("flops")).toBe(whole);
  const chain = longestChain(graph);
  expect(chain.ops).toBe(mostRuns(graph));
  const on = chain.keys.map((key) => graph.getNodeAttributes(key));
  expect(on.reduce((n, { runs }) => n + runs, 0)).toBe(chain.ops);
  expect(on.reduce((n, { runs, flops }) => n + runs * flops, 0)).toBe(chain.flops);
  expect(chain.flops).toBeLessThanOrEqual(whole);
}

test("random programs, their gradients, and these fused", () => {
  fc.assert(
    fc.property(recipes(10), (recipe) => {
      const module = moduleOf(recipe);
      expectGraph(module);
      const joint = differentiate(lossOf(module));
      expectGraph(joint);
      expectGraph(fuseKernels.run(joint, () => {}));
    }),
    { numRuns: 30 },
  );
});

test("a program of nothing", () => {
  const graph = executionGraph(parseModule("module m() {\n  return\n}\n"));
  expect([graph.order, graph.size]).toEqual([1, 0]);
  expect(longestChain(graph)).toEqual({ keys: [], ops: 0, flops: 0 });
});
