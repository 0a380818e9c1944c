// Parameters in memory as the Hugging Face tensors that their declarations say.
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { invariant } from "../../compiler/diag.ts";
import { copyBox, wholeBox } from "./box.ts";
import { gather } from "./gather.ts";
import { huggingFaceLayout, type Layout, treeLayout } from "./layout.ts";
import { planTensors } from "./plan.ts";
import type { TensorReader } from "./tensors.ts";

/** Numbers of every parameter by its path, in the parameter's own layout. */
export type Weights = ReadonlyMap<string, Float32Array>;

/** A Hugging Face tensor in f32. */
export type NamedArray = {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
};

/** Where parameters lie that are in memory: each by itself, in its own layout. */
export const ownLayout = (params: readonly ParamDecl[]): Layout =>
  treeLayout(params, { scanned: false, scanAxis: 0 });

/** The Hugging Face tensors of a parameter, in the layout the declaration names first. */
export function toHuggingFace(param: ParamDecl, data: Float32Array): NamedArray[] {
  const own = ownLayout([param]);
  const target = huggingFaceLayout([param]);
  const reader = readerOf(own, new Map([[param.path, data]]));
  return planTensors(target, own).map((plan) => {
    const { buffer } = gather(plan, wholeBox(plan.shape), reader, "F32");
    return { name: plan.name, shape: plan.shape, data: new Float32Array(buffer) };
  });
}

/** Weights in memory as a checkpoint. */
function readerOf(layout: Layout, weights: Weights): TensorReader {
  const tensors = new Map(
    [...layout].map(([name, { shape }]) => [name, { name, dtype: "F32", shape } as const]),
  );
  const find = (name: string) => {
    const [tensor, data] = [tensors.get(name), weights.get(name)];
    invariant(tensor && data, `no weights for ${name}`);
    return {
      whole: wholeBox(tensor.shape),
      bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    };
  };
  return {
    path: "memory",
    tensors,
    read(name, box) {
      const { whole, bytes } = find(name);
      if (!box) return bytes;
      const out = new Uint8Array(box.reduce((n, [start, stop]) => n * (stop - start), 4));
      copyBox({ box: whole, bytes }, { box, bytes: out }, 4);
      return out;
    },
    chunksOf: (name) => [find(name).whole],
    close: () => undefined,
  };
}
