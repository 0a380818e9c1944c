// The two programs of a training step: loss with gradients on a micro batch, and the optimiser's update.
import type { ParamDecl } from "./arch/param.ts";
import { differentiate } from "./autodiff/differentiate.ts";
import { wrapLayers } from "./autodiff/remat.ts";
import type { Config } from "./config/load.ts";
import { invariant } from "./diag.ts";
import { dtypeNamed } from "./dtype.ts";
import { blockBuilder, value } from "./ir/build.ts";
import { dim, tensor } from "./ir/shape.ts";
import type { Module, Role, Value } from "./ir/types.ts";
import { forwardModel } from "./model.ts";
import { policyNamed, type RematPolicy } from "./remat-policies.ts";
import { LAYERS } from "./stacks.ts";

const SCALAR = tensor("f32", []);

/**
 * What a step reports, in the order of the module's first results: scalars, and of a model with experts how many tokens
 * each expert of each layer computed, [layers, exp]. `lm_loss` is there when the loss is more, `load_balance_loss` the
 * layers' mean before its weight.
 */
export type Metric = "loss" | "lm_loss" | "load_balance_loss" | "tokens_per_expert";

/** A program of a micro batch for training. */
export type GradientProgram = {
  /** tokens, positions, targets [batch, seq], weights [batch, seq], parameters → metrics, then a gradient each. */
  readonly module: Module;
  readonly params: readonly ParamDecl[];
  readonly metrics: readonly Metric[];
};

/**
 * Loss of a micro batch: sum of weights × cross entropy (+ z-loss), plus the load-balance loss, mean over layers.
 * The caller's weights are 0 where masked and else 1 / (unmasked targets of the whole batch), so that micro batches
 * add up to the batch's mean (MaxText loss_fn).
 */
export function lossProgram(config: Config): GradientProgram {
  const { values } = config;
  const { module, params, taps } = forwardModel(config, { taps: ["load_balance_loss", "tokens_per_expert"] });
  const [tokens, positions, ...weightsOfModel] = module.body.params;
  const [logits, ...sown] = module.body.results;
  invariant(tokens && positions && logits, "a model takes tokens and positions and gives logits");
  const targets = value("targets", tokens.type);
  const weights = value("weights", tensor("f32", tokens.type.dims));
  const builder = blockBuilder({ kind: "unknown" }, ["loss"]);
  const { k } = builder;
  const entropy = k.one("cross_entropy", [logits, targets], { z_loss: values.z_loss_multiplier });
  const lmLoss = k.sum(k.mul(entropy, weights), [0, 1]);
  const layers = taps.get("load_balance_loss") ?? 0;
  const results: [Metric, Value][] = layers > 0 ? withRouting() : [["loss", lmLoss]];

  /** What layers sow, stacked: a scan over layers gives it so, and there is no node per layer. */
  function stacked(each: readonly Value[]): Value {
    const parts = each.map((x) => k.reshape(k.convert(x, "f32"), [dim(LAYERS, 1), ...x.type.dims]));
    return k.concat(parts, 0);
  }

  function withRouting(): [Metric, Value][] {
    const share = 1 / (layers * values.gradient_accumulation_steps);
    const balance = k.mul(k.sum(stacked(sown.slice(0, layers)), [0]), k.constant(share, SCALAR));
    const weight = values.load_balance_loss_weight;
    const routing: [Metric, Value][] = [
      ["load_balance_loss", balance],
      ["tokens_per_expert", stacked(sown.slice(layers))],
    ];
    if (weight === 0) return [["loss", lmLoss], ...routing];
    const loss = k.add(lmLoss, k.mul(balance, k.constant(weight, SCALAR)));
    return [["loss", loss], ["lm_loss", lmLoss], ...routing];
  }

  return {
    params,
    metrics: results.map(([name]) => name),
    module: {
      name: `${module.name}_loss`,
      roles: ["input", "input", "input", "input", ...weightsOfModel.map((): Role => "param")],
      body: {
        params: [tokens, positions, targets, weights, ...weightsOfModel],
        nodes: [...module.body.nodes, ...builder.nodes],
        results: results.map(([, result]) => result),
      },
    },
  };
}

/** What remat_policy and the tensors' keys of a configuration keep. */
export const rematPolicyOf = ({ values }: Config): RematPolicy =>
  policyNamed(values.remat_policy, { save: values.tensors_on_device, offload: values.tensors_to_offload });

/**
 * The loss program, its layers under the remat policy, with the gradient of every parameter after its metrics. Whatever
 * scan_layers says it has layer after layer: the reference engine takes no longer for that, and checkpoints name layers.
 */
export function gradientProgram(config: Config): GradientProgram {
  const loss = lossProgram(config);
  const body = wrapLayers(loss.module.body, rematPolicyOf(config));
  return { ...loss, module: differentiate({ ...loss.module, body }) };
}

const matches = (patterns: readonly string[], path: string): boolean =>
  patterns.some((pattern) => new RegExp(pattern).test(path.replaceAll(".", "/")));

/**
 * AdamW after clipping by global norm: rate, b1^t, b2^t, then per parameter its value, gradient, mu and nu →
 * the gradients' norm, then per parameter its new value, mu and nu (MaxText optimizers.py, optax.adamw).
 */
export function updateProgram(config: Config, params: readonly ParamDecl[]): Module {
  const { values } = config;
  const builder = blockBuilder();
  const { k } = builder;
  const [rate, b1t, b2t] = [value("rate", SCALAR), value("b1_t", SCALAR), value("b2_t", SCALAR)];
  const momentType = dtypeNamed(values.mu_dtype);
  const states = params.map(({ value: param, path }) => ({
    path,
    param,
    grad: value(`d.${path}`, param.type),
    mu: value(`mu.${path}`, tensor(momentType, param.type.dims)),
    nu: value(`nu.${path}`, param.type),
  }));
  builder.hints = ["norm"];
  const grads = states.map(({ grad }) => k.convert(grad, "f32"));
  const squares = grads.map((grad) =>
    k.sum(
      k.mul(grad, grad),
      grad.type.dims.map((_, axis) => axis),
    ),
  );
  const norm = k.sqrt(squares.reduce((sum, x) => k.add(sum, x)));
  const threshold = values.gradient_clipping_threshold;
  builder.hints = ["clip"];
  const clip =
    threshold > 0
      ? k.div(k.constant(threshold, SCALAR), k.max(norm, k.constant(threshold, SCALAR)))
      : undefined;
  const updated = states.flatMap(({ path, param, mu, nu }, i): readonly Value[] => {
    const grad = grads[i];
    invariant(grad, "a gradient for every parameter");
    if (values.trainable_parameters_mask.length > 0 && !matches(values.trainable_parameters_mask, path))
      return [param, mu, nu];
    builder.hints = [path, `mu.${path}`, `nu.${path}`];
    const decay = matches(values.adamw_mask, path) ? 0 : values.adam_weight_decay;
    return k.apply("adamw", [param, clip ? k.mul(grad, clip) : grad, mu, nu, rate, b1t, b2t], {
      b1: values.adam_b1,
      b2: values.adam_b2,
      eps: values.adam_eps,
      eps_root: values.adam_eps_root,
      weight_decay: decay,
    });
  });
  const inputs = states.flatMap(({ param, grad, mu, nu }) => [param, grad, mu, nu]);
  return {
    name: "update",
    roles: ["input", "input", "input", ...states.flatMap((): Role[] => ["param", "input", "state", "state"])],
    body: { params: [rate, b1t, b2t, ...inputs], nodes: builder.nodes, results: [norm, ...updated] },
  };
}
