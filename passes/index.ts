// The passes, and the pipeline of a training step; what of it comes before gradients is in forward.ts.
import { differentiate } from "../compiler/autodiff/differentiate.ts";
import { fail } from "../compiler/diag.ts";
import { canonicalize } from "./canonicalize.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { deadCode } from "./dead-code.ts";
import { forwardPipeline, type PipelineChoices, tidy } from "./forward.ts";
import { fuseKernels } from "./fuse-kernels.ts";
import { type Pass, unknownPass } from "./pass.ts";
import { planMemoryPass } from "./plan-memory.ts";
import { readPolicy, remat } from "./remat.ts";
import { scanLayers } from "./scan-layers.ts";
import { unscanLayers } from "./unscan-layers.ts";

export const differentiation: Pass = {
  name: "differentiate",
  doc: "After the module's results, the gradient of the first one with respect to each parameter.",
  run: (module) => differentiate(module),
};

/** Every pass by itself, for `q3c opt` and `q3c explain`; remat as it is without a policy's name. */
export const passes: readonly Pass[] = [
  canonicalize,
  commonSubexpressions,
  deadCode,
  differentiation,
  fuseKernels,
  planMemoryPass,
  remat(readPolicy("full")),
  scanLayers,
  unscanLayers,
];

/** The pass of a text: a name, as pipelines number it (`dead-code.2`) or not, and what it is told: `remat(minimal)`. */
export function readPass(text: string): Pass {
  const [, name = text.trim(), told] = /^([a-z-]+)(?:\.\d+)?(?:\((.*)\))?$/.exec(text.trim()) ?? [];
  const found = passes.find((pass) => pass.name === name) ?? unknownPass(name, passes);
  if (told === undefined) return found;
  if (found.told) return found.told(told);
  const message = `the pass ${name} takes nothing in parentheses; remat takes a policy: remat(minimal)`;
  return fail({ code: "pass-policy", message }, 2);
}

/** What runs on a program with its gradients. */
export const jointPipeline: readonly Pass[] = [
  ...tidy, // gradients come with products with one and reshapes back, and compute again what the forward has
  fuseKernels, // what joins a group is settled once nothing is computed twice
  planMemoryPass, // of the program as it will run
];

/** From a loss to the program of a training step, each pass under a name of its own. */
export const trainingPipeline = (choices: PipelineChoices): readonly Pass[] =>
  numbered([...forwardPipeline(choices), differentiation, ...jointPipeline]);

/** The second pass of a name is `name.2`, as the printer has it with values. */
function numbered(list: readonly Pass[]): readonly Pass[] {
  const counts = new Map<string, number>();
  return list.map((pass) => {
    const count = (counts.get(pass.name) ?? 0) + 1;
    counts.set(pass.name, count);
    return count === 1 ? pass : { ...pass, name: `${pass.name}.${count}` };
  });
}
