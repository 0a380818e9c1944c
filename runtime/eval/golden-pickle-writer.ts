// Golden records as a pickle of protocol 4: instructions that build a list of dicts with NumPy arrays.

import type { WrittenRecord, WrittenValue } from "./golden-record.ts";
import * as op from "./pickle-opcodes.ts";

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
  return bytes(op.BINUNICODE, word(encoded.length), encoded);
}

const short = (value: string): Uint8Array => bytes(op.SHORT_BINUNICODE, value.length, value);
const name = (module: string, attribute: string): Uint8Array =>
  bytes(short(module), short(attribute), op.STACK_GLOBAL);
const size = (value: number): Uint8Array => bytes(op.BININT, word(value));

/** `numpy.dtype(code, False, True)` with the state of a little-endian plain dtype. */
const dtype = (code: string): Uint8Array =>
  bytes(
    ...[name("numpy", "dtype"), short(code), op.NEWFALSE, op.NEWTRUE, op.TUPLE3, op.REDUCE],
    // (3, "<", None, None, None, -1, -1, 0)
    ...[op.MARK, size(3), short("<"), op.NONE, op.NONE, op.NONE],
    ...[size(-1), size(-1), size(0), op.TUPLE, op.BUILD],
  );

/** An array: `_reconstruct(ndarray, (0,), b"b")`, then its state (1, shape, dtype, False, bytes). */
function* array(shape: readonly number[], code: string, raw: Uint8Array): Iterable<Uint8Array> {
  yield bytes(
    // NumPy 2 still answers to the old name of the module.
    ...[name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray")],
    ...[size(0), op.TUPLE1, op.SHORT_BINBYTES, 1, "b", op.TUPLE3, op.REDUCE],
    ...[op.MARK, size(1), ...shape.map(size), shape.length === 1 ? op.TUPLE1 : op.TUPLE2],
    ...[dtype(code), op.NEWFALSE],
  );
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(raw.length), true);
  yield bytes(op.BINBYTES8, length);
  yield raw;
  yield bytes(op.TUPLE, op.BUILD);
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
export const pickleStart = (): Iterable<Uint8Array> => [bytes(op.PROTO, 4, op.EMPTY_LIST)];

/** One record, appended to the list. */
export function* pickleRecord(record: WrittenRecord): Iterable<Uint8Array> {
  yield bytes(op.EMPTY_DICT);
  for (const [key, each] of Object.entries(record)) {
    yield text(key);
    yield* value(each);
    yield bytes(op.SETITEM);
  }
  yield bytes(op.APPEND);
}

/** The end. */
export const pickleEnd = (): Iterable<Uint8Array> => [bytes(op.STOP)];
