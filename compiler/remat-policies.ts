// MaxText's remat policies by name: which named tensors the forward pass keeps (layers/nnx_decoders.py).

/** Names of tensors kept for the backward pass, on the device and on the host; `everything` needs no names. */
export type RematPolicy = {
  readonly name: string;
  readonly save: readonly string[];
  readonly offload: readonly string[];
  readonly everything?: true;
};

const qkv = ["query_proj", "value_proj", "key_proj", "kv_proj", "qkv_proj"];
const minimal = [...qkv, "out_proj", "mlpwi_0", "mlpwi_1", "mlpwi", "mlpwo"];

const saving = (...save: readonly string[]) => ({ save, offload: [] });
const offloading = (...offload: readonly string[]) => ({ save: [], offload });

/** `none` keeps everything in a scan as well, where MaxText keeps nothing. `custom` is filled by the tensors' keys. */
const policies = {
  full: saving(),
  none: { ...saving(), everything: true },
  minimal: saving(...minimal),
  minimal_with_context: saving(...minimal, "context"),
  minimal_flash: saving(...minimal, "context"),
  minimal_with_quantization: saving(...minimal, "quantization"),
  minimal_with_context_and_quantization: saving(...minimal, "context", "quantization"),
  minimal_offloaded: offloading(...minimal),
  save_dot_with_context_except_mlp: saving(...qkv, "context", "out_proj"),
  save_dot_except_mlpwi: saving(...qkv, "out_proj", "mlpwo"),
  save_dot_except_mlp: saving(...qkv, "out_proj"),
  save_qkv_proj: saving(...qkv),
  save_out_proj: saving("out_proj"),
  qkv_proj_offloaded: offloading("query_proj", "value_proj", "key_proj", "kv_proj"),
  custom: saving(),
} as const satisfies Readonly<Record<string, Omit<RematPolicy, "name">>>;

export type PolicyName = keyof typeof policies;
export const policyNames = Object.keys(policies) as PolicyName[];

/** The policy of a name that is known; `custom` with the tensors it is given. */
export const policyNamed = (name: PolicyName, { save, offload }: Omit<RematPolicy, "name">): RematPolicy =>
  name === "custom" ? { name, save, offload } : { name, ...policies[name] };
