// Where a model's parameters lie in a checkpoint: in Hugging Face tensors, in MaxText's tree layer by layer, or in its
// tree with layers stacked. All three come from the parameters' declarations and have one form, so that plan.ts can
// go from any to any.

import type { Factor } from "../../compiler/arch/dims.ts";
import type { Origin, ParamDecl } from "../../compiler/arch/param.ts";
import { type Diagnostic, fail, invariant } from "../../compiler/diag.ts";
import { grouped } from "../../compiler/grouped.ts";

/** The factors that a box's extent along each axis is made of, slowest first. */
export type Factors = readonly (readonly Factor[])[];

/** A box of a stored tensor that holds a parameter, or one index of it along one factor. */
export type Piece = {
  /** The parameter's path. */
  readonly param: string;
  /** Where the box starts along each axis of the tensor. */
  readonly start: readonly number[];
  readonly dims: Factors;
  /** The one index of a factor that is here, when each index has a place of its own. */
  readonly only: { readonly key: string; readonly index: number } | undefined;
};

/** A tensor and the pieces that tile it. */
export type TensorLayout = {
  readonly shape: readonly number[];
  readonly pieces: readonly Piece[];
  /** The axis along which layers are stacked, if any are. */
  readonly stackAxis: number | undefined;
};

/** Tensors by name. */
export type Layout = ReadonlyMap<string, TensorLayout>;

const product = (factors: readonly Factor[]): number => factors.reduce((n, { size }) => n * size, 1);

/** The extent of a box along each axis. */
export const extentsOf = (dims: Factors): number[] => dims.map(product);

/** The tensors an origin is made of: one, or one per index of the factor in its name. */
export function namesOf({ name, each }: Origin): string[] {
  if (!each) return [name];
  return Array.from({ length: each.size }, (_, i) => name.replace(`{${each.key}}`, String(i)));
}

/** The shape each of the origin's tensors has: all parts along an axis that has several. */
export const shapeOfOrigin = ({ dims, part }: Origin): number[] =>
  extentsOf(dims).map((extent, axis) => (axis === part?.axis ? extent * part.count : extent));

/** The origins whose tensors a checkpoint has; the first one when it has none, so that errors name it. */
function originsIn(param: ParamDecl, has: (name: string) => boolean): readonly Origin[] {
  const found = param.origins.filter((origin) => namesOf(origin).every(has));
  return found.length > 0 ? found : param.origins.slice(0, 1);
}

/**
 * The Hugging Face tensors of parameters. Where a parameter has several homes, it is the one whose tensors `has` knows,
 * or else the first.
 */
export function huggingFaceLayout(
  params: readonly ParamDecl[],
  has: (name: string) => boolean = () => false,
): Layout {
  return layoutOfOrigins(
    params.map((param) => {
      const [origin] = originsIn(param, has);
      invariant(origin, `${param.path} has no origin`);
      return { param, origin };
    }),
  );
}

/** The Hugging Face tensors that hold parameters again which the checkpoint has in a home before, as a tied head. */
export function repeatedLayout(params: readonly ParamDecl[], has: (name: string) => boolean): Layout {
  return layoutOfOrigins(
    params.flatMap((param) =>
      originsIn(param, has)
        .slice(1)
        .map((origin) => ({ param, origin })),
    ),
  );
}

function layoutOfOrigins(homes: readonly { readonly param: ParamDecl; readonly origin: Origin }[]): Layout {
  const layout = new Map<string, TensorLayout & { readonly pieces: Piece[] }>();
  for (const { param, origin } of homes) {
    const { dims, part, each } = origin;
    const shape = shapeOfOrigin(origin);
    const start = extentsOf(dims).map((n, axis) => (axis === part?.axis ? n * part.index : 0));
    namesOf(origin).forEach((name, index) => {
      const tensor = layout.get(name) ?? { shape, pieces: [], stackAxis: undefined };
      tensor.pieces.push({ param: param.path, start, dims, only: each && { key: each.key, index } });
      layout.set(name, tensor);
    });
  }
  return layout;
}

