// What a checkpoint holds.
import { countOf } from "./box.ts";
import type { Checkpoint } from "./open.ts";
import { nameOf } from "./orbax/tree.ts";
import { byteLength } from "./safetensors-header.ts";
import type { StoredTensor } from "./tensors.ts";

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
