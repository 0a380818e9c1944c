// Configuration → the model's forward program: the `.arch` file elaborated at the configuration's sizes and dtypes.
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import type { Elaborated, ElaborateOptions } from "./arch/context.ts";
import { elaborate } from "./arch/elaborate.ts";
import type { ParamDecl } from "./arch/param.ts";
import { type Architecture, parseArchitecture } from "./arch/syntax.ts";
import type { Config } from "./config/load.ts";
import type { ConfigValue } from "./config/value.ts";
import { fail } from "./diag.ts";
import { dtypeNamed } from "./dtype.ts";
import { flopsOf } from "./ir/cost.ts";
import { allNodes, withoutTags } from "./ir/rewrite.ts";
import { byteSize, elements } from "./ir/shape.ts";
import type { Module } from "./ir/types.ts";

export type ForwardOptions = {
  /** Dims that take the place of the configuration's: another batch or sequence length. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Names of `sow` statements whose values become results after the logits. */
  readonly taps?: readonly string[];
  /** Whether the program goes on from earlier tokens, and so takes and gives states. */
  readonly isResumed?: boolean;
  /** Of how many of each row's last tokens a program that goes on gives logits: of all unless told. */
  readonly wanted?: number | undefined;
  /** Configuration values that take the place of the configuration's. */
  readonly values?: Readonly<Record<string, ConfigValue>>;
};

// A command makes several programs of one configuration.
const architectures = new WeakMap<Config, Architecture>();

/** The architecture a configuration names, read once. */
export function readArchitecture(config: Config): Architecture {
  const read = architectures.get(config) ?? parseNamed(config);
  architectures.set(config, read);
  return read;
}

function parseNamed(config: Config): Architecture {
  const path = config.values.arch_file;
  const shown = relative(process.cwd(), path);
  try {
    return parseArchitecture({
      file: shown.startsWith("..") ? path : shown,
      text: readFileSync(path, "utf8"),
    });
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    return fail({
      code: "arch-missing",
      message: `the architecture cannot be read: ${error.message}`,
      at: { file: path },
    });
  }
}

function elaborateOptions(
  config: Config,
  { sizes = {}, taps = [], values = {}, isResumed = false, wanted }: ForwardOptions,
): ElaborateOptions {
  const all = { ...(config.values as unknown as Readonly<Record<string, ConfigValue>>), ...values };
  return {
    find: (name) => (Object.hasOwn(all, name) ? all[name] : undefined),
    keys: Object.keys(all),
    activationDType: dtypeNamed(config.values.dtype),
    weightDType: dtypeNamed(config.values.weight_dtype),
    sizes,
    taps,
    isResumed,
    wanted,
  };
}

/** Inputs tokens and positions [batch, seq], then parameters → logits [batch, seq, vocab] in f32, then taps. */
export const forwardModel = (config: Config, options: ForwardOptions = {}): Elaborated =>
  elaborate(readArchitecture(config), elaborateOptions(config, options));

/**
 * The head that drafts the token after next; nothing when the architecture has none. Inputs tokens and positions
 * [batch, seq] and the hidden state of the token before each [batch, seq, embed], then parameters, some of them the
 * model's → logits [batch, seq, vocab] in f32, then taps.
 */
export function draftModel(config: Config, options: ForwardOptions = {}): Elaborated | undefined {
  const arch = readArchitecture(config);
  return arch.draft && elaborate(arch, elaborateOptions(config, options), "draft");
}

/** Parameters that the draft has beside the model's `own`: a checkpoint holds all of them or none. */
export function draftParams(
  config: Config,
  own: readonly ParamDecl[] = forwardModel(config).params,
): readonly ParamDecl[] {
  const draft = draftModel(config);
  if (!draft) return [];
  const shared = new Set(own.map(({ path }) => path));
  return draft.params.filter(({ path }) => !shared.has(path));
}

/** The shape of a program that goes on from states: tokens [batch, seq]. */
export type DecodeOptions = {
  readonly batch: number;
  /** How many tokens of each row one run takes: a chunk of the prompt, or one. */
  readonly seq: number;
  /** The most tokens a row can have. */
  readonly length?: number;
  readonly taps?: readonly string[];
  /** Of how many of each row's last tokens it gives logits: of all unless told. */
  readonly wanted?: number;
  /**
   * Whether tokens are worked on as if they came one by one: the same numbers then, to the bit, except where experts
   * drop tokens, which hangs on all that come together.
   */
  readonly isStepwise?: boolean;
};

function resumed(
  config: Config,
  { batch, seq, length, taps = [], wanted, isStepwise = false }: DecodeOptions,
): ForwardOptions {
  return {
    sizes: { batch, seq, kv_seq: length ?? config.values.max_target_length },
    taps,
    isResumed: true,
    wanted,
    // Chunks of the delta rule are the one place where a token is summed up in another order among others.
    values: isStepwise ? { gated_delta_rule: "recurrent" } : {},
  };
}

/**
 * The program that goes on from earlier tokens. Inputs tokens and positions [batch, seq], lengths [batch] (how many
 * tokens count in each row; what is after them touches no state), then parameters, then states → logits
 * [batch, seq, vocab] in f32, then taps, then the states' successors. States start as zeros. Of `wanted` tokens the
 * logits are [batch, wanted, vocab]: the last of each row is the last that counts.
 */
export const decodeModel = (config: Config, options: DecodeOptions): Elaborated =>
  withoutNames(forwardModel(config, resumed(config, options)));

/** The same of the draft, which takes hidden states [batch, seq, embed] after the positions. */
export const decodeDraft = (config: Config, options: DecodeOptions): Elaborated | undefined => {
  const draft = draftModel(config, resumed(config, options));
  return draft && withoutNames(draft);
};

/** Names for remat_policy say nothing where there is no backward pass, and would part what can be one loop. */
function withoutNames(elaborated: Elaborated): Elaborated {
  const { module } = elaborated;
  return { ...elaborated, module: { ...module, body: withoutTags(module.body) } };
}

export type ModuleStats = {
  readonly parameters: number;
  readonly parameterBytes: number;
  readonly nodes: number;
  /** Floating point operations of one run, regions counted as often as they run. */
  readonly flops: number;
};

/** Sizes and work of a module, from its types alone. */
export function moduleStats({ body, roles }: Module): ModuleStats {
  const params = body.params.filter((_, i) => roles[i] === "param");
  return {
    parameters: params.reduce((n, x) => n + elements(x.type), 0),
    parameterBytes: params.reduce((n, x) => n + byteSize(x.type), 0),
    nodes: [...allNodes(body)].length,
    flops: flopsOf(body),
  };
}

/**
 * Floating point operations of the forward pass on one batch with every token at its own experts only, whatever way
 * the experts are executed: the model's work, which tokens/s turn into TFLOP/s (training counts it three times).
 */
export const modelFlops = (config: Config): number =>
  moduleStats(forwardModel(config, { values: { moe_strategy: "dropless" } }).module).flops;
