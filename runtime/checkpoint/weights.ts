// A model's parameters from a checkpoint of either format into memory, in f32 and each in its own layout.
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { wholeBox } from "./box.ts";
import { requireNames } from "./compare-names.ts";
import {
  type Contents,
  huggingFaceContents,
  huggingFaceName,
  type ModelParams,
  maxTextContents,
  paramsOf,
} from "./contents.ts";
import { gather } from "./gather.ts";
import { ownLayout, type Weights } from "./hugging-face.ts";
import type { Checkpoint } from "./open.ts";
import { planTensors } from "./plan.ts";

/** Which tensors of a checkpoint hold which parameters; missing, unexpected and misshapen ones are one error. */
export const contentsOf = (checkpoint: Checkpoint, params: ModelParams, scanAxis: number): Contents =>
  checkpoint.format === "orbax"
    ? maxTextContents(checkpoint.tensors, params, scanAxis)
    : huggingFaceContents(checkpoint.tensors, params);

/** Reads some of the parameters that a checkpoint holds. Tensors that only a conversion takes along are refused. */
export function readWeights(
  { tensors }: Checkpoint,
  contents: Contents,
  params: readonly ParamDecl[],
): Weights {
  const beside = contents.others.flatMap((other) => {
    const name = huggingFaceName(other);
    return name === undefined ? [] : [[name, other.tensor] as const];
  });
  requireNames(tensors.path, new Map(), new Map(beside));
  const plans = planTensors(ownLayout(params), paramsOf(tensors, contents).layout);
  // Layers that are stacked in one tensor are read one after another.
  const order = new Map([...tensors.tensors.keys()].map((name, i) => [name, i]));
  const placeOf = ({ moves: [first] }: (typeof plans)[number]): number => order.get(first?.from ?? "") ?? 0;
  const read = plans
    .toSorted((a, b) => placeOf(a) - placeOf(b))
    .map((plan) => {
      const { buffer } = gather(plan, wholeBox(plan.shape), tensors, "F32");
      return [plan.name, new Float32Array(buffer)] as const;
    });
  return new Map(read);
}