/** The layout under other names. */
export const renamed = (layout: Layout, rename: (name: string) => string): Layout =>
  new Map([...layout].map(([name, tensor]) => [rename(name), tensor]));

/** How MaxText's tree holds layers. */
export type TreeOptions = {
  /** Whether layers are stacked: MaxText's scan_layers. */
  readonly scanned: boolean;
  /** The axis along which they are; the last one for a parameter that has fewer: MaxText's param_scan_axis. */
  readonly scanAxis: number;
};

/** MaxText's tree of parameters: paths with dots between their parts, without what stands before all of them. */
export function treeLayout(params: readonly ParamDecl[], { scanned, scanAxis }: TreeOptions): Layout {
  if (!scanned) return new Map(params.map((param) => [param.path, single(param)]));
  const problem = stackingProblem(params);
  if (problem) fail(problem);
  return new Map(
    [...grouped(params, ({ path, stack }) => stack?.path ?? path)].map(([name, members]) => {
      const [only] = members;
      return [name, only && !only.stack ? single(only) : stacked(members, scanAxis)];
    }),
  );
}

function single({ path, dims }: ParamDecl): TensorLayout {
  const start = dims.map(() => 0);
  const pieces = [{ param: path, start, dims, only: undefined }];
  return { shape: extentsOf(dims), pieces, stackAxis: undefined };
}

function stacked(members: readonly ParamDecl[], scanAxis: number): TensorLayout {
  const [first] = members;
  invariant(first, "a stack has members");
  const axis = Math.min(scanAxis, first.dims.length);
  const pieces = members.map(({ path, dims }, layer) => ({
    param: path,
    start: dims.map(() => 0).toSpliced(axis, 0, layer),
    dims: dims.toSpliced(axis, 0, []),
    only: undefined,
  }));
  return { shape: extentsOf(first.dims).toSpliced(axis, 0, members.length), pieces, stackAxis: axis };
}

/**
 * Why layers cannot be stacked, or nothing. MaxText stacks whole cycles of layers, of which those in the same place are
 * alike; layers after the last whole cycle it leaves out.
 */
export function stackingProblem(params: readonly ParamDecl[]): Diagnostic | undefined {
  const problem = (code: string, why: string): Diagnostic => ({
    code,
    message: `layers cannot be stacked: ${why}`,
    help: "use scan_layers=false, which has a place for each layer",
  });
  const counts = new Map<string, number>();
  const inLayers = params.filter(({ stack }) => stack !== undefined);
  for (const [block, members] of grouped(inLayers, ({ stack }) => stack?.block ?? "")) {
    const stacks = [...grouped(members, ({ stack }) => stack?.path ?? "").values()];
    const count = Math.max(...stacks.map((stack) => stack.length));
    for (const stack of stacks) {
      const [first] = stack;
      const shape = (param: ParamDecl): string => `${param.path} is [${extentsOf(param.dims).join(", ")}]`;
      const other = stack.find(
        ({ dims }) => first && String(extentsOf(dims)) !== String(extentsOf(first.dims)),
      );
      if (first && other) return problem("layers-differ", `${shape(first)}, ${shape(other)}`);
      if (first && stack.length !== count)
        return problem(
          "layers-differ",
          `${stack.length} of the ${count} layers that ${block} stands for have a parameter like ${first.path}`,
        );
    }
    counts.set(block, count);
  }
  // Blocks whose names differ by a number only are the places of one cycle.
  for (const [, slots] of grouped(counts, ([block]) => block.replace(/\d+/g, "#"))) {
    const total = slots.reduce((n, [, count]) => n + count, 0);
    if (slots.some(([, count]) => count * slots.length !== total))
      return problem(
        "layers-left-over",
        `${total} layers are not a whole number of cycles of ${slots.length}, and MaxText drops those left over`,
      );
  }
  return undefined;
}
