// Saves a model as transformers does: a directory with config.json and safetensors, complete or not there.
import { join } from "node:path";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { toHuggingFaceConfig } from "../../compiler/config/hugging-face/write.ts";
import type { Config } from "../../compiler/config/load.ts";
import { invariant } from "../../compiler/diag.ts";
import { dtypeNamed } from "../../compiler/dtype.ts";
import type { ClaimedDirectory } from "../claimed-directory.ts";
import { writeAside } from "../files.ts";
import { encodeFloats, storedFloat } from "./convert-dtype.ts";
import { toHuggingFace, type Weights } from "./hugging-face.ts";
import { writeShardedSafetensors } from "./write-safetensors.ts";

/** Writes a model into a claimed directory and commits it when every byte is on disk. */
export function saveHuggingFace(
  directory: ClaimedDirectory,
  config: Config,
  params: readonly ParamDecl[],
  weights: Weights,
): void {
  const dtype = storedFloat(dtypeNamed(config.values.weight_dtype));
  const tensors = params.flatMap((param) => {
    const data = weights.get(param.path);
    invariant(data, `no weights for ${param.path}`);
    return toHuggingFace(param, data).map(({ name, shape, data: values }) => ({
      name,
      shape,
      dtype,
      bytes: () => encodeFloats(dtype, values),
    }));
  });
  writeShardedSafetensors(directory.aside, tensors);
  writeAside(join(directory.aside, "config.json"), (append) =>
    append(new TextEncoder().encode(`${JSON.stringify(toHuggingFaceConfig(config), null, 2)}\n`)),
  );
  directory.commit();
}
