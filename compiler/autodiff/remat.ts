// Layers as `remat` regions, and what a policy makes each of them keep and compute again.

import { isFloat } from "../dtype.ts";
import { node, opNamed } from "../ir/build.ts";
import { flopsOf } from "../ir/cost.ts";
import { printModule } from "../ir/print.ts";
import { dropDead, renewed } from "../ir/rewrite.ts";
import { byteSize } from "../ir/shape.ts";
import type { Attrs, Block, Node, TensorType, Value } from "../ir/types.ts";
import { at, type Binding, type Keeping } from "../ops/op.ts";
import { keepingNamed } from "../ops/remat.ts";
import type { RematPolicy } from "../remat-policies.ts";
import { jointOf } from "./differentiate.ts";
import { split } from "./split.ts";

const isNamed =
  (name: string) =>
  ({ op, attrs }: Node): boolean =>
    op.tag?.(attrs) === name;
/** Between these names in a block lies a layer; the architecture files say so. */
const [isFirst, isLast] = [isNamed("decoder_layer_input"), isNamed("decoder_layer_output")];
const isRemat = ({ op }: Node): boolean => op === opNamed("remat");

const attrsOf = ({ save, offload }: RematPolicy): Attrs => ({
  save: save.join(","),
  offload: offload.join(","),
});

/** Nodes as one region, which yields what is read elsewhere. */
function outlined(nodes: readonly Node[], isWanted: (x: Value) => boolean, attrs: Attrs): Node {
  const made = nodes.flatMap((each) => each.outs);
  const inside = new Set(made);
  const params = [...new Set(nodes.flatMap((each) => each.ins))].filter((x) => !inside.has(x));
  const outs = made.filter(isWanted);
  const from = nodes[0]?.loc ?? { kind: "unknown" };
  const options = {
    attrs,
    regions: [renewed({ params, nodes, results: outs })],
    loc: { kind: "pass", pass: "remat", from },
  } as const;
  return { ...node(opNamed("remat"), params, options), outs };
}

/** The nodes of a loop's body that holds layers as one region: MaxText keeps per block, not per layer of it. */
const wholeBody = (body: Block, attrs: Attrs): Block => ({
  ...body,
  nodes: [outlined(body.nodes, (x) => body.results.includes(x), attrs)],
});

/**
 * The block with a `remat` region around each layer that follows the policy: from decoder_layer_input to
 * decoder_layer_output, or the body of a loop that has layers. Regions already there stay as they are.
 */
export function wrapLayers(block: Block, policy: RematPolicy): Block {
  if (policy.everything) return block;
  const attrs = attrsOf(policy);
  const inner = (region: Block): Block =>
    region.nodes.some(isFirst) ? wholeBody(region, attrs) : wrapLayers(region, policy);
  const nodes = block.nodes.map((each) =>
    isRemat(each) ? each : { ...each, regions: each.regions.map(inner) },
  );
  const lastRead = new Map(nodes.flatMap((each, i) => each.ins.map((x) => [x, i] as const)));
  for (const x of block.results) lastRead.set(x, nodes.length);
  const wrapped: Node[] = [];
  let open: Node[] = [];
  nodes.forEach((each, i) => {
    if (isFirst(each)) wrapped.push(...open.splice(0));
    if (!isFirst(each) && open.length === 0) {
      wrapped.push(each);
      return;
    }
    open.push(each);
    if (!isLast(each)) return;
    wrapped.push(outlined(open, (x) => (lastRead.get(x) ?? 0) > i, attrs));
    open = [];
  });
  wrapped.push(...open);
  return { ...block, nodes: wrapped };
}

/** A region that keeps and computes again, and how often such a region runs. */
export type LayerKind = {
  readonly region: Block;
  readonly times: number;
  /** What its parameters are to it: a layer's input is a value of the forward pass, a weight is not. */
  readonly bindings: readonly Binding[];
};

function* layersOf(block: Block, given: ReadonlyMap<Value, Binding>, times: number): Generator<LayerKind> {
  for (const each of block.nodes) {
    const [region] = each.regions;
    if (!region) continue;
    if (isRemat(each)) {
      yield { region, times, bindings: each.ins.map((x) => given.get(x) ?? "carried") };
      continue;
    }
    const { op, attrs } = each;
    const bound = region.params.map((x, i) => [x, op.bindingOf?.(i, attrs) ?? "carried"] as const);
    yield* layersOf(
      region,
      new Map(bound),
      typeof attrs["length"] === "number" ? times * attrs["length"] : times,
    );
  }
}

/** The `remat` regions of a block, those that differ only in names counted together. */
export function layerKinds(block: Block): readonly LayerKind[] {
  const kinds = new Map<string, LayerKind>();
  for (const layer of layersOf(block, new Map(block.params.map((x) => [x, "sliced"])), 1)) {
    const body = renewed(layer.region, () => "x");
    const text = printModule({ name: layer.bindings.join(), roles: [], body });
    kinds.set(text, { ...layer, times: layer.times + (kinds.get(text)?.times ?? 0) });
  }
  return [...kinds.values()];
}

/** What a layer keeps for the backward pass. */
export type Kept = { readonly name: string; readonly type: TensorType; readonly isOffloaded: boolean };
/** What a policy makes of a kind of layer, of which the program has `times`; sizes and work are one layer's. */
export type LayerReport = {
  readonly times: number;
  /** What waits for the backward pass: the layer's inputs, then what the policy keeps. */
  readonly kept: readonly Kept[];
  readonly deviceBytes: number;
  readonly hostBytes: number;
  /** Floating point operations of one forward pass of the region, and those that the backward pass does again. */
  readonly flops: number;
  readonly extraFlops: number;
};

/** What each policy makes a region keep and compute again. */
export function measured(
  { region, times, bindings }: LayerKind,
  policies: readonly RematPolicy[],
): LayerReport[] {
  const joint = jointOf(
    region,
    region.results.map((x) => isFloat(x.type.dtype)),
  );
  const { params, forward: nodes, results } = joint;
  const flops = flopsOf(dropDead({ params, nodes, results }));
  const everything: Keeping = { bindingOf: (param) => at(bindings, param) };
  return policies.map((policy) => {
    const { operands, residuals, recomputed } = split(
      joint,
      policy.everything ? everything : keepingNamed(policy),
    );
    const inputs = operands.flatMap((i): Kept[] => {
      const param = bindings[i] === "carried" ? region.params[i] : undefined;
      return param ? [{ name: param.hint, type: param.type, isOffloaded: false }] : [];
    });
    const kept = [
      ...inputs,
      ...residuals.map(({ value: { type }, name, isOffloaded }) => ({ name, type, isOffloaded })),
    ];
    const bytesOn = (isHost: boolean): number =>
      kept.reduce((n, { type, isOffloaded }) => (isOffloaded === isHost ? n + byteSize(type) : n), 0);
    return {
      times,
      kept,
      deviceBytes: bytesOn(false),
      hostBytes: bytesOn(true),
      flops,
      extraFlops: flopsOf(recomputed),
    };
  });
}
