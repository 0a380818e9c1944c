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

/** A directory that does not exist yet but whose place is taken: writable, and complete once committed. */
export type ClaimedDirectory = {
  readonly path: string;
  /** Where to write until then. */
  readonly aside: string;
  commit(): void;
  abandon(): void;
};

const PARTIAL = ".partial";
const partialPrefix = (path: string): string => `.${basename(path)}.`;

/** Removes what work for a directory left beside it that was cut off. Nothing else may be at work there. */
export function removePartial(path: string): void {
  if (!fs.existsSync(dirname(path))) return;
  for (const name of fs.readdirSync(dirname(path)))
    if (name.startsWith(partialPrefix(path)) && name.endsWith(PARTIAL))
      fs.rmSync(join(dirname(path), name), { recursive: true, force: true });
}

/** Makes the directory beside its place, before long work whose result shall go there. */
export function claimDirectory(path: string): ClaimedDirectory {
  if (fs.existsSync(path))
    fail({
      code: "checkpoint-exists",
      message: "already exists and would be overwritten",
      at: { file: path },
      help: "choose another run_name or base_output_directory, or remove it first",
    });
  const aside = join(
    dirname(path),
    `${partialPrefix(path)}${process.pid}-${randomBytes(4).toString("hex")}${PARTIAL}`,
  );
  const attempt = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      fail({
        code: "checkpoint-unwritable",
        message: `cannot be written: ${error.message}`,
        at: { file: path },
      });
    }
  };
  const parent = dirname(path);
  const isNew = !fs.existsSync(parent);
  attempt(() => fs.mkdirSync(aside, { recursive: true }));
  const abandon = (): void => {
    process.removeListener("exit", abandon);
    fs.rmSync(aside, { recursive: true, force: true });
    if (isNew && fs.existsSync(parent) && fs.readdirSync(parent).length === 0) fs.rmdirSync(parent);
  };
  // Ctrl-C exits without going back through the callers.
  process.once("exit", abandon);
  return {
    path,
    aside,
    commit() {
      attempt(() => fs.renameSync(aside, path));
      process.removeListener("exit", abandon);
    },
    abandon,
  };
}

/** Writes a model into a claimed directory and commits it when every byte is on disk. */
export function saveHuggingFace(
  directory: ClaimedDirectory,
  config: Config,
  params: readonly ParamDecl[],
  weights: Weights,
): void {
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
  writeShardedSafetensors(directory.aside, tensors);
  writeAside(join(directory.aside, "config.json"), (append) =>
    append(new TextEncoder().encode(`${JSON.stringify(toHuggingFaceConfig(config), null, 2)}\n`)),
  );
  directory.commit();
}
