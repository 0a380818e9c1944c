// Which way of computing experts a configuration's flags select, here and in MaxText, as data and as text.
// Source: MaxText layers/moe.py.

import { expertCapacity } from "../expert-capacity.ts";
import type { MoeStrategy, Values } from "./derived.ts";

type Flags = Pick<Values, "sparse_matmul" | "capacity_factor">;
type KernelFlags = Pick<Values, "megablox" | "use_tokamax_gmm" | "use_gmm_v2">;

/** A kernel of MaxText's, which q3c has no need of, and the flags that choose it. */
type Kernel = { readonly name: string; readonly flags: string; readonly holds: (v: KernelFlags) => boolean };

type Strategy = {
  readonly flags: string;
  readonly doc: string;
  /** MaxText takes the first that holds. */
  readonly kernels: readonly Kernel[];
};

const onlyKernel = (name: string): readonly Kernel[] => [{ name, flags: "", holds: () => true }];

const strategies: { readonly [S in MoeStrategy]: Strategy } = {
  dropless: {
    flags: "sparse_matmul=true",
    doc: "only the experts that tokens chose are computed, and no token is dropped",
    kernels: [
      {
        name: "Tokamax's gmm v2",
        flags: "use_tokamax_gmm=true use_gmm_v2=true",
        holds: (v) => v.use_tokamax_gmm && v.use_gmm_v2,
      },
      { name: "Tokamax's ragged_dot", flags: "use_tokamax_gmm=true", holds: (v) => v.use_tokamax_gmm },
      { name: "Megablox", flags: "megablox=true", holds: (v) => v.megablox },
      { name: "jax.lax.ragged_dot", flags: "megablox=false", holds: () => true },
    ],
  },
  dropping: {
    flags: "sparse_matmul=false, capacity_factor above 0",
    doc: "only the experts that tokens chose are computed, each for at most int(max(ceil(S * num_experts_per_tok / num_experts) * capacity_factor, capacity_factor)) of a sequence of S tokens; earlier tokens come first, and what comes too late counts nothing there",
    kernels: onlyKernel("einsums over the capacity"),
  },
  dense: {
    flags: "sparse_matmul=false, capacity_factor at most 0",
    doc: "every expert is computed for every token, and those not chosen weigh 0",
    kernels: onlyKernel("einsums over all experts"),
  },
};

/** The strategy that flags select. */
export function strategyOf({ sparse_matmul: isSparse, capacity_factor: factor }: Flags): MoeStrategy {
  if (isSparse) return "dropless";
  return factor > 0 ? "dropping" : "dense";
}

const hasExperts = (values: Values): boolean => values.mlp_layer_types.includes("sparse");

/** How many of a sequence's choices an expert takes under dropping. */
export const capacityOf = (values: Values, tokens: number): number =>
  expertCapacity(tokens * values.num_experts_per_tok, values.num_experts, values.capacity_factor);

/** What a configuration's flags select for sequences of some tokens, in one line; nothing for a model without experts. */
export function selectedExperts(values: Values, tokens: number): string | undefined {
  if (!hasExperts(values)) return undefined;
  const { num_experts: experts, num_experts_per_tok: top, moe_strategy: strategy } = values;
  const flags = [
    `sparse_matmul=${values.sparse_matmul}`,
    ...(values.sparse_matmul ? [] : [`capacity_factor=${values.capacity_factor}`]),
  ].join(" ");
  const said = `${top} of ${experts} a token, ${strategy} (${flags})`;
  if (strategy !== "dropping") return said;
  const room = `an expert takes up to ${capacityOf(values, tokens)} of the ${top * tokens} choices in ${tokens} tokens`;
  const alone = capacityOf(values, 1) < 1 ? ", and none of a token decoded alone" : "";
  return `${said}; ${room}${alone}`;
}

function kernelsSaid({ kernels }: Strategy): string {
  const said = kernels.map(({ name, flags }) => (flags === "" ? name : `${name} (${flags})`)).join(", else ");
  return `In MaxText: ${said}.`;
}

/** The strategies and what selects them, and with a configuration what it selects. */
export function explainExperts(values: Values | undefined): readonly string[] {
  const all = Object.entries(strategies).map(
    ([name, strategy]) => `${name} (${strategy.flags}): ${strategy.doc}. ${kernelsSaid(strategy)}`,
  );
  const lines = [
    ...all,
    "Flags that only choose among kernels change no result: q3c has one grouped product, `ragged_dot`. Padding takes room as tokens do, and a call's own length decides: a step of decoding is a sequence of one token.",
  ];
  if (!values) return lines;
  const selected = selectedExperts(values, values.max_target_length);
  if (!selected) return [...lines, "Now no layer has experts."];
  const kernel = strategies[values.moe_strategy].kernels.find(({ holds }) => holds(values));
  return [...lines, `Now ${selected}. In MaxText: ${kernel?.name}.`];
}
