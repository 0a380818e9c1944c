// What every structure of an OCDBT database comes in: a magic number, its length, a version, how the body is
// compressed, the body, and a checksum over all of it.
import type { Place } from "../../../compiler/diag.ts";
import { crc32c } from "../crc32c.ts";
import { inMemory } from "../kv.ts";
import { decodeZstd } from "../zstd.ts";
import { type FieldReader, failDamaged, readFields, writeFields } from "./fields.ts";

/** The structures there are. Old versions of a database hang on version tree nodes, which nothing here reads. */
export const KINDS = {
  manifest: { magic: 0x0cdb3a2a, called: "manifest" },
  node: { magic: 0x0cdb20de, called: "B+tree node" },
} as const;
export type Kind = (typeof KINDS)[keyof typeof KINDS];

const HEADER = 14;
const CHECKSUM = 4;
const NO_COMPRESSION = 0;
const ZSTD = 1;

/** Checks an envelope and gives its body's fields. The body decodes to at most `limit` bytes. */
export function openEnvelope(
  { magic, called }: Kind,
  bytes: Uint8Array,
  limit: number,
  where: Place,
): FieldReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < HEADER + CHECKSUM) {
    failDamaged(where, `expected a ${called}, found only ${bytes.length} bytes`);
  }
  if (view.getUint32(0) !== magic) {
    failDamaged(where, `expected a ${called} to begin with ${hex(magic)}, found ${hex(view.getUint32(0))}`);
  }
  const length = view.getBigUint64(4, true);
  if (length !== BigInt(bytes.length)) {
    failDamaged(where, `the ${called} says it has ${length} bytes, but there are ${bytes.length}`);
  }
  const end = bytes.length - CHECKSUM;
  const [stored, found] = [view.getUint32(end, true), crc32c(bytes.subarray(0, end))];
  if (stored !== found) {
    failDamaged(where, `the ${called}'s checksum is ${hex(found)}; expected ${hex(stored)}`);
  }
  const header = readFields(bytes.subarray(12, end), where);
  const version = header.varint("format version");
  if (version !== 0) failDamaged(where, `format version ${version} is not known; expected 0`);
  const compression = header.varint("compression");
  if (compression !== NO_COMPRESSION && compression !== ZSTD) {
    failDamaged(where, `compression ${compression} is not known; expected 0 (none) or 1 (zstd)`);
  }
  const body = header.rest();
  return readFields(compression === ZSTD ? decodeZstd(inMemory(body), limit, where) : body, where);
}

/** Puts a body into an envelope, uncompressed. */
export function seal({ magic }: Kind, body: Uint8Array): Uint8Array {
  const fields = writeFields();
  fields.uint32BigEndian(magic);
  fields.uint64(BigInt(HEADER + body.length + CHECKSUM));
  fields.varint(0);
  fields.varint(NO_COMPRESSION);
  fields.bytes(body);
  fields.uint32(crc32c(fields.written()));
  return fields.written();
}

const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
