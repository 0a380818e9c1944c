// Saves a model as transformers does: a directory with config.json and safetensors, complete or not there.
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { toHuggingFaceConfig } from "../../compiler/config/hugging-face.ts";
import type { Config } from "../../compiler/config/load.ts";
import { fail, invariant } from "../../compiler/diag.ts";
import { writeAside } from "../files.ts";
import { encodeFloats } from "./convert-dtype.ts";
import { toHuggingFace, type Weights } from "./hugging-face.ts";
import { writeShardedSafetensors } from "./safetensors.ts";

const STORED = { float32: "F32", bfloat16: "BF16", float16: "F16" } as const;

/** Refuses a directory that already exists; called before long work, so that its result has somewhere to go. */
export function requireFree(directory: string): void {
  if (fs.existsSync(directory))
    fail({
      code: "checkpoint-exists",
      message: `${directory} already exists and would be overwritten`,
      help: "choose another run_name or base_output_directory, or remove it first",
    });
}

/** Writes the directory beside its place and renames it when every byte is on disk. */
export function saveHuggingFace(
  directory: string,
  config: Config,
  params: readonly ParamDecl[],
  weights: Weights,
): void {
  requireFree(directory);
  fs.mkdirSync(dirname(directory), { recursive: true });
  const aside = join(
    dirname(directory),
    `.${basename(directory)}.${process.pid}-${randomBytes(4).toString("hex")}.partial`,
  );
  const dtype = STORED[config.values.weight_dtype];
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
  try {
    writeShardedSafetensors(aside, tensors);
    writeAside(join(aside, "config.json"), (append) =>
      append(new TextEncoder().encode(`${JSON.stringify(toHuggingFaceConfig(config), null, 2)}\n`)),
    );
    fs.renameSync(aside, directory);
  } catch (error) {
    fs.rmSync(aside, { recursive: true, force: true });
    throw error;
  }
}
