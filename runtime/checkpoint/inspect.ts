// What a checkpoint holds, and whether all of it can be read.
import { Q3Error } from "../../compiler/diag.ts";
import { chunkBoxes, chunkOfRows, countOf, shapeOfBox } from "./box.ts";
import type { OnDamage } from "./damage.ts";
import type { Checkpoint } from "./open.ts";
import { nameOf } from "./orbax/tree.ts";
import { bitsOf, byteLength } from "./safetensors-header.ts";
import type { Box, StoredDType, StoredTensor } from "./tensors.ts";

/** A tensor of a checkpoint. */
export type InspectedTensor = StoredTensor & {
  readonly bytes: number;
  /** The check sums that all of its elements are under; none when damage to them cannot be told from a value. */
  readonly checksums: readonly string[];
  /** Chunks that are not stored, because they hold nothing but the fill value. */
  readonly absentChunks: number;
};

/** What a checkpoint holds, by its metadata alone. */
export type Inspection = {
  readonly path: string;
  readonly format: Checkpoint["format"];
  /** How its bytes are stored, in words. */
  readonly storage: string;
  readonly step: number | undefined;
  /** Whether the layers of a kind are one tensor; nothing where that does not apply or is not known. */
  readonly isScanned: boolean | undefined;
  readonly tensors: readonly InspectedTensor[];
  /** Leaves of the tree without elements. */
  readonly nodes: readonly { readonly name: string; readonly kind: string; readonly text?: string }[];
  /** What the program that saved it noted. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly elements: number;
  readonly bytes: number;
};

/** Describes an open checkpoint; no element is read. */
export function inspect(checkpoint: Checkpoint): Inspection {
  const tensors = [...checkpoint.tensors.tensors.values()].map(
    ({ name, dtype, shape }): InspectedTensor => ({
      name,
      dtype,
      shape,
      bytes: byteLength(dtype, shape) ?? 0,
      ...stored(checkpoint, name),
    }),
  );
  return {
    path: checkpoint.tensors.path,
    format: checkpoint.format,
    ...describeFormat(checkpoint),
    tensors,
    elements: tensors.reduce((sum, { shape }) => sum + countOf(shape), 0),
    bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

const stored = (checkpoint: Checkpoint, name: string): Pick<InspectedTensor, "checksums" | "absentChunks"> =>
  checkpoint.format === "orbax"
    ? { checksums: checkpoint.tensors.checksumsOf(name), absentChunks: checkpoint.tensors.countAbsent(name) }
    : { checksums: [], absentChunks: 0 };

function describeFormat(
  checkpoint: Checkpoint,
): Pick<Inspection, "storage" | "step" | "isScanned" | "nodes" | "metadata"> {
  if (checkpoint.format === "safetensors") {
    const files = new Set([...checkpoint.file.entries.values()].map(({ file }) => file)).size;
    return {
      storage: files === 1 ? "one file" : `${files} files`,
      step: undefined,
      isScanned: undefined,
      nodes: [],
      metadata: Object.fromEntries(checkpoint.file.metadata),
    };
  }
  const { format, step, customMetadata, leaves, strings } = checkpoint.tensors;
  const container = format.isOcdbt ? "an OCDBT database" : "files";
  return {
    storage: `${container} of zarr v${format.zarrVersion} arrays`,
    step,
    isScanned: scanned(customMetadata, [...checkpoint.tensors.tensors.keys()]),
    nodes: leaves
      .map(({ path, kind }) => ({ name: nameOf(path), kind }))
      .filter(({ name }) => !checkpoint.tensors.tensors.has(name))
      .map((node) => ({
        ...node,
        ...(strings.has(node.name) ? { text: strings.get(node.name) ?? "" } : {}),
      })),
    metadata: customMetadata,
  };
}

// MaxText notes it; where it does not, its names say it: `layers` holds all, `layers_0` one.
function scanned(metadata: Readonly<Record<string, unknown>>, names: readonly string[]): boolean | undefined {
  const { scan_layers: noted } = metadata;
  if (typeof noted === "boolean") return noted;
  if (names.some((name) => /(^|\.)layers_\d+\./.test(name))) return false;
  return names.some((name) => /(^|\.)layers\./.test(name)) ? true : undefined;
}

/** How far reading has come. */
export type Reading = { readonly tensor: string; readonly bytes: number };

// So many chunks of a tensor are named, and the rest are counted.
const SHOWN_CHUNKS = 100;

/** The parts in which chunks are read, in their order: a large one need not be in memory whole. */
function* partsOf(chunks: Iterable<Box>, dtype: StoredDType): Generator<Box> {
  const width = bitsOf(dtype) / 8;
  for (const chunk of chunks) {
    const shape = shapeOfBox(chunk);
    if (width < 1) yield chunk;
    else
      for (const rows of chunkBoxes(shape, chunkOfRows(shape, width)))
        yield rows.map(([start, stop], axis) => {
          const [first = 0] = chunk[axis] ?? [];
          return [first + start, first + stop] as const;
        });
  }
}

/** Reads every chunk of every tensor that can be read, one at a time. */
export function* readAll({ tensors }: Checkpoint, onDamage: OnDamage): Generator<Reading, void> {
  for (const [tensor, { dtype }] of tensors.tensors) {
    const said = new Set<string>();
    let more = 0;
    for (const rows of partsOf(tensors.chunksOf(tensor), dtype)) {
      try {
        yield { tensor, bytes: tensors.read(tensor, rows).length };
      } catch (error) {
        if (!(error instanceof Q3Error)) throw error;
        if (said.has(error.message)) continue;
        if (said.size < SHOWN_CHUNKS) {
          said.add(error.message);
          // What is wrong with a file as a whole does not say whose chunk was wanted.
          onDamage(error, error.message.includes(`\`${tensor}`) ? [] : [tensor]);
        } else more++;
      }
    }
    if (more > 0)
      onDamage(
        new Q3Error({
          code: "chunk-damaged",
          message: `tensor \`${tensor}\`: ${more} more chunks cannot be read`,
          at: { file: tensors.path },
        }),
      );
  }
}
