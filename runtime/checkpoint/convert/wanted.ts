// What the output of a conversion holds: every tensor with how it is made of the source's, and in which dtype.
import { fail } from "../../../compiler/diag.ts";
import { type Contents, huggingFaceName, isMoment, PARAMS, paramsOf } from "../contents.ts";
import { isFloatDType } from "../convert-dtype.ts";
import { huggingFaceLayout, repeatedLayout, type TreeOptions, treeLayout } from "../layout.ts";
import { nameOf, type TreePath } from "../orbax/tree.ts";
import type { OtherLeaf } from "../orbax/write.ts";
import { planCopy, planTensors, type TensorPlan } from "../plan.ts";
import type { StoredDType, TensorReader } from "../tensors.ts";
import type { Planned } from "./blocks.ts";

/** The number of steps trained. */
export const STEP = "step";
/** States of random generators: layers are stacked in them too, but no declaration says how. */
const GENERATORS = "nnx_aux";

/** A tensor of a tree. */
export type PlannedLeaf = Planned & { readonly path: TreePath; readonly isScalar: boolean };

/** What is to be written, and the tensors of the source that have no place there. */
export type Wanted<T extends Planned> = {
  readonly tensors: readonly T[];
  readonly leaves: readonly OtherLeaf[];
  readonly leftOut: readonly string[];
};

/** What is asked of the dtype of floats; nothing to keep what the source has. */
type WantedDType = StoredDType | undefined;

/** A planned tensor in the dtype that is asked for if it holds floats, or else in its own. */
function inDType(source: TensorReader, plan: TensorPlan, wanted: WantedDType): Planned {
  const own = commonDType(source, plan);
  return { plan, dtype: wanted !== undefined && isFloatDType(own) ? wanted : own };
}

/** A dtype that holds the values of all that a tensor is made of: theirs, or the narrowest float that is wide enough. */
function commonDType({ tensors, path }: TensorReader, { name, moves }: TensorPlan): StoredDType {
  const dtypes = new Set(moves.flatMap(({ from }) => tensors.get(from)?.dtype ?? []));
  const [only = "F32"] = dtypes;
  if (dtypes.size <= 1) return only;
  if ([...dtypes].every(isFloatDType)) return dtypes.has("F64") ? "F64" : "F32";
  return fail({
    code: "tensor-dtype",
    message: `\`${name}\` would be made of tensors of ${[...dtypes].join(", ")}, which have no dtype in common`,
    at: { file: path },
  });
}

/** The tree of MaxText that a checkpoint becomes. */
export function wantTree(
  source: TensorReader,
  { groups, others, leaves, scanned }: Contents,
  options: TreeOptions & { readonly dtype: WantedDType },
): Wanted<PlannedLeaf> {
  const tensors = groups.flatMap((group) => {
    const layout = treeLayout(group.params, options);
    const kept = new Set(group.params.filter(({ isFloat32 }) => isFloat32).map(({ path }) => path));
    const isKept = (name: string): boolean =>
      layout.get(name)?.pieces.some(({ param }) => kept.has(param)) ?? false;
    return planTensors(layout, group.layout).map((plan): PlannedLeaf => {
      const path = [...(group.path.length === 0 ? PARAMS : group.path), ...plan.name.split(".")];
      const wanted = options.dtype !== undefined && isKept(plan.name) ? "F32" : options.dtype;
      const dtype = isMoment(group) ? undefined : wanted;
      return { ...inDType(source, { ...plan, name: nameOf(path) }, dtype), path, isScalar: false };
    });
  });
  const stays = (path: TreePath): boolean => scanned === options.scanned || path[0] !== GENERATORS;
  const copies = others
    .filter(({ path }) => stays(path))
    .map(({ tensor, path, isScalar }): PlannedLeaf => {
      const plan = { ...planCopy(tensor), name: nameOf(path) };
      return { ...inDType(source, plan, undefined), path, isScalar };
    });
  return {
    tensors: [...tensors, ...copies],
    leaves: leaves.filter(({ path }) => stays(path)),
    leftOut: others.filter(({ path }) => !stays(path)).map(({ tensor }) => tensor.name),
  };
}

/** The Hugging Face tensors that a checkpoint becomes, with those names of a parameter's that `has` knows. */
export function wantHuggingFace(
  source: TensorReader,
  contents: Contents,
  has: (name: string) => boolean,
  dtype: WantedDType,
): Wanted<Planned> {
  const params = paramsOf(source, contents);
  const homes = [...huggingFaceLayout(params.params, has), ...repeatedLayout(params.params, has)];
  const tensors = planTensors(new Map(homes), params.layout);
  const named = contents.others.flatMap((other) => {
    const name = huggingFaceName(other);
    return name === undefined ? [] : [{ ...planCopy(other.tensor), name }];
  });
  const used = new Set([...tensors, ...named].flatMap(({ moves }) => moves.map(({ from }) => from)));
  return {
    tensors: [...tensors, ...named].map((plan) => inDType(source, plan, dtype)),
    leaves: [],
    // The number of the step means nothing there.
    leftOut: [...source.tensors.keys()].filter((name) => !used.has(name) && name !== STEP),
  };
}
