// The two kinds of output: how each is begun and made whole, and which blocks it is written in.
import { dirname, join } from "node:path";
import { SIDE } from "../../../compiler/config/beside.ts";
import { chunkBoxes } from "../box.ts";
import { asideOf, createSafetensors } from "../create-safetensors.ts";
import { ASIDE, ITEM } from "../orbax/files.ts";
import { createOrbax, type OrbaxOptions } from "../orbax/write.ts";
import type { TensorReader } from "../tensors.ts";
import { type Block, blocksOf, chunkOf, type Planned, rowBlocks } from "./blocks.ts";
import { type Placement, writeSideFiles } from "./side-files.ts";
import { type PlannedLeaf, STEP, type Wanted } from "./wanted.ts";
import type { TargetPlan } from "./work.ts";

/** An output that is known but not begun. */
export type Output = {
  /** Where it will be once it is whole: what to load. */
  readonly path: string;
  /** The directory that will be there then, and where it is until then. */
  readonly home: string;
  readonly aside: string;
  readonly tensors: readonly Planned[];
  blocks(): readonly Block[];
  /** Begins it, or goes on with what is there from the same work. */
  begin(): { readonly target: TargetPlan; commit(): void };
};

/** The small files that come with it. */
export type SideFiles = ReadonlyMap<string, Uint8Array>;

/** A step of MaxText in a directory. */
export function orbaxOutput(
  directory: string,
  options: OrbaxOptions & { readonly step: number },
  wanted: Wanted<PlannedLeaf>,
  files: SideFiles,
): Output {
  const { step } = options;
  const chunked = wanted.tensors.map((tensor) => ({ tensor, chunk: chunkOf(tensor) }));
  const home = join(directory, `${step}`);
  const hasStep = wanted.tensors.some(({ plan }) => plan.name === STEP);
  return {
    path: join(home, ITEM),
    home,
    aside: `${home}${ASIDE}`,
    tensors: wanted.tensors,
    blocks: () =>
      chunked.flatMap(({ tensor, chunk }) => blocksOf(tensor, chunkBoxes(tensor.plan.shape, chunk))),
    begin() {
      const writer = createOrbax(
        directory,
        [
          ...chunked.map(({ tensor: { plan, dtype, path, isScalar }, chunk }) => ({
            path,
            dtype,
            shape: plan.shape,
            chunk,
            isScalar,
          })),
          // A converted checkpoint has not been trained: its step is a number that the source does not hold.
          ...(hasStep ? [] : [{ path: [STEP], dtype: "I64" as const, shape: [], isScalar: true }]),
        ],
        { ...options, leaves: wanted.leaves, leftover: "resume" },
      );
      if (!hasStep) writer.write(STEP, [], new Uint8Array(BigInt64Array.of(BigInt(step)).buffer));
      return {
        target: { kind: "orbax", orbax: writer.plan },
        commit() {
          if (files.size > 0) writeSideFiles(join(dirname(writer.plan.item), SIDE), files);
          writer.commit();
        },
      };
    },
  };
}

/** A directory that transformers opens. `placement` says which file each tensor shall lie in, if that is known. */
export function safetensorsOutput(
  directory: string,
  wanted: Wanted<Planned>,
  files: SideFiles,
  source: TensorReader,
  placement: Placement | undefined,
): Output {
  return {
    path: directory,
    home: directory,
    aside: asideOf(directory),
    tensors: wanted.tensors,
    blocks: () => wanted.tensors.flatMap((tensor) => rowBlocks(tensor, source)),
    begin() {
      const tensors = wanted.tensors.map(({ plan: { name, shape }, dtype }) => ({ name, shape, dtype }));
      const writer = createSafetensors(directory, tensors, placement);
      return {
        target: { kind: "safetensors", safetensors: writer.plan },
        commit() {
          writeSideFiles(writer.plan.aside, files);
          writer.commit();
        },
      };
    },
  };
}
