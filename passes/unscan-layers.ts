// unscan-layers: the inverse of scan-layers. Scans over layers are written out, stacked parameters are single ones again.
import { blockBuilder, node, value } from "../compiler/ir/build.ts";
import { renewed, withOperands } from "../compiler/ir/rewrite.ts";
import { dim, range, sameDims, sameType, tensor } from "../compiler/ir/shape.ts";
import type { Block, Dim, Loc, Module, Node, TensorType, Value } from "../compiler/ir/types.ts";
import type { K } from "../compiler/ops/k.ts";
import { at } from "../compiler/ops/op.ts";
import { isLayerScan, LAYERS, scanOperands, stacksOf, unstackedOrder } from "../compiler/stacks.ts";
import type { Pass } from "./pass.ts";
import { startsOf } from "./slices.ts";

const layerType = (stack: TensorType): TensorType => tensor(stack.dtype, stack.dims.slice(1));
const asLayer = ({ dims }: TensorType): readonly Dim[] => [dim(LAYERS, 1), ...dims];

/** The layer that a node cuts out of its operand, if it does that and nothing else. */
function cutLayer(node: Node): number | undefined {
  const [stack, out] = [node.ins[0]?.type.dims ?? [], node.outs[0]?.type.dims ?? []];
  const isCut = node.op.name === "slice" && out[0]?.size === 1 && sameDims(stack.slice(1), out.slice(1));
  return isCut ? startsOf(node)[0] : undefined;
}

/** A block being written out. */
class Writer {
  readonly nodes: Node[] = [];
  /** What old values are now. */
  private readonly known = new Map<Value, Value>();
  /** Old values that hold layers along their first dim: all of a stack's, or one that was cut out. */
  private readonly stacks = new Map<Value, readonly Value[]>();
  private readonly cuts = new Map<Value, Value>();
  private readonly makers = new Map<Value, Node>();
  /** Nodes that put layers together for a scan: nobody may need them once the scan is gone. */
  private readonly spare = new Set<Node>();

  hold(stack: Value, layers: readonly Value[]): void {
    this.stacks.set(stack, layers);
  }

  add(old: Node): void {
    const [x, out] = [old.ins[0], old.outs[0]];
    const layer = x && this.stacks.get(x)?.[cutLayer(old) ?? -1];
    const cut = x && this.cuts.get(x);
    if (isLayerScan(old)) this.writeOut(old);
    else if (out && layer) this.cuts.set(out, layer);
    else if (out && cut && old.op.name === "reshape" && sameType(cut.type, out.type))
      this.known.set(out, cut);
    else
      this.push(
        withOperands(
          old,
          old.ins.map((each) => this.read(each)),
        ),
        old.outs,
      );
  }

  /** The value an old one is now. Layers are put together where somebody reads them so. */
  read(x: Value): Value {
    const known = this.known.get(x);
    if (known) return known;
    const [stack, cut] = [this.stacks.get(x), this.cuts.get(x)];
    if (!stack && !cut) return x;
    const made = this.build(x.hint, { kind: "unknown" }, (k) => {
      const parts = (stack ?? [cut as Value]).map((layer) => k.reshape(layer, asLayer(layer.type)));
      return stack ? k.concat(parts, 0) : at(parts, 0);
    });
    this.known.set(x, made);
    return made;
  }

  private push(fresh: Node, olds: readonly Value[]): void {
    this.nodes.push(fresh);
    fresh.outs.forEach((out, i) => {
      this.known.set(at(olds, i), out);
      this.makers.set(out, fresh);
    });
  }

  private build(hint: string, from: Loc, make: (k: K<Value>) => Value): Value {
    const builder = blockBuilder({ kind: "pass", pass: "unscan-layers", from }, [hint]);
    const made = make(builder.k);
    this.nodes.push(...builder.nodes);
    return made;
  }

  /** What an operand of a scan is in each layer. */
  private layersOf(x: Value, { loc, attrs }: Node): readonly Value[] {
    const known = this.stacks.get(x) ?? this.putTogether(x);
    if (known) return known;
    const whole = this.read(x);
    return range(attrs["length"] as number).map((layer) =>
      this.build(x.hint, loc, (k) =>
        k.reshape(k.slice(whole, 0, layer, layer + 1), layerType(whole.type).dims),
      ),
    );
  }

