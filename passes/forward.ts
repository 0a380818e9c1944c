// The pipeline of a program before it is differentiated, or at all, which needs nothing that makes gradients.
import { canonicalize } from "./canonicalize.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { deadCode } from "./dead-code.ts";
import type { Pass } from "./pass.ts";
import { scanLayers } from "./scan-layers.ts";

export type PipelineChoices = {
  /** Whether layers are scanned over (MaxText scan_layers). */
  readonly scanLayers: boolean;
  /** What puts layers into regions (MaxText remat_policy); nothing to say where there is no backward pass. */
  readonly remat?: Pass;
};

/** Removes what need not be computed, or not twice. */
export const tidy: readonly Pass[] = [
  canonicalize, // first, so that what is the same looks the same
  commonSubexpressions,
  deadCode,
];

/** What runs on a program before it is differentiated, or at all. */
export const forwardPipeline = (choices: PipelineChoices): readonly Pass[] => [
  ...(choices.scanLayers ? [scanLayers] : []), // first: once layers share values they are not alike
  ...(choices.remat ? [choices.remat] : []), // likewise, and its regions go around a loop over layers
  ...tidy,
];
