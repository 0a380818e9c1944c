// One zarr array in a store: opened by its metadata, read by boxes, written chunk by chunk.
import { fail, invariant } from "../../../compiler/diag.ts";
import { allocate } from "../../files.ts";
import {
  chunkBox,
  chunkBoxes,
  chunksIn,
  copyBox,
  countOf,
  gridOf,
  intersect,
  isSameBox,
  shapeOfBox,
  wholeBox,
} from "../box.ts";
import { attempt, type OnDamage, refuse } from "../damage.ts";
import type { Encoded, KvReader, KvWriter } from "../kv.ts";
import type { Allocate, Box, StoredTensor } from "../tensors.ts";
import type { Site } from "./codecs.ts";
import { checksumsOf, failAbsent, filled, innermost, readChunks, readLayout } from "./layout.ts";
import type { Memo } from "./memo.ts";
import type { ArrayMetadata } from "./metadata.ts";
import { METADATA_V2, parseV2, printV2 } from "./v2.ts";
import { METADATA_V3, parseV3, printV3 } from "./v3.ts";

/** The version of zarr, by its number. */
export type ZarrVersion = 2 | 3;

const METADATA = {
  2: { key: METADATA_V2, parse: parseV2, print: printV2 },
  3: { key: METADATA_V3, parse: parseV3, print: printV3 },
} as const;

/** Where an array's metadata lies, under the array's own key. */
export const metadataKey = (version: ZarrVersion): string => METADATA[version].key;

/** An open array. */
export type ZarrArray = {
  readonly tensor: StoredTensor;
  /** The check sums that every byte of a chunk is under; none when damage can go unnoticed. */
  readonly checksums: readonly string[];
  /** A box, which may be put in `room`. */
  read(box: Box, room?: Allocate): Uint8Array;
  /** The boxes of its chunks, clipped to the array, row-major over the grid. */
  chunks(): Iterable<Box>;
  /** The shape of its smallest parts that may be damaged each by itself. */
  readonly grain: readonly number[];
  /** How many chunks were never written and hold the fill value. */
  countAbsent(): number;
};

/** How to open an array. */
export type OpenOptions = {
  readonly version: ZarrVersion;
  /** Whether every chunk must be there; otherwise one that is not holds the fill value. */
  readonly isComplete: boolean;
  /** Shared by the arrays of a checkpoint, so that what it holds is limited for all together. */
  readonly memo: Memo;
  /** Hears of it when there are too few chunks. */
  readonly onDamage?: OnDamage;
};

// Chunks that hold the fill value need not be stored, but so many of them are a damaged shape rather than an array.
const MAX_ABSENT = 1 << 22;

/** Opens the array that lies under a key, which is its name too. */
export function openArray(store: KvReader, name: string, options: OpenOptions): ZarrArray {
  const { key, parse } = METADATA[options.version];
  const at = `${name}/${key}`;
  const metadata = parse({ file: store.fileOf(at), tensor: name, what: key }, store.read(at));
  const { shape, chunk, layout, keyOf } = metadata;
  const expected = countOf(gridOf(shape, chunk));
  const failTooFew = (): never =>
    fail({
      code: "chunk-missing",
      message: `tensor \`${name}\`: shape [${shape.join(", ")}] is made of ${expected} chunks, more than ${store.path} holds`,
      at: { file: store.fileOf(at) },
      help: "the checkpoint is damaged or incomplete: copy it again, or use an earlier one",
    });
  if (expected > store.keys.size + MAX_ABSENT) failTooFew();
  if (options.isComplete && expected > store.keys.size) attempt(options.onDamage ?? refuse, failTooFew);
  return {
    tensor: { name, dtype: layout.element.dtype, shape },
    checksums: checksumsOf(layout),
    read: (box, room = allocate) => readArray(store, name, metadata, options, box, room),
    chunks: () => chunkBoxes(shape, chunk),
    grain: innermost(layout, chunk),
    countAbsent() {
      let absent = 0;
      for (const index of chunksIn(wholeBox(shape), chunk))
        if (!store.keys.has(`${name}/${keyOf(index)}`)) absent++;
      return absent;
    },
  };
}

