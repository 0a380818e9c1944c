// The one loop. Operands and region parameters are carries, then xs (sliced along axis 0), then consts.
import { dim, dimAt, elements, formatType, tensor } from "../ir/shape.ts";
import type { Block, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { NodePart, OpDef, Tensor, Tfjs, VjpContext } from "./op.ts";
import { at, broken } from "./op.ts";
import { isFloat } from "../dtype.ts";

type ScanAttrs = { length: number; carries: number; xs: number; reverse: boolean; label: string };

const stacked = (type: TensorType, length: number, label: string): TensorType =>
  tensor(type.dtype, [dim(label, length), ...type.dims]);

/** The reverse scan: carries are cotangents of carries and sums of const cotangents. */
function scanVjp<T>(k: K<T>, cx: VjpContext<T, ScanAttrs>): readonly (T | null)[] {
  const { attrs, ins, outs } = cx;
  const body = at(cx.regions, 0);
  const c = attrs.carries;
  const constsAt = c + attrs.xs;
  const yCount = body.results.length - c;
  const liveYs = Array.from({ length: yCount }, (_, i) => c + i).filter((i) => cx.isLive(i));
  const live = body.results.map((_, i) => i < c || cx.isLive(i));
  const back = cx.vjpOf(body, live);

  const [carries, xs, consts] = [outs.slice(outs.length - c), ins.slice(c, constsAt), ins.slice(constsAt)];
  const floating = body.params.map((param) => isFloat(param.type.dtype));
  const kinds = (from: number, to: number) => floating.slice(from, to);
  const floatConsts = consts.filter((_, i) => floating[constsAt + i]);
  const floatCarries = kinds(0, c).filter(Boolean).length;
  if (floatCarries !== c) throw new Error("internal: scan over integer carries has no gradient");
  const floatXs = kinds(c, constsAt).filter(Boolean).length;

  const sums = floatConsts.map((x) => k.constant(0, k.typeOf(x)));
  const result = k.scan(
    {
      carries: [...Array.from({ length: c }, (_, i) => cx.dy(i)), ...sums],
      xs: [...carries, ...xs, ...liveYs.map((i) => cx.dy(i))],
      consts,
      length: attrs.length,
      reverse: !attrs.reverse,
      label: attrs.label,
    },
    (state, step, fixed) => {
      const primal = [...step.slice(0, c + attrs.xs), ...fixed];
      const cotangents = k.inline(back, [...primal, ...state.slice(0, c), ...step.slice(c + attrs.xs)]);
      const dConsts = cotangents.slice(c + floatXs);
      return {
        carries: [...cotangents.slice(0, c), ...dConsts.map((d, i) => k.add(at(state, c + i), d))],
        ys: cotangents.slice(c, c + floatXs),
      };
    },
  );
  const gradients = [...result.carries.slice(0, c), ...result.ys, ...result.carries.slice(c)];
  return floating.map((isFloating) => (isFloating ? (gradients.shift() ?? null) : null));
}

function runScan(tf: Tfjs, body: Block, ins: readonly Tensor[], attrs: ScanAttrs, step: (ins: readonly Tensor[]) => Tensor[]): { carries: Tensor[]; ys: Tensor[][] } {
  const constsAt = attrs.carries + attrs.xs;
  let carries = ins.slice(0, attrs.carries);
  const xs = ins.slice(attrs.carries, constsAt).map((x) => tf.unstack(x, 0));
  const ys: Tensor[][] = body.results.slice(attrs.carries).map(() => []);
  for (let i = 0; i < attrs.length; i++) {
    const index = attrs.reverse ? attrs.length - 1 - i : i;
    const outs = step([...carries, ...xs.map((x) => at(x, index)), ...ins.slice(constsAt)]);
    carries = outs.slice(0, attrs.carries);
    for (const [j, y] of outs.slice(attrs.carries).entries()) at(ys, j)[index] = y;
  }
  return { carries, ys };
}

/** The loop without the results nobody reads: neither outside nor, for a carry, in later steps. */
function pruneScan(whole: NodePart<ScanAttrs>, isLive: (result: number) => boolean, dropDead: (block: Block) => Block): NodePart<ScanAttrs> {
  const { attrs, ins } = whole;
  const body = at(whole.regions, 0);
  const constsAt = attrs.carries + attrs.xs;
  let outs = whole.outs.filter(isLive);
  for (;;) {
    const inner = dropDead({ ...body, results: outs.map((i) => at(body.results, i)) });
    const read = new Set([...inner.nodes.flatMap((each) => each.ins), ...inner.results]);
    const isRead = (i: number): boolean => read.has(at(body.params, i));
    const more = whole.outs.filter((i) => outs.includes(i) || (i < attrs.carries && isRead(i)));
    if (more.length > outs.length) {
      outs = more;
      continue;
    }
    const left = ins.filter((i) => (i < attrs.carries ? outs.includes(i) : isRead(i)));
    const carries = left.filter((i) => i < attrs.carries).length;
    const xs = left.filter((i) => i < constsAt).length - carries;
    const region = { ...inner, params: left.map((i) => at(body.params, i)) };
    return { ins: left, outs, attrs: { ...attrs, carries, xs }, regions: [region] };
  }
}

export const scan: OpDef<ScanAttrs> = {
  name: "scan",
  doc: "Run the region `length` times, carrying state and stacking what each step yields; as lax.scan.",
  attrs: { length: "int", carries: "int", xs: "int", reverse: "bool", label: "string" },
  infer(ins, attrs, regions) {
    const body = regions[0];
    if (!body || regions.length !== 1) broken("scan", `takes one region, got ${regions.length}`);
    if (body.params.length !== ins.length)
      broken("scan", `${ins.length} operands for a region of ${body.params.length} parameters`);
    const constsAt = attrs.carries + attrs.xs;
    for (const [i, param] of body.params.entries()) {
      const given = at(ins, i);
      const isX = i >= attrs.carries && i < constsAt;
      if (isX && dimAt(given, 0).size !== attrs.length)
        broken("scan", `operand ${i} has ${dimAt(given, 0).size} steps, length is ${attrs.length}`);
      const seen = isX ? tensor(given.dtype, given.dims.slice(1)) : given;
      if (seen.dtype !== param.type.dtype || elements(seen) !== elements(param.type))
        broken("scan", `operand ${i} is ${formatType(seen)}, the region takes ${formatType(param.type)}`);
    }
    for (const [i, result] of body.results.slice(0, attrs.carries).entries()) {
      const param = at(body.params, i);
      if (result.type.dtype !== param.type.dtype || result.type.dims.some((d, j) => d.size !== param.type.dims[j]?.size))
        broken("scan", `carry ${i} enters as ${formatType(param.type)} and leaves as ${formatType(result.type)}`);
    }
    return body.results.map((result, i) =>
      i < attrs.carries ? at(body.params, i).type : stacked(result.type, attrs.length, attrs.label),
    );
  },
  /** The backward needs the carries that entered each step: the region yields them too. */
  forBackward: (_ins, attrs, regions) => {
    const body = at(regions, 0);
    return [{ ...body, results: [...body.results, ...body.params.slice(0, attrs.carries)] }];
  },
  vjp: scanVjp,
  prune: pruneScan,
  run(tf, ins, attrs, { regions, runBlock }) {
    const body = at(regions, 0);
    const { carries, ys } = runScan(tf, body, ins, attrs, (args) => runBlock(body, args));
    return [...carries.map((x) => tf.clone(x)), ...ys.map((steps) => tf.stack(steps, 0))];
  },
  flops: () => 0,
};

