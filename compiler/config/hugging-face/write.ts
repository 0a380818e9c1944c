// The config.json of a configuration.

import type { Values } from "../derived.ts";
import type { ConfigValue } from "../value.ts";
import { type Fields, modelTypeOf, table } from "./fields.ts";

/** What a config.json is written from. */
export type WrittenModel = {
  readonly values: Values;
  readonly familyFields: Fields;
  readonly huggingFace: Fields | null;
};

// Fields of the original that this file decides anew.
const replaced = ["rope_scaling", "torch_dtype", "full_attention_interval", "quantization_config"];

const camelCase = (name: string): string =>
  name.replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());

/** A config.json that transformers opens as this model; what q3c does not know is kept from the original. */
export function toHuggingFaceConfig({ values, familyFields, huggingFace }: WrittenModel): Fields {
  const modelType = modelTypeOf(values.arch_file);
  const kinds: readonly string[] = [...values.layer_types, ...values.mlp_layer_types];
  const rows = table.filter(({ field, when }) => !when || kinds.includes(when) || field in familyFields);
  const original = Object.entries(huggingFace ?? {}).filter(([name]) => !replaced.includes(name));
  const sparse = kinds.includes("sparse");
  const fields: Record<string, ConfigValue> = {
    ...Object.fromEntries(Object.entries(familyFields).filter(([name]) => !replaced.includes(name))),
    ...Object.fromEntries(original),
    ...Object.fromEntries(rows.map(({ field, key, value = key }) => [field, values[value] as ConfigValue])),
    ...(sparse || "num_experts" in familyFields ? { num_experts: sparse ? values.num_experts : 0 } : {}),
    // Without the loss, what the original says stays: transformers computes the loss only when asked to.
    ...(sparse && values.load_balance_loss_weight > 0
      ? { router_aux_loss_coef: values.load_balance_loss_weight }
      : {}),
    architectures: [`${camelCase(modelType)}ForCausalLM`],
    model_type: modelType,
    layer_types: values.layer_types,
    dtype: values.weight_dtype,
    rope_parameters: {
      partial_rotary_factor: values.partial_rotary_factor,
      rope_theta: values.rope_max_timescale,
      rope_type: "default",
    },
    hidden_act: "silu",
    attention_bias: false,
  };
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}
