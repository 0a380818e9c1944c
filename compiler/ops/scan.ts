// The one loop. Operands and region parameters are carries, then xs (sliced along axis 0), then consts.

import { isFloat } from "../dtype.ts";
import { dim, dimAt, formatType, rankOf, tensor } from "../ir/shape.ts";
import type { Block, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { OpDef, RegionMachine, VjpContext } from "./op.ts";
import { at, broken, expectLabel } from "./op.ts";

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

/** Step by step: slices and carries go as the region reads them, what a step yields goes into the stacked results. */
function runSteps<T>(
  machine: RegionMachine<T>,
  ins: readonly T[],
  attrs: ScanAttrs,
  body: Block,
): readonly T[] {
  const constsAt = attrs.carries + attrs.xs;
  const [xs, consts] = [ins.slice(attrs.carries, constsAt), ins.slice(constsAt)];
  const ys = body.results
    .slice(attrs.carries)
    .map(({ type }) => machine.fresh(stacked(type, attrs.length, attrs.label)));
  let carries: readonly T[] = ins.slice(0, attrs.carries).map((x) => machine.share(x));
  const given = body.params.map((_, i) => i < constsAt);
  for (let i = 0; i < attrs.length; i++) {
    const index = attrs.reverse ? attrs.length - 1 - i : i;
    const step = xs.map((x, j) => machine.slice(x, index, at(body.params, attrs.carries + j).type));
    const outs = machine.run(body, [...carries, ...step, ...consts], given);
    carries = outs.slice(0, attrs.carries);
    for (const [j, y] of outs.slice(attrs.carries).entries()) {
      machine.write(at(ys, j), index, y);
      machine.drop(y);
    }
  }
  return [...carries, ...ys];
}

/** Equal but for the dims' names. */
const isAlike = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && rankOf(a) === rankOf(b) && a.dims.every((d, i) => d.size === dimAt(b, i).size);

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
    expectLabel("scan", attrs.label);
    if (
      attrs.length < 1 ||
      attrs.carries < 0 ||
      attrs.xs < 0 ||
      constsAt > ins.length ||
      attrs.carries > body.results.length
    )
      broken(
        "scan",
        `length=${attrs.length}, carries=${attrs.carries}, xs=${attrs.xs} for ${ins.length} operands and ${body.results.length} results`,
      );
    for (const [i, param] of body.params.entries()) {
      const given = at(ins, i);
      const isX = i >= attrs.carries && i < constsAt;
      if (isX && (rankOf(given) < 1 || dimAt(given, 0).size !== attrs.length))
        broken("scan", `operand ${i} is ${formatType(given)}, length is ${attrs.length}`);
      const seen = isX ? tensor(given.dtype, given.dims.slice(1)) : given;
      if (!isAlike(seen, param.type))
        broken("scan", `operand ${i} is ${formatType(seen)}, the region takes ${formatType(param.type)}`);
    }
    for (const [i, result] of body.results.slice(0, attrs.carries).entries()) {
      const param = at(body.params, i);
      if (!isAlike(result.type, param.type))
        broken(
          "scan",
          `carry ${i} enters as ${formatType(param.type)} and leaves as ${formatType(result.type)}`,
        );
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
  control: (machine, ins, attrs, regions) => runSteps(machine, ins, attrs, at(regions, 0)),
  flops: () => 0,
};
