// What a step tells about experts: how evenly tokens went to them, and how many were dropped.
import type { Config } from "../../compiler/config/load.ts";
import { type Scalars, tokensPerStep } from "./report.ts";
import type { StepReport } from "./trainer.ts";

/** The routing of one step. */
export type Routing = {
  readonly scalars: Scalars;
  /** How many tokens each expert computed, by layer, for the metrics file. */
  readonly tables: Readonly<Record<string, readonly (readonly number[])[]>>;
};

const sum = (xs: readonly number[]): number => xs.reduce((total, x) => total + x, 0);

/** The routing that a step reports; empty for a model without experts. */
export function routingOf({ metrics }: StepReport, config: Config): Routing {
  const { num_experts: experts, num_experts_per_tok: top, load_balance_loss_weight: weight } = config.values;
  const { load_balance_loss: [balance] = [], tokens_per_expert: counts = [] } = metrics;
  if (balance === undefined) return { scalars: {}, tables: {} };
  const layers = Array.from({ length: counts.length / experts }, (_, layer) =>
    counts.slice(layer * experts, (layer + 1) * experts),
  );
  const chosen = layers.length * top * tokensPerStep(config);
  return {
    scalars: {
      "learning/moe_lb_loss": weight * balance,
      "moe/load_balance_loss": balance,
      "moe/dropped_share": 1 - sum(counts) / chosen,
      // 1 is an even load.
      "moe/busiest_expert_load": Math.max(
        ...layers.map((layer) => (Math.max(...layer) * experts) / Math.max(sum(layer), 1)),
      ),
    },
    tables: { "moe/tokens_per_expert": layers },
  };
}
