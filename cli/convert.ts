// q3c convert: checkpoints from Hugging Face to MaxText and back, and between MaxText's two layouts.
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import type { Config } from "../compiler/config/load.ts";
import { fail } from "../compiler/diag.ts";
import type { Command, Io } from "./command.ts";
import { printWarnings, readConfig } from "./config.ts";
import { isFolder } from "./folder.ts";
import { showProgress } from "./progress.ts";

const flags = {
  to: { value: "string", doc: "maxtext or huggingface; the other format than the source's unless given" },
  hf_model_path: {
    value: "string",
    doc: "Hugging Face folder: what to convert, or else whose configuration and tokenizer go along",
  },
  dry_run: { doc: "print what would be written, and write nothing" },
  parallel_threads: {
    value: "number",
    doc: "threads that work at the same time (one more than there are cores)",
  },
  save_dtype: { value: "string", doc: "dtype of the parameters, as weight_dtype=<dtype> says it" },
  lazy_load_tensors: { doc: "taken from MaxText's lines; tensors are always read when needed" },
  eager_load_method: { value: "string", doc: "taken from MaxText's lines; has no effect" },
  simulated_cpu_devices_count: { value: "number", doc: "taken from MaxText's lines; has no effect" },
  override_model_architecture: {
    doc: "taken from MaxText's lines; config.json always says what was converted",
  },
} as const;

/** What the arguments name: a configuration, and perhaps a source and an output in front of its keys. */
type Named = { readonly args: readonly string[]; readonly from?: string };

/** `FROM TO key=value …` as the configuration that says the same; MaxText's own form stays as it is. */
async function named(args: readonly string[], hfPath: string | undefined, { cwd }: Io): Promise<Named> {
  const places = args.filter((arg) => !arg.includes("=") && arg.trim() !== "");
  const [from, to] = places;
  if (args.length === 0) failArguments("nothing says what is to be converted");
  if (from === undefined) return { args };
  const { requireLocalPath } = await import("../compiler/config/remote.ts");
  requireLocalPath(from);
  const path = resolve(cwd, from);
  if (to === undefined) {
    if (isCheckpoint(path)) failArguments(`${from} is to be converted, but not where to`);
    return { args };
  }
  if (places.length > 2) failArguments(`expected a source and an output, found ${places.join(", ")}`);
  const keys = args.filter((arg) => arg.includes("="));
  const hasModel = keys.some((key) => key.startsWith("model_name="));
  const rest = [
    ...(hasModel ? [] : [`model_name=${await modelAt(path, hfPath)}`]),
    `base_output_directory=${to}`,
    ...keys,
  ];
  return { args: ["base", ...rest], from: path };
}

const failArguments = (message: string): never =>
  fail({ code: "convert-arguments", message, help: "write q3c convert FROM TO [key=value ...]" }, 2);

/** Whether a path cannot be the configuration that MaxText's form begins with. */
const isCheckpoint = (path: string): boolean => path.endsWith(".safetensors") || isFolder(path);

/** The folder whose config.json says what model a checkpoint holds. */
async function modelAt(path: string, hfPath: string | undefined): Promise<string> {
  const { looksLikeOrbax, findItem } = await import("../runtime/checkpoint/orbax/files.ts");
  const { CONFIG, sideOf } = await import("../runtime/checkpoint/convert/side-files.ts");
  const { openTensors } = await import("../runtime/checkpoint/open.ts");
  const side = isFolder(path) && looksLikeOrbax(path) ? sideOf(findItem(path).item) : undefined;
  const folder = [hfPath, path, side].find((place) => place && existsSync(resolve(place, CONFIG)));
  if (folder !== undefined) return folder;
  // What is no checkpoint at all has no model to be asked for.
  openTensors(path).close();
  return fail(
    {
      code: "convert-model",
      message: `nothing says what model this is of: there is no ${CONFIG} with it`,
      at: { file: path },
      help: "pass model_name=<name or folder>, or --hf_model_path=<folder with the model's config.json>",
    },
    2,
  );
}

/** Where the tensors are. */
function sourceOf(
  { values }: Config,
  from: string | undefined,
  hfPath: string | undefined,
  cwd: string,
): string {
  const found = from ?? (values.load_parameters_path || hfPath || values.hf_checkpoint);
  if (!found)
    return fail(
      {
        code: "convert-source",
        message: "no checkpoint to convert is named, and q3c downloads nothing",
        help: "pass --hf_model_path=<folder>, or load_parameters_path=<item> for one of MaxText",
      },
      2,
    );
  return resolve(cwd, found);
}

/** The dtype that was asked for, if any: without, every tensor keeps its own. */
async function dtypeOf(config: Config, flag: string | undefined) {
  const from = config.origin("weight_dtype").from;
  const isAsked = from === "command line" || from === "environment" || from === "file";
  const asked = isAsked ? config.values.weight_dtype : undefined;
  const name = flag ?? asked;
  // What the line says goes before a file, but not before itself.
  if (asked !== undefined && name !== asked && from !== "file")
    return fail(
      {
        code: "bad-flag-value",
        message: `\`--save_dtype\` is \`${name}\`, but \`weight_dtype\` is \`${asked}\``,
        at: config.spanOf("weight_dtype"),
        help: "give one of them",
      },
      2,
    );
  if (name === undefined) return undefined;
  const { keys } = await import("../compiler/config/keys.ts");
  const { dtypeNamed } = await import("../compiler/dtype.ts");
  const { storedFloat } = await import("../runtime/checkpoint/convert-dtype.ts");
  const { type } = keys.weight_dtype;
  const dtype = type.read({ value: name });
  if (dtype === undefined)
    return fail(
      { code: "bad-flag-value", message: `\`--save_dtype\` is ${type.name}, found \`${name}\`` },
      2,
    );
  return { name, stored: storedFloat(dtypeNamed(dtype)) };
}

