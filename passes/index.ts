// The passes, and the pipelines they make up.
import { canonicalize } from "./canonicalize.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { deadCode } from "./dead-code.ts";
import type { Pass } from "./pass.ts";
import { scanLayers } from "./scan-layers.ts";
import { unscanLayers } from "./unscan-layers.ts";

/** Every pass by itself, for `q3c opt` and `q3c explain`. */
export const passes: readonly Pass[] = [
  canonicalize,
  commonSubexpressions,
  deadCode,
  scanLayers,
  unscanLayers,
];

export type PipelineChoices = {
  /** Whether layers are scanned over (MaxText scan_layers). */
  readonly scanLayers: boolean;
};

/** What runs on a program before it is differentiated. */
export const forwardPipeline = ({ scanLayers: isScanned }: PipelineChoices): readonly Pass[] => [
  ...(isScanned ? [scanLayers] : []), // first: later passes would share values between layers, and they would differ
  canonicalize,
  commonSubexpressions,
  deadCode, // before differentiation, so that nothing dead is kept for the backward
];

/** What runs on the forward and backward program together. */
export const jointPipeline = (_choices: PipelineChoices): readonly Pass[] => [
  canonicalize, // gradients come with reshapes to their own type, sums over no axes and products with one
  commonSubexpressions, // the backward computes again what the forward has
  deadCode,
];
