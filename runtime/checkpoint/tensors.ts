// Tensors by name with their bytes: what every checkpoint format is to the rest of the runtime.
import type { SafetensorsDType } from "./safetensors-header.ts";

/** How numbers lie in a checkpoint, by safetensors' names. Little-endian, row-major. */
export type StoredDType = SafetensorsDType;

/** A tensor as a checkpoint has it. */
export type StoredTensor = {
  /** Its name in the format: `model.norm.weight`, or `params.params.decoder.decoder_norm.scale`. */
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
};

/** A box of elements: start and stop (exclusive) along each axis. */
export type Box = readonly (readonly [start: number, stop: number])[];

/** Gives memory for so many bytes, whatever is in them: new, or what its owner is done with. */
export type Allocate = (length: number) => Uint8Array;

/** An open checkpoint of any format. Reads are synchronous: work in parallel is done in worker threads. */
export type TensorReader = {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /**
   * The bytes of a tensor, or of a box of it, row-major without gaps. Never reads more than the chunks it touches. The
   * result may be put in `room`; as it may lie elsewhere, it is not to be written to.
   */
  read(name: string, box?: Box, room?: Allocate): Uint8Array;
  /** Boxes that are cheap to read one by one and together are the tensor: its chunks, or its rows. */
  chunksOf(name: string): Iterable<Box>;
  close(): void;
};

/** A checkpoint being written; the tensors are declared when it is opened. */
export type TensorWriter = {
  /** How a tensor will be written: boxes in the order in which they shall come. */
  chunksOf(name: string): Iterable<Box>;
  /** How many bytes after a block of its file a box will begin, if not with one. Laid so in memory, it is not copied. */
  phaseOf?(name: string, box: Box): number;
  /** Writes one of those boxes, row-major. */
  write(name: string, box: Box, bytes: Uint8Array): void;
  /** Makes everything durable and the checkpoint whole. */
  commit(): void;
  abandon(): void;
};