function requireThreads(count: number | undefined): void {
  if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) return;
  const message = `\`--parallel_threads\` must be a whole number of at least 1, found ${count}`;
  fail({ code: "bad-flag-value", message }, 2);
}

function formatNamed(text: string | undefined): "huggingface" | "maxtext" | undefined {
  if (text === undefined || text === "huggingface" || text === "maxtext") return text;
  return fail(
    { code: "bad-flag-value", message: `\`--to\` is maxtext or huggingface, found \`${text}\`` },
    2,
  );
}

// Below this, starting threads takes longer than the work.
const THREADS_FROM = 1 << 27;

export const convert: Command<typeof flags> = {
  name: "convert",
  summary: "Convert checkpoints: Hugging Face to MaxText and back, layers stacked or single.",
  usage: "convert FROM TO [key=value ...] | convert <config.yml | base> [key=value ...]",
  details: [
    "FROM is a Hugging Face folder or an Orbax checkpoint of MaxText (an item, a step, the folder of steps, or the run's); what it is, and whether its layers are stacked, is found by looking. TO is a folder: for transformers, or the one in which MaxText's step goes (TO/0/items), beside other steps if there are any. --to=maxtext on a checkpoint of MaxText changes between layers stacked and single (scan_layers=true|false).",
    "MaxText's own lines work too: model_name, base_output_directory, scan_layers, --hf_model_path for to_maxtext, load_parameters_path for to_huggingface.",
    "Every tensor keeps its dtype unless weight_dtype is given. Configuration and tokenizer go along, in TO/0/hugging_face beside MaxText's item, which is one OCDBT database of zarr v3 arrays unless checkpoint_storage_use_ocdbt or checkpoint_storage_use_zarr3 says otherwise. Tensors mtp.* are kept both ways. A run that was cut off goes on where it was, when the same line is given again. The examples convert what the example of `q3c help run` saves.",
  ],
  examples: [
    "q3c convert out/tiny/hugging_face/3 out/maxtext",
    "q3c convert out/maxtext out/single --to=maxtext scan_layers=false",
  ],
  flags,
  maxTextModules: [
    "maxtext.checkpoint_conversion.to_maxtext",
    "maxtext.checkpoint_conversion.to_huggingface",
  ],
  async run({ args, flags: given, io }) {
    const { requireLocalPath } = await import("../compiler/config/remote.ts");
    requireLocalPath(given.hf_model_path ?? "");
    const hfPath = given.hf_model_path === undefined ? undefined : resolve(io.cwd, given.hf_model_path);
    const { args: configArgs, from } = await named(args, hfPath, io);
    const config = await readConfig(configArgs, io);
    const { values } = config;
    const { requireLocal } = await import("../compiler/config/remote.ts");
    requireLocal(config, "base_output_directory", "load_parameters_path");
    printWarnings(config, io, given.json, true);
    const { draftParams, forwardModel } = await import("../compiler/model.ts");
    const { toHuggingFaceConfig } = await import("../compiler/config/hugging-face/write.ts");
    const { formatBytes } = await import("../compiler/plan/report.ts");
    const { prepareConversion } = await import("../runtime/checkpoint/convert/convert.ts");
    requireThreads(given.parallel_threads);
    const source = sourceOf(config, from, hfPath, io.cwd);
    const to = formatNamed(given.to);
    const { params: own } = forwardModel(config);
    const prepared = prepareConversion({
      source,
      to,
      output: resolve(io.cwd, values.base_output_directory),
      params: { own, draft: draftParams(config, own) },
      tree: { scanned: values.scan_layers, scanAxis: values.param_scan_axis },
      storage: {
        ocdbt: values.checkpoint_storage_use_ocdbt,
        zarr3: values.checkpoint_storage_use_zarr3,
      },
      dtype: await dtypeOf(config, given.save_dtype),
      files: hfPath === source ? undefined : hfPath,
      config: () => toHuggingFaceConfig(config),
    });
    try {
      const { bytes, path, tensors, leftOut, whenCutOff } = prepared;
      const facts = { from: prepared.source, to: path, format: prepared.to, tensors: tensors.length, bytes };
      if (given.json && !given.dry_run)
        io.out(JSON.stringify({ kind: "start", ...facts, left_out: Object.fromEntries(leftOut) }));
      else if (!given.json) {
        io.out(`from: ${prepared.source} (${prepared.from})`);
        io.out(`to: ${path} (${prepared.to}), ${tensors.length} tensors, ${formatBytes(bytes)}`);
        for (const [key, count] of leftOut)
          io.err(`left out: ${key}, ${count} tensors that have no place there`);
      }
      if (given.dry_run) {
        for (const { name, dtype, shape } of tensors)
          io.out(
            given.json ? JSON.stringify({ name, dtype, shape }) : `${name}  ${dtype} [${shape.join(", ")}]`,
          );
        return 0;
      }
      const progress = showProgress(io, { label: "converting", elsewhere: "quiet", unit: "bytes" });
      const start = performance.now();
      // While one thread waits for the disk, another can use the core.
      const threads = bytes < THREADS_FROM ? 1 : (given.parallel_threads ?? availableParallelism() + 1);
      io.whenInterrupted(() => whenCutOff);
      await prepared.run(threads, progress);
      io.whenInterrupted(() => "");
      const seconds = (performance.now() - start) / 1000;
      if (given.json) io.out(JSON.stringify({ kind: "converted", path, bytes, seconds }));
      else io.out(`converted: ${path} in ${seconds.toFixed(1)} s, ${formatBytes(bytes / seconds)}/s`);
    } finally {
      prepared.close();
    }
    return 0;
  },
};
