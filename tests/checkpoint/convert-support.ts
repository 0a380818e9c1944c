// Conversions of whole checkpoints, and reading back what they made.
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join, resolve } from "node:path";
import { toHuggingFaceConfig } from "../../compiler/config/hugging-face/write.ts";
import { loadConfig } from "../../compiler/config/load.ts";
import { draftParams, forwardModel } from "../../compiler/model.ts";
import { type Conversion, prepareConversion } from "../../runtime/checkpoint/convert/convert.ts";
import { openTensors } from "../../runtime/checkpoint/open.ts";
import type { StoredDType } from "../../runtime/checkpoint/tensors.ts";

/** The conversion of a model that a Hugging Face folder describes. */
export function conversionOf(
  model: string,
  source: string,
  output: string,
  options: Partial<Conversion> & { readonly scanned?: boolean } = {},
): Conversion {
  const config = loadConfig(["base", `model_name=${model}`, "base_output_directory=unused"], {
    env: {},
    cwd: process.cwd(),
    modelsDir: resolve("models"),
  });
  const { scanned = true, ...rest } = options;
  return {
    source,
    to: undefined,
    output,
    params: { own: forwardModel(config).params, draft: draftParams(config) },
    tree: { scanned, scanAxis: config.values.param_scan_axis },
    dtype: undefined,
    files: undefined,
    config: () => toHuggingFaceConfig(config),
    ...rest,
  };
}

/** Does a conversion, and gives what was to be loaded afterwards. */
export async function convert(conversion: Conversion): Promise<string> {
  const prepared = prepareConversion(conversion);
  try {
    await prepared.run(1, () => undefined);
    return prepared.path;
  } finally {
    prepared.close();
  }
}

export type Stored = {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
};

/** Every tensor of a checkpoint. */
export function tensorsAt(path: string): Record<string, Stored> {
  const reader = openTensors(path);
  const all = [...reader.tensors.values()].map(({ name, dtype, shape }) => [
    name,
    { dtype, shape, bytes: Uint8Array.from(reader.read(name)) },
  ]);
  reader.close();
  return Object.fromEntries(all) as Record<string, Stored>;
}

/** The SHA-256 of bytes: comparing those takes jest less time than comparing the bytes. */
export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** What a checkpoint holds, to be compared with another. */
export const digestsAt = (path: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(tensorsAt(path)).map(([name, { dtype, shape, bytes }]) => [
      name,
      `${dtype} [${shape.join(", ")}] ${sha256(bytes)}`,
    ]),
  );

/** The digests of a directory's files that hold tensors. */
export const weightFiles = (directory: string): Record<string, string> =>
  Object.fromEntries(
    fs
      .readdirSync(directory)
      .filter((name) => /^model.*\.safetensors$/.test(name))
      .map((name) => [name, sha256(fs.readFileSync(join(directory, name)))]),
  );
