// What an op with a region takes, and what is left of the region when not all of its results are wanted.
import { formatType, sameType } from "../ir/shape.ts";
import type { Block, TensorType } from "../ir/types.ts";
import { at, broken } from "./op.ts";

/** The one region of an op, which has a parameter for each operand. */
export function expectRegion(op: string, ins: readonly TensorType[], regions: readonly Block[]): Block {
  const [body] = regions;
  if (!body || regions.length !== 1) return broken(op, `takes one region, got ${regions.length}`);
  if (body.params.length !== ins.length)
    broken(op, `${ins.length} operands for a region of ${body.params.length} parameters`);
  return body;
}

/** Operands as the region's parameters are. */
export function expectRegionOperands(op: string, ins: readonly TensorType[], { params }: Block): void {
  for (const [i, { type }] of params.entries())
    if (!sameType(at(ins, i), type))
      broken(op, `operand ${i} is ${formatType(at(ins, i))}, the region takes ${formatType(type)}`);
}

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
