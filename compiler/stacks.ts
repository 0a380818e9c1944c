// Stacked parameters: one parameter with a leading dim `layers` in the place of one per layer. Its name tells theirs:
// `layers_0_by_4.w` of twelve stands for layers_0.w, layers_4.w, … layers_44.w; equal names are one name.
import { dim, tensor } from "./ir/shape.ts";
import type { Block, Node, TensorType, Value } from "./ir/types.ts";
import { scan } from "./ops/scan.ts";

/** Label of the dim along which layers are stacked, and of the scans over it. */
export const LAYERS = "layers";

/** The type of `count` values of a type, stacked. */
export const stackedType = (type: TensorType, count: number): TensorType =>
  tensor(type.dtype, [dim(LAYERS, count), ...type.dims]);

/** The name of each parameter in a stack. */
function memberNames(name: string, count: number): string[] {
  const [series, start = "", step = ""] = /(\d+)_by_(\d+)/.exec(name) ?? [];
  return Array.from({ length: count }, (_, i) =>
    series === undefined ? name : name.replace(series, String(Number(start) + i * Number(step))),
  );
}

/** The name of a stack of parameters, or nothing when their names form no series. */
export function stackName(names: readonly string[]): string | undefined {
  const pieces = names.map((name) => name.split(/(\d+)/));
  const [first = [], second = []] = pieces;
  const at = first.findIndex((piece, i) => piece !== second[i]);
  const step = Number(second[at]) - Number(first[at]);
  const series = first.map((piece, i) => (i === at ? `${piece}_by_${step}` : piece)).join("");
  const isSeries = memberNames(series, names.length).every((name, i) => name === names[i]);
  return isSeries ? series : undefined;
}

/** Whether a node is a scan over layers. */
export const isLayerScan = ({ op, attrs }: Node): boolean => op === scan && attrs["label"] === LAYERS;

/** The operands of a scan by what they are to it. */
export function scanOperands({ ins, attrs }: Node): {
  carries: readonly Value[];
  xs: readonly Value[];
  consts: readonly Value[];
} {
  const carries = attrs["carries"] as number;
  const constsAt = carries + (attrs["xs"] as number);
  return { carries: ins.slice(0, carries), xs: ins.slice(carries, constsAt), consts: ins.slice(constsAt) };
}

/** A parameter that holds those of several layers along its first dim. */
export type Stack = {
  readonly param: Value;
  /** Names of the parameters it holds, layer by layer. */
  readonly members: readonly string[];
  /** The first scan over it: parameters of one scan are declared layer by layer when unstacked. */
  readonly scan: Node;
};

/** The stacked parameters of a program, in order: those only scans over layers read, a layer at a time. */
export function stacksOf(block: Block): Stack[] {
  const scans = new Map<Value, Node>();
  const others = new Set<Value>(block.results);
  for (const each of block.nodes) {
    const { carries, xs, consts } = isLayerScan(each)
      ? scanOperands(each)
      : { carries: each.ins, xs: [], consts: [] };
    for (const x of xs) if (!scans.has(x)) scans.set(x, each);
    for (const x of [...carries, ...consts]) others.add(x);
  }
  return block.params.flatMap((param) => {
    const scan = scans.get(param);
    if (!scan || others.has(param)) return [];
    return [{ param, members: memberNames(param.hint, scan.attrs["length"] as number), scan }];
  });
}

/** A list of parameters with each stack's members in its place; neighbours of one scan come layer by layer. */
export function unstackedOrder<X extends object>(
  params: readonly X[],
  stackOf: (param: X) => { readonly group: unknown; readonly members: readonly X[] } | undefined,
): X[] {
  const stacks = params.map(stackOf);
  return params.flatMap((param, i) => {
    const own = stacks[i];
    if (!own) return [param];
    if (stacks[i - 1]?.group === own.group) return [];
    const end = stacks.findIndex((stack, j) => j > i && stack?.group !== own.group);
    const together = stacks.slice(i, end < 0 ? stacks.length : end);
    return own.members.flatMap((_, layer) => together.flatMap((stack) => stack?.members[layer] ?? []));
  });
}
