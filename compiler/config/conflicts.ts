// Where sources of a configuration disagree: with the model an error, under the model a warning.

import { type Diagnostic, Q3Error } from "../diag.ts";
import { collect, type Resolver } from "./resolve.ts";
import type { Layer, Setting, Settings } from "./settings.ts";
import { sameValue, showValue } from "./value.ts";

const sayings: Record<Layer, string> = {
  file: "in the configuration",
  checkpoint: "in the checkpoint",
  model: "in the model",
  "command line": "on the command line",
  environment: "in the environment",
};

function differ(setting: Setting, other: Setting, { read }: Resolver): Diagnostic | undefined {
  try {
    const [given, modelled] = [read(setting), read(other)];
    if (sameValue(given, modelled)) return undefined;
    return {
      code: "model-conflict",
      message: `\`${setting.name}\` is ${showValue(given)} ${sayings[setting.layer]}, ${showValue(modelled)} in the model`,
      at: setting.raw.at,
      notes: [{ message: "the model says", at: other.raw.at }],
    };
  } catch (error) {
    // findUnreadable and the computation of all values report what cannot be read.
    if (error instanceof Q3Error) return undefined;
    throw error;
  }
}

function differing(over: Settings, model: Settings, values: Resolver): readonly Diagnostic[] {
  return [...over.values()].flatMap((setting) => {
    const other = model.get(setting.name);
    const problem = other?.layer === "model" ? differ(setting, other, values) : undefined;
    return problem ? [problem] : [];
  });
}

/** The sources that may disagree. */
export type Sides = { readonly cli: Settings; readonly env: Settings; readonly model: Settings };

/** Keys that the command line or environment set otherwise than the model does. */
export function findConflicts({ cli, env, model }: Sides, values: Resolver): readonly Diagnostic[] {
  return [cli, env]
    .flatMap((over) => differing(over, model, values))
    .map((problem) => ({ ...problem, help: "set override_model_config=true to override the model" }));
}

/** What is wrong with values that lose to others of which the model is one side. */
export function findUnreadable(
  { base, model }: Sides & { readonly base: Settings },
  mayOverride: boolean,
  winners: Settings,
  { read }: Resolver,
): readonly Diagnostic[] {
  const own = [...base.values()].filter(({ isDefault }) => !isDefault);
  // A model that may be overridden may be overridden for what is wrong with it.
  const modelled = mayOverride ? [] : [...model.values()].filter(({ layer }) => layer === "model");
  const problems = new Set<Diagnostic>();
  for (const setting of [...own, ...modelled]) {
    const winner = winners.get(setting.name);
    if (winner === setting || (winner?.layer !== "model" && setting.layer !== "model")) continue;
    collect(problems, () => void read(setting));
  }
  return [...problems];
}

/** What is worth saying about a configuration that is right. */
export function findWarnings(
  sides: Sides & { readonly base: Settings },
  values: Resolver,
): readonly Diagnostic[] {
  const warnings: Diagnostic[] = [];
  const own = new Map([...sides.base].filter(([, { isDefault }]) => !isDefault));
  for (const problem of differing(own, sides.model, values)) {
    const help = "the model wins; set the key on the command line with override_model_config=true";
    warnings.push({ ...problem, code: "overridden-by-model", help });
  }
  if (values.get("logits_via_embedding") && values.get("normalize_embedding_logits")) {
    const message = "a config.json cannot say that the logits of a tied head are divided by sqrt(emb_dim)";
    const help = "set normalize_embedding_logits=false for a model that transformers is to open";
    const at =
      sides.cli.get("normalize_embedding_logits")?.raw.at ?? sides.cli.get("logits_via_embedding")?.raw.at;
    warnings.push({ code: "tied-logits", message, at, help });
  }
  const token = sides.cli.get("hf_access_token");
  if (token && values.given("hf_access_token")) {
    const message = "a token on the command line is seen by others; set HF_TOKEN";
    warnings.push({ code: "exposed-token", message, at: token.nameAt });
  }
  if (values.given("base_output_directory") === "") {
    const message = `\`base_output_directory\` is not set; output goes to ${values.get("base_output_directory")}`;
    warnings.push({ code: "no-output-directory", message });
  }
  return warnings;
}
