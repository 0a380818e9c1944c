// A module as an execution graph: what waits for what. For tools that read graphs, and for how far ops could run at once.
import { MultiDirectedGraph } from "graphology";
import { topologicalGenerations, topologicalSort } from "graphology-dag";
import { bug, formatPlace } from "../diag.ts";
import { flopsOf, ownFlops, turnsOf } from "../ir/cost.ts";
import { Names } from "../ir/print.ts";
import { byteSize, formatType } from "../ir/shape.ts";
import { type Block, type Loc, type Module, type Node, sourceOf, type Value } from "../ir/types.ts";
import { at } from "../ops/op.ts";

/** Something that gives values, or the module's end, which takes them. */
export type GraphNode = {
  readonly kind: "parameter" | "op" | "results";
  /** A parameter's role (`region` within a node), or the op's name. */
  readonly label: string;
  /** The first value's name, as the program is printed; a region names its values afresh. */
  readonly name: string;
  readonly types: readonly string[];
  /** What its values take, at their dtypes' own widths. */
  readonly bytes: number;
  /** Of one run, without its regions'. */
  readonly flops: number;
  /** How often it runs, by the loops around it. */
  readonly runs: number;
  /** `file:line:column` of the architecture. */
  readonly place?: string;
  /** The node in whose region it lies. */
  readonly parent?: string;
  /** The most edges that lead here, one after the other. */
  readonly level: number;
};

/** A use of a value: by an op, by a region that takes it or gives it to its node, or as a result of the module. */
export type GraphEdge = {
  readonly value: string;
  readonly type: string;
  readonly bytes: number;
  /** Which of the operands or results it is. */
  readonly index: number;
};

export type ExecutionGraph = MultiDirectedGraph<
  GraphNode,
  GraphEdge,
  { readonly name: string; readonly flops: number }
>;

/** A value where it is defined: the key of its node, and its printed name. */
type Definition = { readonly key: string; readonly name: string };
/** The node that a block belongs to, and how often the block runs. */
type Frame = { readonly parent?: string; readonly runs: number };

class GraphBuilder {
  readonly graph: ExecutionGraph = new MultiDirectedGraph();
  // Copies of a layer come from one place, and finding its line reads the file up to there.
  private readonly places = new Map<string, string>();

  private placeOf(loc: Loc): { place?: string } {
    const span = sourceOf(loc);
    if (!span) return {};
    const key = `${span.source.file}:${span.start}`;
    const place = this.places.get(key) ?? formatPlace(span);
    this.places.set(key, place);
    return { place };
  }

  private add(node: Omit<GraphNode, "level">): string {
    return this.graph.addNode(String(this.graph.order), { ...node, level: 0 });
  }

  /** An edge; its key is its number, where graphology would make up another in each run. */
  private use(x: Value, { key, name }: Definition, by: string, index: number): void {
    const edge = { value: name, type: formatType(x.type), bytes: byteSize(x.type), index };
    this.graph.addEdgeWithKey(String(this.graph.size), key, by, edge);
  }

  /** A block's parameters and ops; where its results are defined. */
  block(
    { params, nodes, results }: Block,
    labelOf: (param: number) => string,
    frame: Frame,
  ): { readonly params: readonly string[]; readonly results: readonly Definition[] } {
    const names = new Names();
    const defined = new Map<Value, Definition>();
    const taken = params.map((x, i) => {
      const name = names.define(x);
      const types = [formatType(x.type)];
      const bytes = byteSize(x.type);
      const key = this.add({ kind: "parameter", label: labelOf(i), name, types, bytes, flops: 0, ...frame });
      defined.set(x, { key, name });
      return key;
    });
    const read = (x: Value): Definition => defined.get(x) ?? bug(`%${x.hint} is used before it is defined`);
    for (const node of nodes) {
      const outs = node.outs.map((x) => names.define(x));
      const key = this.op(node, at(outs, 0), node.ins.map(read), frame);
      for (const [i, x] of node.outs.entries()) defined.set(x, { key, name: at(outs, i) });
    }
    return { params: taken, results: results.map(read) };
  }