  /** The layers of a stack that nodes put together: reshapes, then a concatenate. */
  private putTogether(x: Value): readonly Value[] | undefined {
    const whole = this.makers.get(this.read(x));
    if (whole?.op.name !== "concatenate" || whole.attrs["axis"] !== 0) return undefined;
    const parts = whole.ins.map((part) => this.makers.get(part));
    const layers = parts.flatMap((part) => (part?.op.name === "reshape" ? part.ins : []));
    const type = layerType(at(whole.outs, 0).type);
    if (layers.length !== whole.ins.length || !layers.every((layer) => sameType(layer.type, type)))
      return undefined;
    for (const each of [whole, ...parts]) if (each) this.spare.add(each);
    return layers;
  }

  private writeOut(old: Node): void {
    const { carries, xs, consts } = scanOperands(old);
    const body = at(old.regions, 0);
    const stacked = xs.map((x) => this.layersOf(x, old));
    const shared = consts.map((x) => this.read(x));
    let state = carries.map((x) => this.read(x));
    const ys: Value[][] = body.results.slice(carries.length).map(() => []);
    const layers = range(old.attrs["length"] as number);
    for (const layer of old.attrs["reverse"] ? layers.toReversed() : layers) {
      const results = this.inline(body, [
        ...state,
        ...stacked.map((members) => at(members, layer)),
        ...shared,
      ]);
      state = results.slice(0, carries.length);
      results.slice(carries.length).forEach((y, i) => {
        at(ys, i)[layer] = y;
      });
    }
    old.outs.forEach((out, i) => {
      if (i < carries.length) this.known.set(out, at(state, i));
      else this.hold(out, at(ys, i - carries.length));
    });
  }

  private inline(body: Block, ins: readonly Value[]): Value[] {
    const local = new Map(body.params.map((param, i) => [param, at(ins, i)]));
    const read = (x: Value): Value => local.get(x) ?? x;
    for (const { op, ins: operands, outs, attrs, regions: inner, loc } of body.nodes) {
      const regions = inner.map((region) => renewed(region));
      const hints = outs.map((x) => x.hint);
      const fresh = node(op, operands.map(read), {
        attrs,
        regions,
        hints,
        loc: { kind: "pass", pass: "unscan-layers", from: loc },
      });
      this.nodes.push(fresh);
      fresh.outs.forEach((out, i) => {
        local.set(at(outs, i), out);
        this.makers.set(out, fresh);
      });
    }
    return body.results.map(read);
  }

  /** The block's nodes, without spare ones that nobody came to read. */
  finish(results: readonly Value[]): Node[] {
    const live = new Set(results);
    const kept = this.nodes.toReversed().filter((each) => {
      if (this.spare.has(each) && !each.outs.some((out) => live.has(out))) return false;
      for (const x of each.ins) live.add(x);
      return true;
    });
    return kept.reverse();
  }
}

function unscanned({ name, roles, body }: Module): Module {
  const writer = new Writer();
  const stacks = new Map(
    stacksOf(body).map(({ param, members, scan }) => {
      const layers = members.map((member) => value(member, layerType(param.type)));
      writer.hold(param, layers);
      return [param, { group: scan, members: layers }];
    }),
  );
  const roleOf = new Map(body.params.map((param, i) => [param, at(roles, i)]));
  for (const [param, { members }] of stacks)
    for (const member of members) roleOf.set(member, roleOf.get(param) ?? "param");
  const params = unstackedOrder(body.params, (param) => stacks.get(param));
  for (const each of body.nodes) writer.add(each);
  const results = body.results.map((x) => writer.read(x));
  return {
    name,
    roles: params.map((param) => roleOf.get(param) ?? "param"),
    body: { params, nodes: writer.finish(results), results },
  };
}

export const unscanLayers: Pass = {
  name: "unscan-layers",
  doc: "Every scan over layers is written out and its stacked parameters are one for each layer: the inverse of scan-layers.",
  run(module, remark) {
    const scans = module.body.nodes.filter(isLayerScan);
    if (scans.length === 0) {
      remark("no scan over layers");
      return module;
    }
    for (const { attrs } of scans) remark(`${attrs["length"]} layers written out`);
    return unscanned(module);
  },
};
