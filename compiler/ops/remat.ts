// What the forward pass keeps for the backward pass: names for values, a region of which only named values are kept,
// and the way to the host and back.
import { isFloat } from "../dtype.ts";
import type { Block } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { Keeping, OpDef, VjpContext } from "./op.ts";
import { at, broken, expectArity } from "./op.ts";
import { expectRegion, expectRegionOperands, narrowed } from "./region.ts";

const checkpointName: OpDef<{ name: string }> = {
  name: "checkpoint_name",
  doc: "x under a name by which a rematerialisation policy may keep it; as jax.ad_checkpoint.checkpoint_name.",
  attrs: { name: "string" },
  infer(ins) {
    expectArity("checkpoint_name", ins, 1);
    return [at(ins, 0)];
  },
  vjp: (_k, { dy }) => [dy(0)],
  control: (machine, ins) => [machine.share(at(ins, 0))],
  flops: () => 0,
  tag: ({ name }) => name,
};

const memories = ["device", "pinned_host"];

const devicePut: OpDef<{ memory: string }> = {
  name: "device_put",
  doc: "x moved into a memory: device, or pinned_host; as jax.device_put.",
  attrs: { memory: "string" },
  infer(ins, { memory }) {
    expectArity("device_put", ins, 1);
    if (!memories.includes(memory))
      broken("device_put", `memory is one of ${memories.join(", ")}, got ${memory}`);
    return [at(ins, 0)];
  },
  vjp: (_k, { dy }) => [dy(0)],
  control: (machine, ins) => [machine.share(at(ins, 0))],
  flops: () => 0,
};

type RematAttrs = { save: string; offload: string };

/** `a,b` → a and b. */
const listed = (names: string): readonly string[] => names.split(",").filter((name) => name !== "");

/** Keeps values by their names. */
export const keepingNamed = ({
  save,
  offload,
}: {
  save: readonly string[];
  offload: readonly string[];
}): Keeping => ({
  bindingOf: () => "sliced",
  placeOf: (name) => (save.includes(name) ? "device" : offload.includes(name) ? "offload" : "remat"),
});

/** The backward part is a region as well: what it computes again must not be merged with what the forward part computed. */
function rematVjp<T>(k: K<T>, cx: VjpContext<T, RematAttrs>): readonly (T | null)[] {
  const { ins, attrs } = cx;
  const region: Block = at(cx.regions, 0);
  const live = region.results.map((_, i) => cx.isLive(i));
  const keeping = keepingNamed({ save: listed(attrs.save), offload: listed(attrs.offload) });
  const { forward, backward, operands, residuals } = cx.split(region, live, keeping);
  const kept = cx.extend(forward, residuals);
  const dys = live.flatMap((isLive, i) => (isLive ? [cx.dy(i)] : []));
  const gradients = [
    ...k.apply("remat", [...operands.map((i) => at(ins, i)), ...kept, ...dys], attrs, [backward]),
  ];
  return region.params.map((param) => (isFloat(param.type.dtype) ? (gradients.shift() ?? null) : null));
}

const remat: OpDef<RematAttrs> = {
  name: "remat",
  doc:
    "The region, of which the backward pass keeps its operands and the values with these names (on the device, or " +
    "offloaded to the host) and computes the rest again; as jax.checkpoint.",
  attrs: { save: "string", offload: "string" },
  infer(ins, _attrs, regions) {
    const body = expectRegion("remat", ins, regions);
    expectRegionOperands("remat", ins, body);
    return body.results.map((result) => result.type);
  },
  prune({ outs, attrs, regions }, isLive, dropDead) {
    const kept = outs.filter(isLive);
    const { region, params } = narrowed(at(regions, 0), kept, dropDead);
    return { ins: params, outs: kept, attrs, regions: [region] };
  },
  vjp: rematVjp,
  control: (machine, ins, _attrs, regions) =>
    machine.runRegion(
      at(regions, 0),
      ins,
      ins.map(() => false),
    ),
  flops: () => 0,
};

export const rematOps: readonly OpDef[] = [checkpointName, devicePut, remat];
