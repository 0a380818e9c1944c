// What `q3c compile --emit=graph` prints.
import { grouped } from "../compiler/grouped.ts";
import type { Module } from "../compiler/ir/types.ts";
import { executionGraph, type GraphNode, longestChain } from "../compiler/plan/graph.ts";
import { share } from "../passes/remat.ts";
import { numberTable } from "./layout.ts";
import type { Emitted } from "./passes.ts";

/** How many lines of a list are shown. */
const MOST = 8;

const counted = (n: number): string => n.toLocaleString("en-US");
const labelOf = ({ label }: GraphNode): string => label;
const placed = ({ label, place }: GraphNode): string => (place ? `${label} (${place})` : label);

/** `12 exp, 3 mul`, the most first. */
function countsOf(nodes: readonly GraphNode[]): string {
  const counts = [...grouped(nodes, labelOf)].map(([label, { length }]) => ({ label, length }));
  const shown = counts.sort((a, b) => b.length - a.length).slice(0, MOST);
  const rest = nodes.length - shown.reduce((n, { length }) => n + length, 0);
  const words = shown.map(({ label, length }) => `${counted(length)} ${label}`);
  return [...words, ...(rest > 0 ? [`${counted(rest)} more`] : [])].join(", ");
}

const runsOf = (nodes: readonly GraphNode[]): number => nodes.reduce((n, { runs }) => n + runs, 0);
const flopsOf = (nodes: readonly GraphNode[]): number =>
  nodes.reduce((n, { runs, flops }) => n + runs * flops, 0);

/** The places of a chain where most is computed, copies of a layer together. */
function costliest(chain: readonly GraphNode[], whole: number): readonly string[] {
  const rows = [...grouped(chain, placed)].map(([name, nodes]) => ({
    name,
    runs: runsOf(nodes),
    flops: flopsOf(nodes),
  }));
  const shown = rows.sort((a, b) => b.flops - a.flops).slice(0, MOST);
  return numberTable([
    ["most FLOPs on it", "runs", "GFLOPs", "of all"],
    ...shown.map(({ name, runs, flops }) => [
      name,
      counted(runs),
      (flops / 1e9).toFixed(3),
      share(flops, whole),
    ]),
  ]);
}

/** How a program's ops wait for one another; as JSON, the graph as graphology writes it. */
export function graphReport(module: Module): Emitted {
  const graph = executionGraph(module);
  const { name, flops } = graph.getAttributes();
  const nodes = graph.mapNodes((_key, node) => node);
  const ops = nodes.filter(({ kind }) => kind === "op");
  const waiting = ops.filter(({ level }) => level > 0);
  const levels = [...grouped(waiting, ({ level }) => level).values()];
  const widest = levels.reduce((a, b) => (b.length > a.length ? b : a), []);
  const chain = longestChain(graph);
  const parameters = nodes.filter(({ kind, parent }) => kind === "parameter" && parent === undefined);
  const lines = [
    `graph of ${name}: ${counted(ops.length)} ops, ${counted(graph.size)} edges, ${counted(parameters.length)} parameters (${countsOf(parameters)})`,
    `ops: ${countsOf(ops)}`,
    `levels: ${counted(levels.length)} of ops that wait for others; most ops at level ${widest[0]?.level ?? 0}: ${countsOf(widest)}`,
    `longest chain: ${counted(chain.ops)} ops run one after the other, loops turn by turn; ${chain.flops.toExponential(4)} of ${flops.toExponential(4)} FLOPs, ${share(chain.flops, flops)}`,
    ...costliest(
      chain.keys.map((key) => graph.getNodeAttributes(key)),
      flops,
    ),
  ];
  return { text: `${lines.join("\n")}\n`, json: graph.export() };
}
