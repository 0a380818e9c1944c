// Where each tensor lies in safetensors files to be written: headers, offsets and the index, from names and shapes alone.
import { isDeepStrictEqual } from "node:util";
import { fail } from "../../compiler/diag.ts";
import { isRecord, scanJson } from "../../compiler/json.ts";
import { bitsOf, byteLength, MAX_HEADER_BYTES } from "./safetensors-header.ts";
import type { StoredTensor } from "./tensors.ts";

/** A file of a checkpoint: what its header says, and where its tensors lie. */
export type FileLayout<T extends StoredTensor = StoredTensor> = {
  readonly name: string;
  /** The first bytes of the file: the header's length and the header. */
  readonly header: Uint8Array;
  /** In the order of the file. */
  readonly tensors: readonly T[];
  /** The offset of each tensor's first byte in the file. */
  readonly starts: ReadonlyMap<string, number>;
  /** Bytes of the whole file. */
  readonly size: number;
};

/** Text that goes into a header's `__metadata__`. */
export type Metadata = Readonly<Record<string, string>>;

/** Metadata that transformers insists on. */
const FORMAT = { format: "pt" } as const;

/** One file with all the tensors. `path` is for messages. */
export function layOutFile<T extends StoredTensor>(
  path: string,
  name: string,
  tensors: Iterable<T>,
  metadata: Metadata = {},
): FileLayout<T> {
  const ordered = [...tensors].toSorted(inFileOrder);
  checkTensors(path, ordered);
  const sizes = ordered.map((tensor) => sizeOf(path, tensor));
  const header = encodeHeader(path, ordered, sizes, { ...FORMAT, ...metadata });
  let at = header.length;
  const starts = new Map<string, number>();
  for (const [i, tensor] of ordered.entries()) {
    starts.set(tensor.name, at);
    at += sizes[i] ?? 0;
  }
  return { name, header, tensors: ordered, starts, size: at };
}

// Wide elements first, so that every tensor starts at a multiple of its width, as the reference writer does.
const inFileOrder = (a: StoredTensor, b: StoredTensor): number =>
  bitsOf(b.dtype) - bitsOf(a.dtype) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function checkTensors(path: string, tensors: readonly StoredTensor[]): void {
  const names = new Set<string>();
  for (const tensor of tensors) {
    const { name } = tensor;
    if (names.has(name))
      fail({ code: "safetensors-duplicate", message: `duplicate tensor \`${name}\``, at: { file: path } });
    if (name === "__metadata__") {
      fail({
        code: "safetensors-name",
        message: "no tensor can be called `__metadata__`",
        at: { file: path },
      });
    }
    sizeOf(path, tensor);
    names.add(name);
  }
}

/** Bytes of a tensor; one whose shape is none is refused. */
export function sizeOf(path: string, { name, dtype, shape }: StoredTensor): number {
  const size = shape.every((n) => Number.isSafeInteger(n) && n >= 0) ? byteLength(dtype, shape) : undefined;
  if (size !== undefined) return size;
  return fail({
    code: "safetensors-shape",
    message: `tensor \`${name}\`: ${dtype} [${shape.join(", ")}] is not a whole number of bytes`,
    at: { file: path },
  });
}

