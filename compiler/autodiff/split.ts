// The forward and backward parts of a differentiated region, and what goes from one to the other.
import { node, opNamed } from "../ir/build.ts";
import { dropDead, renewed } from "../ir/rewrite.ts";
import { byteSize } from "../ir/shape.ts";
import type { Node, Value } from "../ir/types.ts";
import { at, type Keeping, type Place, type Residual, type Split } from "../ops/op.ts";

/** A region differentiated: the nodes that compute its results, then those that pull cotangents back. */
export type Joint = {
  readonly params: readonly Value[];
  readonly cotangents: readonly Value[];
  readonly forward: readonly Node[];
  readonly backward: readonly Node[];
  readonly results: readonly Value[];
  readonly gradients: readonly Value[];
};

/** Moves one operand's elements, or makes them from nothing: as good as what it moves. */
const isView = ({ op, ins, outs, attrs, regions }: Node): boolean =>
  regions.length === 0 &&
  ins.length <= 1 &&
  op.flops?.(
    ins.map((x) => x.type),
    outs.map((x) => x.type),
    attrs,
  ) === 0;

/** Names of values: a tag names its operand. */
function namesOf(nodes: readonly Node[]): ReadonlyMap<Value, readonly string[]> {
  const names = new Map<Value, readonly string[]>();
  for (const { op, ins, attrs } of nodes) {
    const [x, name] = [ins[0], op.tag?.(attrs)];
    if (x && name !== undefined) names.set(x, [...(names.get(x) ?? []), name]);
  }
  return names;
}

type Makers = ReadonlyMap<Value, Node>;

/** Decides for each value of the forward part that the backward part reads: is it kept, and where? */
function placing(
  { params, forward }: Joint,
  { bindingOf, placeOf }: Keeping,
  makers: Makers,
): (x: Value) => Place {
  const names = namesOf(forward);
  const carried = new Set(params.filter((_, i) => bindingOf(i) === "carried"));
  const fixed = new Set(params.filter((_, i) => bindingOf(i) === "fixed"));
  for (const each of forward)
    if (each.ins.every((x) => fixed.has(x))) for (const out of each.outs) fixed.add(out);

  /** Bytes to keep so that a value can be had again without arithmetic. */
  const bytesFor = (x: Value): number => {
    if (fixed.has(x) || (!makers.has(x) && !carried.has(x))) return 0;
    return Math.min(byteSize(x.type), bytesThrough(makers.get(x)));
  };
  const bytesThrough = (made: Node | undefined): number =>
    made && isView(made) ? made.ins.reduce((n, x) => n + bytesFor(x), 0) : Number.POSITIVE_INFINITY;

  return (x) => {
    const made = makers.get(x);
    if (placeOf) {
      const places = new Set((names.get(x) ?? []).map((name) => placeOf(name)));
      if (places.has("device")) return made ? "device" : "remat";
      return places.has("offload") ? "offload" : "remat";
    }
    if (carried.has(x)) return "device";
    return fixed.has(x) || !made || bytesThrough(made) <= byteSize(x.type) ? "remat" : "device";
  };
}

/** What keeps a residual: nothing, or a way to the host in the forward part and one back in the backward part. */
function storing({ value: x, isOffloaded }: Residual): {
  stored: Value;
  away: readonly Node[];
  back: readonly Node[];
} {
  if (!isOffloaded) return { stored: x, away: [], back: [] };
  const put = (from: Value, memory: string): Node =>
    node(opNamed("device_put"), [from], { attrs: { memory }, hints: [x.hint] });
  const away = put(x, "pinned_host");
  const stored = at(away.outs, 0);
  return { stored, away: [away], back: [{ ...put(stored, "device"), outs: [x] }] };
}

/** Splits a differentiated region where `keeping` says. */
export function split(joint: Joint, keeping: Keeping): Split {
  const { params, cotangents, forward, results, gradients } = joint;
  const backward = dropDead({ params: [], nodes: joint.backward, results: gradients }).nodes;
  const makers: Makers = new Map(forward.flatMap((each) => each.outs.map((out) => [out, each])));
  const known = new Set<Value>([...params, ...makers.keys()]);
  const placeOf = placing(joint, keeping, makers);

  const places = new Map<Value, Place>();
  const again = new Set<Node>();
  const need = (x: Value): void => {
    if (!known.has(x) || places.has(x)) return;
    const place = placeOf(x);
    places.set(x, place);
    const made = makers.get(x);
    if (place !== "remat" || !made) return;
    again.add(made);
    made.ins.forEach(need);
  };
  const read = [...backward.flatMap((each) => each.ins), ...gradients];
  read.forEach(need);

  const isAgain = (x: Value): boolean => {
    const made = makers.get(x);
    return made !== undefined && again.has(made);
  };

  const names = namesOf(forward);
  const operands = params.flatMap((x, i) => (places.get(x) === "remat" ? [i] : []));
  const residuals = [...known].flatMap((x): Residual[] => {
    const place = places.get(x);
    // A node that runs again for another of its results gives this one too.
    if (place === undefined || place === "remat" || isAgain(x)) return [];
    return [
      {
        value: x,
        name: names.get(x)?.find((name) => keeping.placeOf?.(name) === place) ?? x.hint,
        isOffloaded: place === "offload",
      },
    ];
  });
  const ways = residuals.map(storing);
  const [stored, away, back] = [
    ways.map((way) => way.stored),
    ways.flatMap((way) => way.away),
    ways.flatMap((way) => way.back),
  ];
  const recomputed = forward.filter((each) => again.has(each));
  return {
    forward: dropDead({ params, nodes: [...forward, ...away], results: [...results, ...stored] }),
    backward: renewed(
      dropDead({
        params: [...operands.map((i) => at(params, i)), ...stored, ...cotangents],
        nodes: [...back, ...recomputed, ...backward],
        results: gradients,
      }),
    ),
    operands,
    residuals,
    recomputed: dropDead({ params, nodes: recomputed, results: read.filter(isAgain) }),
  };
}
