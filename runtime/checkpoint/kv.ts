// Keys and their bytes: what zarr arrays lie on, be it a directory of files or an OCDBT database.
import type { Allocate } from "./tensors.ts";

/** Part of a value. */
export type ByteRange = { readonly offset: number; readonly length: number };

/** A value, or part of one: bytes that lie somewhere, to be read whole or in part; they may be put in `room`. */
export type Encoded = { readonly size: number; read(range?: ByteRange, room?: Allocate): Uint8Array };

/** Bytes that lie in memory. */
export const inMemory = (bytes: Uint8Array): Encoded => ({
  size: bytes.length,
  read: (range) => (range ? bytes.subarray(range.offset, range.offset + range.length) : bytes),
});

/** An open store. Keys are in memory, values are read when asked for. */
export type KvReader = {
  /** The directory of the store. */
  readonly path: string;
  /** Every key with its value's size in bytes, sorted. */
  readonly keys: ReadonlyMap<string, number>;
  /** A value, or part of it, which may be put in `room`. Errors name the file it lies in. */
  read(key: string, range?: ByteRange, room?: Allocate): Uint8Array;
  /** The file a value lies in, for messages. */
  fileOf(key: string): string;
  close(): void;
};

/** A store being written. Nothing reads it as whole before it is committed. */
export type KvWriter = {
  /** Stores a value given in parts, so that it need not be in memory at once. Each key once. */
  put(key: string, parts: Iterable<Uint8Array>): void;
  /** Makes everything durable and the store readable. */
  commit(): void;
  /** Closes without committing. */
  abandon(): void;
};
