// What is left of a region when not all of its results are wanted.
import type { Block } from "../ir/types.ts";
import { at } from "./op.ts";

/** The region that yields some results only, and the parameters it keeps: those it reads, and those it must have. */
export function narrowed(
  body: Block,
  results: readonly number[],
  dropDead: (block: Block) => Block,
  mustKeep: (param: number) => boolean = () => false,
): { readonly region: Block; readonly params: readonly number[] } {
  const { nodes, results: wanted } = dropDead({ ...body, results: results.map((i) => at(body.results, i)) });
  const read = new Set([...nodes.flatMap(({ ins }) => ins), ...wanted]);
  const params = [...body.params.keys()].filter((i) => mustKeep(i) || read.has(at(body.params, i)));
  return { region: { params: params.map((i) => at(body.params, i)), nodes, results: wanted }, params };
}
