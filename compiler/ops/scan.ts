// The one loop. Operands and region parameters are carries, then xs (sliced along axis 0), then consts.
import { isFloat } from "../dtype.ts";
import { dim, dimAt, formatType, range, rankOf, tensor } from "../ir/shape.ts";
import type { Block, TensorType } from "../ir/types.ts";
import type { K } from "./k.ts";
import type { Binding, NodePart, OpDef, RegionMachine, VjpContext } from "./op.ts";
import { at, broken, expectLabel } from "./op.ts";
import { expectRegion, narrowed } from "./region.ts";

type ScanAttrs = { length: number; carries: number; xs: number; reverse: boolean; label: string };

const stacked = (type: TensorType, length: number, label: string): TensorType =>
  tensor(type.dtype, [dim(label, length), ...type.dims]);

const bindingOf = (param: number, { carries, xs }: ScanAttrs): Binding =>
  param < carries ? "carried" : param < carries + xs ? "sliced" : "fixed";

/**
 * The reverse scan: carries are cotangents of float carries and sums of const cotangents. The forward scan yields all
 * that it reads of a step besides the step's own operands; a body that is one `remat` keeps less.
 */
function scanVjp<T>(k: K<T>, cx: VjpContext<T, ScanAttrs>): readonly (T | null)[] {
  const { attrs, ins } = cx;
  const body = at(cx.regions, 0);
  const c = attrs.carries;
  const constsAt = c + attrs.xs;
  const floating = body.params.map((param) => isFloat(param.type.dtype));
  const carried = range(c).filter((i) => floating[i]);
  const liveYs = range(body.results.length).filter((i) => i >= c && cx.isLive(i));
  const { forward, backward, operands, residuals } = cx.split(
    body,
    body.results.map((_, i) => (i < c ? carried.includes(i) : cx.isLive(i))),
    { bindingOf: (i) => bindingOf(i, attrs) },
  );
  const kept = cx.extend(forward, residuals);

  const [xs, consts] = [operands.filter((i) => i < constsAt), operands.filter((i) => i >= constsAt)];
  const primals = xs.length + kept.length;
  const floatCs = carried.length;
  const floatXs = floating.slice(c, constsAt).filter(Boolean).length;
  const summed = ins.filter((_, i) => i >= constsAt && floating[i]);
  const result = k.scan(
    {
      carries: [...carried.map((i) => cx.dy(i)), ...summed.map((x) => k.constant(0, k.typeOf(x)))],
      xs: [...xs.map((i) => at(ins, i)), ...kept, ...liveYs.map((i) => cx.dy(i))],
      consts: consts.map((i) => at(ins, i)),
      length: attrs.length,
      reverse: !attrs.reverse,
      label: attrs.label,
    },
    (state, step, fixed) => {
      const read = [...step.slice(0, xs.length), ...fixed, ...step.slice(xs.length, primals)];
      const cotangents = k.inline(backward, [...read, ...state.slice(0, floatCs), ...step.slice(primals)]);
      const dConsts = cotangents.slice(floatCs + floatXs);
      return {
        carries: [
          ...cotangents.slice(0, floatCs),
          ...dConsts.map((dx, i) => k.add(at(state, floatCs + i), dx)),
        ],
        ys: cotangents.slice(floatCs, floatCs + floatXs),
      };
    },
  );
  const gradients = [...result.carries.slice(0, floatCs), ...result.ys, ...result.carries.slice(floatCs)];
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
    const outs = machine.runRegion(body, [...carries, ...step, ...consts], given);
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

/** The loop without the results nobody reads: neither outside nor, for a carry, in later steps. */
function pruneScan(
  { attrs, ins, outs, regions }: NodePart<ScanAttrs>,
  isLive: (result: number) => boolean,
  dropDead: (block: Block) => Block,
): NodePart<ScanAttrs> {
  const isCarry = (i: number): boolean => i < attrs.carries;
  let kept = outs.filter(isLive);
  for (;;) {
    const { params, region } = narrowed(
      at(regions, 0),
      kept,
      dropDead,
      (i) => isCarry(i) && kept.includes(i),
    );
    const needed = outs.filter((i) => kept.includes(i) || (isCarry(i) && params.includes(i)));
    if (needed.length === kept.length) {
      const carries = params.filter(isCarry).length;
      const xs = params.filter((i) => i < attrs.carries + attrs.xs).length - carries;
      return {
        ins: ins.filter((i) => params.includes(i)),
        outs: kept,
        attrs: { ...attrs, carries, xs },
        regions: [region],
      };
    }
    kept = needed;
  }
}

export const scan: OpDef<ScanAttrs> = {
  name: "scan",
  doc: "Run the region `length` times, carrying state and stacking what each step yields; as lax.scan.",
  attrs: { length: "int", carries: "int", xs: "int", reverse: "bool", label: "string" },
  infer(ins, attrs, regions) {
    const body = expectRegion("scan", ins, regions);
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
  bindingOf,
  vjp: scanVjp,
  prune: pruneScan,
  control: (machine, ins, attrs, regions) => runSteps(machine, ins, attrs, at(regions, 0)),
  flops: () => 0,
};