  /** An op, with edges from what it reads. One with a region waits for the region, whose parameters take its operands. */
  private op(node: Node, name: string, ins: readonly Definition[], frame: Frame): string {
    const key = this.add({
      kind: "op",
      label: node.op.name,
      name,
      types: node.outs.map((x) => formatType(x.type)),
      bytes: node.outs.reduce((n, x) => n + byteSize(x.type), 0),
      flops: ownFlops(node),
      ...frame,
      ...this.placeOf(node.loc),
    });
    const inner = { parent: key, runs: frame.runs * turnsOf(node) };
    const regions = node.regions.map((region) => ({ region, ...this.block(region, () => "region", inner) }));
    for (const [i, x] of node.ins.entries()) {
      const takers = regions.length > 0 ? regions.map(({ params }) => at(params, i)) : [key];
      for (const taker of takers) this.use(x, at(ins, i), taker, i);
    }
    for (const { region, results } of regions) this.uses(region.results, results, key);
    return key;
  }

  private uses(values: readonly Value[], from: readonly Definition[], by: string): void {
    for (const [i, x] of values.entries()) this.use(x, at(from, i), by, i);
  }

  /** The end of the module: what takes its results. */
  end(results: readonly Value[], from: readonly Definition[]): void {
    const types = results.map((x) => formatType(x.type));
    const node = { label: "return", name: "return", types, bytes: 0, flops: 0, runs: 1 };
    this.uses(results, from, this.add({ kind: "results", ...node }));
  }
}

/**
 * The graph of a module: a node for each parameter, each op (those of regions too) and the module's end, keyed by number
 * in the order of the printed program; an edge for each use of a value. An op with a region waits for all of it.
 */
export function executionGraph({ name, roles, body }: Module): ExecutionGraph {
  const builder = new GraphBuilder();
  const { graph } = builder;
  const { results } = builder.block(body, (i) => at(roles, i), { runs: 1 });
  builder.end(body.results, results);
  graph.replaceAttributes({ name, flops: flopsOf(body) });
  for (const [level, keys] of topologicalGenerations(graph).entries())
    for (const key of keys) graph.setNodeAttribute(key, "level", level);
  return graph;
}

/** Ops that wait for one another. */
export type Chain = {
  /** Keys of the ops, the first to run first. */
  readonly keys: readonly string[];
  /** How many ops run, each as often as it does: loops take their turns one after the other. */
  readonly ops: number;
  readonly flops: number;
};

type Reach = { readonly ops: number; readonly flops: number; readonly from: string | undefined };

const isFarther = (a: Reach, b: Reach): boolean => (a.ops === b.ops ? a.flops > b.flops : a.ops > b.ops);

/** The chain on which most ops run, and of such one of most FLOPs. */
export function longestChain(graph: ExecutionGraph): Chain {
  const reached = new Map<string, Reach>();
  let last: Reach & { readonly key: string | undefined } = {
    key: undefined,
    ops: 0,
    flops: 0,
    from: undefined,
  };
  for (const key of topologicalSort(graph)) {
    let best: Reach = { ops: 0, flops: 0, from: undefined };
    graph.forEachInboundEdge(key, (_edge, _use, source) => {
      const { ops = 0, flops = 0 } = reached.get(source) ?? {};
      const reach = { ops, flops, from: source };
      if (best.from === undefined || isFarther(reach, best)) best = reach;
    });
    const { kind, flops, runs } = graph.getNodeAttributes(key);
    const own = { ...best, ops: best.ops + (kind === "op" ? runs : 0), flops: best.flops + runs * flops };
    reached.set(key, own);
    if (isFarther(own, last)) last = { ...own, key };
  }
  const keys: string[] = [];
  for (let key = last.key; key !== undefined; key = reached.get(key)?.from) keys.push(key);
  const isOp = (key: string): boolean => graph.getNodeAttribute(key, "kind") === "op";
  return { keys: keys.reverse().filter(isOp), ops: last.ops, flops: last.flops };
}
