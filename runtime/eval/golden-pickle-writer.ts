// Golden records as a pickle of protocol 4: instructions that build a list of dicts with NumPy arrays.

import type { WrittenRecord, WrittenValue } from "./golden-record.ts";

const utf8 = new TextEncoder();

const bytes = (...parts: readonly (number | string | Uint8Array)[]): Uint8Array =>
  Buffer.concat(
    parts.map((part) =>
      typeof part === "number" ? Uint8Array.of(part) : typeof part === "string" ? utf8.encode(part) : part,
    ),
  );

function word(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value, true);
  return out;
}

function text(value: string): Uint8Array {
  const encoded = utf8.encode(value);
  return bytes("X", word(encoded.length), encoded);
}

const SHORT_TEXT = 0x8c;
const STACK_GLOBAL = 0x93;
const TUPLE1 = 0x85;
const TUPLE2 = 0x86;
const TUPLE3 = 0x87;
const TRUE = 0x88;
const FALSE = 0x89;
const BYTES8 = 0x8e;

const short = (value: string): Uint8Array => bytes(SHORT_TEXT, value.length, value);
const name = (module: string, attribute: string): Uint8Array =>
  bytes(short(module), short(attribute), STACK_GLOBAL);
const size = (value: number): Uint8Array => bytes("J", word(value));

/** `numpy.dtype(code, False, True)` with the state of a little-endian plain dtype. */
const dtype = (code: string): Uint8Array =>
  bytes(
    ...[name("numpy", "dtype"), short(code), FALSE, TRUE, TUPLE3, "R"],
    // (3, "<", None, None, None, -1, -1, 0)
    ...["(", size(3), short("<"), "NNN", size(-1), size(-1), size(0), "tb"],
  );

/** An array: `_reconstruct(ndarray, (0,), b"b")`, then its state (1, shape, dtype, False, bytes). */
function* array(shape: readonly number[], code: string, raw: Uint8Array): Iterable<Uint8Array> {
  yield bytes(
    // NumPy 2 still answers to the old name of the module.
    ...[name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray")],
    ...[size(0), TUPLE1, "C", 1, "b", TUPLE3, "R"],
    ...["(", size(1), ...shape.map(size), shape.length === 1 ? TUPLE1 : TUPLE2, dtype(code), FALSE],
  );
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(raw.length), true);
  yield bytes(BYTES8, length);
  yield raw;
  yield bytes("tb");
}

const rawOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

function* value(of: WrittenValue): Iterable<Uint8Array> {
  if (typeof of === "string") yield text(of);
  else if ("logits" in of) yield* array([of.logits.length / of.vocab, of.vocab], "f4", rawOf(of.logits));
  else if (of instanceof Float64Array) yield* array([of.length], "f8", rawOf(of));
  else yield* array([of.length], "i8", rawOf(BigInt64Array.from(of, (x) => BigInt(x))));
}

/** The beginning: an empty list. */
export const pickleStart = (): Iterable<Uint8Array> => [bytes(0x80, 4, "]")];

/** One record, appended to the list. */
export function* pickleRecord(record: WrittenRecord): Iterable<Uint8Array> {
  yield bytes("}");
  for (const [key, each] of Object.entries(record)) {
    yield text(key);
    yield* value(each);
    yield bytes("s");
  }
  yield bytes("a");
}

/** The end. */
export const pickleEnd = (): Iterable<Uint8Array> => [bytes(".")];
