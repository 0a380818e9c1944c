// Work done, from types alone.
import { elements } from "./shape.ts";
import type { Block } from "./types.ts";

/** Floating point operations of a block, regions counted as often as they run. */
export const flopsOf = (block: Block): number =>
  block.nodes.reduce((sum, { op, ins, outs, attrs, regions }) => {
    const times = typeof attrs["length"] === "number" ? attrs["length"] : 1;
    const inner = regions.reduce((n, region) => n + flopsOf(region), 0);
    const types = [ins.map((x) => x.type), outs.map((x) => x.type)] as const;
    const own = op.flops ? op.flops(...types, attrs) : types[1].reduce((n, type) => n + elements(type), 0);
    return sum + own + times * inner;
  }, 0);
