// Weights that lie with an engine: each goes there when a program first needs it, and serves all programs from then on.
import type { ParamDecl } from "../compiler/arch/param.ts";
import { invariant } from "../compiler/diag.ts";
import type { Weights } from "./checkpoint/hugging-face.ts";
import type { Buffer, Engine } from "./engines/engine.ts";

/** Weights of a model in an engine's memory. */
export type Resident = {
  /** Buffers of these parameters, in their order. */
  of(params: readonly ParamDecl[]): readonly Buffer[];
  release(): void;
};

/** Weights by path, in the layout of their declarations, to lie with an engine. */
export function openResident(engine: Engine, weights: Weights): Resident {
  const buffers = new Map<string, Buffer>();
  return {
    of: (params) =>
      params.map(({ path, value }) => {
        const data = weights.get(path);
        invariant(data, `no weights for ${path}`);
        const buffer = buffers.get(path) ?? engine.upload(value.type, data);
        buffers.set(path, buffer);
        return buffer;
      }),
    release() {
      for (const buffer of buffers.values()) engine.release(buffer);
      buffers.clear();
    },
  };
}