function encodeHeader(
  path: string,
  tensors: readonly StoredTensor[],
  sizes: readonly number[],
  metadata: Metadata,
): Uint8Array {
  let at = 0;
  const entries = tensors.map(({ name, dtype, shape }, i): [string, unknown] => {
    const begin = at;
    at += sizes[i] ?? 0;
    return [name, { dtype, shape, data_offsets: [begin, at] }];
  });
  const json = new TextEncoder().encode(
    JSON.stringify(Object.fromEntries([["__metadata__", metadata], ...entries])),
  );
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    fail({
      code: "safetensors-header-length",
      message: `the header would take ${length} bytes; the limit is ${MAX_HEADER_BYTES}`,
      at: { file: path },
      help: "write shards",
    });
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

const SHARD_BYTES = 5 * 1000 ** 3;
/** The one file of a checkpoint without shards. */
export const WHOLE = "model.safetensors";
/** What makes shards a checkpoint. */
export const INDEX = "model.safetensors.index.json";

/** How a checkpoint is divided into files. */
export type ShardOptions = {
  readonly metadata?: Metadata;
  readonly maxShardBytes?: number;
  /** Which file each tensor shall lie in, where that is known; it must be known of all of them or is not followed. */
  readonly files?: ReadonlyMap<string, string> | undefined;
  /** The text of an index that is kept where it says what a new one would. */
  readonly index?: string | undefined;
};

/** A checkpoint's files, and the text of its index if it has several. */
export type ShardLayout<T extends StoredTensor> = {
  readonly files: readonly FileLayout<T>[];
  readonly index: string | undefined;
};

/**
 * A checkpoint as transformers writes it: `model.safetensors` when everything fits in one shard, otherwise
 * `model-00001-of-0000N.safetensors` and an index.
 */
export function layOutShards<T extends StoredTensor>(
  directory: string,
  tensors: readonly T[],
  { metadata = {}, maxShardBytes = SHARD_BYTES, files, index }: ShardOptions = {},
): ShardLayout<T> {
  checkTensors(directory, tensors);
  const shards = followed(tensors, files) ?? nameShards(assign(directory, tensors, maxShardBytes));
  const layouts = [...shards].map(([name, shard]) => layOutFile(directory, name, shard, metadata));
  if (shards.has(WHOLE)) return { files: layouts, index: undefined };
  const own = indexOf(directory, shards);
  const isKept = index !== undefined && saysTheSame(index, own);
  return { files: layouts, index: isKept ? index : print(own) };
}

type Shards<T> = ReadonlyMap<string, readonly T[]>;

function followed<T extends StoredTensor>(
  tensors: readonly T[],
  files: ReadonlyMap<string, string> | undefined,
): Shards<T> | undefined {
  const shards = new Map<string, T[]>();
  for (const tensor of tensors) {
    const file = files?.get(tensor.name);
    if (file === undefined) return undefined;
    const shard = shards.get(file);
    if (shard) shard.push(tensor);
    else shards.set(file, [tensor]);
  }
  return new Map([...shards].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

// In the order given; a tensor never spans files, so one larger than the limit has a shard of its own.
function assign<T extends StoredTensor>(
  path: string,
  tensors: readonly T[],
  limit: number,
): readonly (readonly T[])[] {
  const shards: T[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    const size = sizeOf(path, tensor);
    if (filled > 0 && size > 0 && filled + size > limit) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)?.push(tensor);
    filled += size;
  }
  return shards;
}

function nameShards<T>(shards: readonly (readonly T[])[]): Shards<T> {
  const digits = (n: number): string => `${n}`.padStart(5, "0");
  return new Map(
    shards.map((shard, i) => [
      shards.length === 1 ? WHOLE : `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`,
      shard,
    ]),
  );
}

type Index = {
  readonly metadata: { readonly total_size: number };
  readonly weight_map: Readonly<Record<string, string>>;
};

function indexOf(directory: string, shards: Shards<StoredTensor>): Index {
  const sizes = [...shards.values()].flat().map((tensor) => sizeOf(directory, tensor));
  return {
    metadata: { total_size: sizes.reduce((sum, size) => sum + size, 0) },
    weight_map: Object.fromEntries(
      [...shards].flatMap(([file, shard]) => shard.map(({ name }) => [name, file])),
    ),
  };
}

const print = (index: Index): string => `${JSON.stringify(index, null, 2)}\n`;

/** The index of shards: which file each tensor is in. */
export const printIndex = (directory: string, shards: Shards<StoredTensor>): string =>
  print(indexOf(directory, shards));

/** Whether a text that is an index says all that this one does; it may say more, and in any order. */
function saysTheSame(text: string, { metadata, weight_map: map }: Index): boolean {
  if (scanJson(text).fault) return false;
  const value: unknown = JSON.parse(text);
  if (!isRecord(value) || !isRecord(value["metadata"])) return false;
  return (
    value["metadata"]["total_size"] === metadata.total_size && isDeepStrictEqual(value["weight_map"], map)
  );
}
