// Where a training run begins: anew, from parameters, or from a state that was saved.
import { resolve } from "node:path";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { fail } from "../../compiler/diag.ts";
import type { DatasetState } from "../data/dataset.ts";
import type { Engine } from "../engines/engine.ts";
import { startingWeights, weightsOrigin } from "../starting-weights.ts";
import { findLatest, type Resumed, readResumed, removeLeftovers } from "./checkpoints.ts";
import type { TrainState } from "./state.ts";
import { openTrainer, type Trainer } from "./trainer.ts";

/** Where a run begins. */
export type Start = {
  readonly step: number;
  /** The state it goes on from, given once: it is large, and not kept while the run lasts. */
  take(): TrainState | undefined;
  readonly data?: DatasetState | undefined;
  /** In words. */
  readonly origin: string;
};

/** In MaxText's order: the run's own latest checkpoint, parameters to load, a full state to load, new weights. */
export function findStart(
  config: Config,
  params: readonly ParamDecl[],
  checkpoints: string | undefined,
  cwd: string,
): Start {
  const { load_parameters_path: parameters, load_full_state_path: full } = config.values;
  if (parameters !== "" && full !== "")
    fail(
      {
        code: "two-starts",
        message: "load_parameters_path and load_full_state_path cannot both say what a run starts from",
        at: config.spanOf("load_full_state_path"),
        help: "drop one of them",
      },
      2,
    );
  if (checkpoints !== undefined) {
    removeLeftovers(checkpoints);
    const latest = findLatest(checkpoints, config, params);
    if (latest) return startFrom(latest, latest.data);
  }
  // A state that comes from another run says nothing about this run's data.
  if (full !== "") return startFrom(readResumed(resolve(cwd, full), config, params), undefined);
  return { step: 0, take: () => undefined, origin: weightsOrigin(config) };
}

function startFrom({ state, from }: Resumed, data: DatasetState | undefined): Start {
  let waiting: TrainState | undefined = state;
  return {
    step: state.step,
    take() {
      const taken = waiting;
      waiting = undefined;
      return taken;
    },
    data,
    origin: `resumed at step ${state.step} from ${from}${data ? "" : ", with data from its beginning"}`,
  };
}

/** A trainer of what the run starts from. */
export function beginTrainer(config: Config, engine: Engine, start: Start): Trainer {
  const state = start.take();
  return openTrainer(config, engine, (params) => state?.params ?? startingWeights(config, params), state);
}