function readArray(
  store: KvReader,
  name: string,
  { chunk, layout, fill, keyOf }: ArrayMetadata,
  { isComplete, memo }: OpenOptions,
  box: Box,
  room: Allocate,
): Uint8Array {
  const siteOf = (what: string, file: string): Site => ({ file, tensor: name, what });
  const whole = siteOf("the whole", store.path);
  return readChunks(box, chunk, layout.element.width, { site: whole, room }, (index, wanted, room) => {
    const local = keyOf(index);
    const key = `${name}/${local}`;
    const size = store.keys.get(key);
    if (size === undefined) {
      const site = siteOf(`chunk ${local}`, store.path);
      return isComplete ? failAbsent(site) : filled(wanted, fill, site);
    }
    const encoded: Encoded = { size, read: (range, room) => store.read(key, range, room) };
    const site = siteOf(`chunk ${local}`, store.fileOf(key));
    return readLayout(layout, chunk, encoded, wanted, {
      site,
      fill: isComplete ? undefined : fill,
      memo,
      room,
    });
  });
}

/** An array being written. */
export type ZarrArrayWriter = {
  /** Puts its metadata, which one of the writers of an array does. */
  describe(): void;
  /** The boxes to write, in any order. */
  chunks(): Iterable<Box>;
  /** Writes one of them, row-major. */
  write(box: Box, bytes: Uint8Array): void;
};

/** A tensor and the shape of its chunks: what an array that q3c writes is made of. */
export type ArrayPlan = { readonly tensor: StoredTensor; readonly chunk: readonly number[] };

// What readers will see is what the writer goes by.
function printed({ tensor, chunk }: ArrayPlan, version: ZarrVersion): ArrayMetadata & { text: Uint8Array } {
  const { key, parse, print } = METADATA[version];
  const { name } = tensor;
  const text = new TextEncoder().encode(print(tensor, chunk));
  return { ...parse({ file: name, tensor: name, what: key }, text), text };
}

/** An array that q3c writes into a store, each chunk under a check sum. */
export function createArray(store: KvWriter, plan: ArrayPlan, version: ZarrVersion): ZarrArrayWriter {
  const { shape, chunk, layout, keyOf, text } = printed(plan, version);
  const { name } = plan.tensor;
  const { width } = layout.element;
  const [codec] = layout.bytes;
  return {
    describe: () => store.put(`${name}/${METADATA[version].key}`, [text]),
    chunks: () => chunkBoxes(shape, chunk),
    write(box, bytes) {
      const index = box.map(([start], axis) => Math.floor(start / (chunk[axis] ?? 1)));
      const full = chunkBox(index, chunk);
      const clipped = intersect(full, wholeBox(shape)) ?? full;
      invariant(
        isSameBox(box, clipped),
        `${JSON.stringify(box)} is not a chunk of ${name} [${shape.join(", ")}]`,
      );
      invariant(
        bytes.length === countOf(shapeOfBox(box)) * width,
        `${bytes.length} bytes for a chunk of ${name}`,
      );
      const elements = isSameBox(full, clipped) ? bytes : padded({ box, bytes }, full, width);
      store.put(`${name}/${keyOf(index)}`, codec?.encode?.(elements) ?? [elements]);
    },
  };
}

/** Reads boxes of an array that q3c is writing, from a store that holds chunks of it. */
export function readWritten(store: KvReader, plan: ArrayPlan, version: ZarrVersion, box: Box): Uint8Array {
  return readArray(
    store,
    plan.tensor.name,
    printed(plan, version),
    { version, isComplete: true, memo: new Map() },
    box,
    allocate,
  );
}

/** Every key that an array which q3c has written is made of. */
export function* keysOf(plan: ArrayPlan, version: ZarrVersion): Generator<string> {
  const { shape, chunk, keyOf } = printed(plan, version);
  yield `${plan.tensor.name}/${METADATA[version].key}`;
  for (const index of chunksIn(wholeBox(shape), chunk)) yield `${plan.tensor.name}/${keyOf(index)}`;
}

/** A chunk at the border is as large as the others; what lies beyond the array is zero. */
function padded(
  part: { readonly box: Box; readonly bytes: Uint8Array },
  full: Box,
  width: number,
): Uint8Array {
  const bytes = new Uint8Array(countOf(shapeOfBox(full)) * width);
  copyBox(part, { box: full, bytes }, width);
  return bytes;
}
