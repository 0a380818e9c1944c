// The optimiser's step on one parameter.
import { elements, formatType, rankOf } from "../ir/shape.ts";
import type { OpDef } from "./op.ts";
import { at, broken, expectArity, expectDims, expectFloats } from "./op.ts";

type AdamW = { b1: number; b2: number; eps: number; eps_root: number; weight_decay: number };

const adamw: OpDef<AdamW> = {
  name: "adamw",
  doc: "optax.adamw on (param, grad, mu, nu, rate, b1^t, b2^t): new param, mu and nu; decay is added to the update.",
  attrs: { b1: "float", b2: "float", eps: "float", eps_root: "float", weight_decay: "float" },
  infer(ins) {
    expectArity("adamw", ins, 7);
    const [p, g, mu, nu] = [at(ins, 0), at(ins, 1), at(ins, 2), at(ins, 3)];
    for (const x of ins) expectFloats("adamw", x);
    for (const x of [g, mu, nu])
      expectDims("adamw", "gradient and moments have the parameter's dims", x.dims, p.dims);
    for (const x of ins.slice(4))
      if (rankOf(x) !== 0) broken("adamw", `rate, b1^t and b2^t are scalars, got ${formatType(x)}`);
    return [p, mu, nu];
  },
  decompose(k, ins, { b1, b2, eps, eps_root, weight_decay }) {
    type X = (typeof ins)[number];
    const [p, g, mu0, nu0, rate, b1t, b2t] = ins.map((x) => k.convert(x, "f32")) as [X, X, X, X, X, X, X];
    const scalar = (value: number) => k.scalar(value, p);
    const mix = (old: X, fresh: X, b: number) => k.add(k.mul(scalar(b), old), k.mul(scalar(1 - b), fresh));
    const [mu, nu] = [mix(mu0, g, b1), mix(nu0, k.mul(g, g), b2)];
    const unbiased = (moment: X, power: X) => k.div(moment, k.sub(scalar(1), power));
    const spread = unbiased(nu, b2t);
    const root = k.sqrt(eps_root === 0 ? spread : k.add(spread, scalar(eps_root)));
    const step = k.div(unbiased(mu, b1t), k.add(root, scalar(eps)));
    const update = weight_decay === 0 ? step : k.add(step, k.mul(scalar(weight_decay), p));
    const next = k.sub(p, k.mul(rate, update));
    return [next, mu, nu].map((x, i) => k.convert(x, k.typeOf(at(ins, i === 0 ? 0 : i + 1)).dtype));
  },
  /** One pass over the parameter instead of a dozen. */
  run(_tf, ins, { b1, b2, eps, eps_root, weight_decay }, { onHost, outs }) {
    return onHost(ins, outs, (xs, ys) => {
      const [p, g, mu, nu] = [at(xs, 0), at(xs, 1), at(xs, 2), at(xs, 3)];
      const [rate, b1t, b2t] = [at(xs, 4)[0] ?? 0, at(xs, 5)[0] ?? 0, at(xs, 6)[0] ?? 0];
      const [nextP, nextMu, nextNu] = [at(ys, 0), at(ys, 1), at(ys, 2)];
      const [unbias1, unbias2] = [1 / (1 - b1t), 1 / (1 - b2t)];
      for (let i = 0; i < p.length; i++) {
        const grad = g[i] as number;
        const m = b1 * (mu[i] as number) + (1 - b1) * grad;
        const v = b2 * (nu[i] as number) + (1 - b2) * grad * grad;
        const step = (m * unbias1) / (Math.sqrt(v * unbias2 + eps_root) + eps);
        nextMu[i] = m;
        nextNu[i] = v;
        nextP[i] = (p[i] as number) - rate * (step + weight_decay * (p[i] as number));
      }
    });
  },
  flops: (ins) => 15 * elements(at(ins, 0)),
};

export const optimizerOps: readonly OpDef[] = [adamw];
