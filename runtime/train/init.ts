// Initial weights from what each parameter's declaration says.
import type { Init, ParamDecl } from "../../compiler/arch/param.ts";
import { elements } from "../../compiler/ir/shape.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import { type Random, random } from "../random.ts";

function fill(init: Init, out: Float32Array, source: Random): void {
  switch (init.kind) {
    case "zeros":
      return;
    case "ones":
      out.fill(1);
      return;
    case "normal":
      for (let i = 0; i < out.length; i++) out[i] = init.std * source.normal();
      return;
    case "log_uniform":
      for (let i = 0; i < out.length; i++)
        out[i] = Math.log(init.low + (init.high - init.low) * source.uniform());
      return;
  }
}

/** Each parameter draws from a stream of its own, so that one more parameter changes no other. */
export function initialWeights(params: readonly ParamDecl[], seed: number): Weights {
  return new Map(
    params.map(({ path, value, init }, stream) => {
      const out = new Float32Array(elements(value.type));
      fill(init, out, random(seed, stream));
      return [path, out];
    }),
  );
}
