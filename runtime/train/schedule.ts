// MaxText's learning-rate schedules (utils/maxtext_utils.create_learning_rate_schedule).
import type { Values } from "../../compiler/config/derived.ts";

type ScheduleValues = Pick<
  Values,
  | "learning_rate"
  | "learning_rate_final_fraction"
  | "learning_rate_schedule_steps"
  | "lr_schedule_type"
  | "warmup_steps_fraction"
  | "wsd_decay_steps_fraction"
  | "wsd_decay_style"
>;

/** From 1 to `final` over `steps` steps, half a cosine wave; the last step reaches `final`. */
const cosine = (step: number, steps: number, final: number): number => {
  const a = 0.5 * (Math.cos((Math.PI * step) / Math.max(steps - 1, 1)) + 1);
  return a + final * (1 - a);
};

const linear = (step: number, steps: number, final: number): number =>
  1 + (final - 1) * (step / Math.max(steps - 1, 1));

/** The learning rate at a step counted from 0: linear warm-up, then cosine or warm-up–stable–decay, then 0. */
export function learningRate(values: ScheduleValues, step: number): number {
  const { learning_rate: peak, learning_rate_final_fraction: final } = values;
  const total = values.learning_rate_schedule_steps;
  const warmup = Math.trunc(total * values.warmup_steps_fraction);
  if (step >= total) return 0;
  if (step < warmup) return (peak * step) / warmup;
  if (values.lr_schedule_type === "cosine") return peak * cosine(step - warmup, total - warmup, final);
  const decay = Math.trunc(total * values.wsd_decay_steps_fraction);
  const into = step - (total - decay);
  if (into < 0) return peak;
  return (
    peak * (values.wsd_decay_style === "linear" ? linear(into, decay, final) : cosine(into, decay, final))
  );
}
