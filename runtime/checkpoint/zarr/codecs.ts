// The codecs that turn an encoded chunk into shorter or safer bytes and back. What decoding may yield is limited
// beforehand, so that a damaged or hostile chunk costs no more memory than the array it belongs to.
import { constants, gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { fail, type Place } from "../../../compiler/diag.ts";
import { errno, reason } from "../../files.ts";
import { crc32c } from "../crc32c.ts";
import { type Encoded, inMemory } from "../kv.ts";
import { decodePieces, decodeZstd } from "../zstd.ts";

/** Where bytes came from, for messages. */
export type Site = {
  readonly file: string;
  readonly tensor: string;
  /** The part of the tensor, `chunk c/0/1` or `zarr.json`. */
  readonly what: string;
};

/** Their place, as errors show it. */
export const placeOf = ({ file, tensor, what }: Site): Place => ({
  file,
  part: `tensor \`${tensor}\`: ${what}`,
});

/** What a damaged chunk fails with. */
export const failDamaged = (site: Site, message: string): never =>
  fail({
    code: "chunk-damaged",
    message,
    at: placeOf(site),
    help: "the checkpoint is damaged: copy it again, or use an earlier one",
  });

/** A codec from bytes to bytes. */
export type BytesCodec = {
  readonly name: string;
  /** The check sum that finds damage, if the codec has one. */
  readonly checksum?: string;
  /** The length of what `n` bytes become, if that is known beforehand. */
  encodedLength?(n: number): number;
  /** The most bytes that `n` bytes may become. */
  encodedLimit(n: number): number;
  /** At most `limit` bytes, or an error. */
  decode(encoded: Encoded, limit: number, site: Site): Uint8Array;
  /** The same piece by piece, each good until the next is asked for. Only for codecs that need not see all before. */
  pieces?(encoded: Encoded, limit: number, site: Site): Iterator<Uint8Array, void>;
  /** The bytes in parts, none of them copied without need. Only for codecs that q3c writes. */
  encode?(bytes: Uint8Array): readonly Uint8Array[];
};

// Compressed data that grows: every format needs a header, and a few bytes per block that does not shrink.
const compressedLimit = (n: number): number => n + Math.ceil(n / 64) + 1024;

// No deflate stream yields more bytes than this per byte of its own.
const DEFLATE_RATIO = 1032;

type Inflate = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array;

const inflateWith =
  (inflate: Inflate) =>
  (encoded: Encoded, limit: number, site: Site): Uint8Array => {
    const room = Math.min(limit, encoded.size * DEFLATE_RATIO);
    try {
      return inflate(encoded.read(), { maxOutputLength: Math.max(1, room) });
    } catch (error) {
      if (errno(error) === undefined) throw error;
      const isLonger = errno(error) === "ERR_BUFFER_TOO_LARGE";
      return failDamaged(site, isLonger ? `unpacks to more than the expected ${limit} bytes` : reason(error));
    }
  };

/** DEFLATE with gzip's header and a CRC-32. q3c writes it without compression, for the sake of the check sum. */
export const gzip: BytesCodec = {
  name: "gzip",
  checksum: "CRC-32",
  encodedLimit: compressedLimit,
  decode: inflateWith(gunzipSync),
  encode: (bytes) => [gzipSync(bytes, { level: constants.Z_NO_COMPRESSION })],
};

/** DEFLATE with zlib's header and an Adler-32. */
export const zlib: BytesCodec = {
  name: "zlib",
  checksum: "Adler-32",
  encodedLimit: compressedLimit,
  decode: inflateWith(inflateSync),
};

/** Zstandard. */
export const zstd: BytesCodec = {
  name: "zstd",
  encodedLimit: compressedLimit,
  decode: (encoded, limit, site) => decodeZstd(encoded, limit, placeOf(site)),
  pieces: (encoded, limit, site) => decodePieces(encoded, limit, placeOf(site)),
};

const CRC_BYTES = 4;

/** The bytes, then their CRC-32C. */
export const checksum32c: BytesCodec = {
  name: "crc32c",
  checksum: "CRC-32C",
  encodedLength: (n) => n + CRC_BYTES,
  encodedLimit: (n) => n + CRC_BYTES,
  decode(encoded, limit, site) {
    const length = encoded.size - CRC_BYTES;
    if (length < 0 || length > limit)
      failDamaged(
        site,
        `expected at most ${limit + CRC_BYTES} bytes with a check sum, found ${encoded.size}`,
      );
    const bytes = encoded.read();
    const body = bytes.subarray(0, length);
    const stored = new DataView(bytes.buffer, bytes.byteOffset + length, CRC_BYTES).getUint32(0, true);
    const computed = crc32c(body);
    if (computed !== stored)
      failDamaged(site, `its CRC-32C is ${hex(computed)}, but ${hex(stored)} is stored with it`);
    return body;
  },
  encode(bytes) {
    const sum = new Uint8Array(CRC_BYTES);
    new DataView(sum.buffer).setUint32(0, crc32c(bytes), true);
    return [bytes, sum];
  },
};

const hex = (word: number): string => word.toString(16).padStart(8, "0");

/** Undoes a chain of codecs, which are listed in the order of encoding; `limit` is for what was encoded. */
export function decodeBytes(
  codecs: readonly BytesCodec[],
  encoded: Encoded,
  limit: number,
  site: Site,
): Uint8Array {
  const limits = [limit];
  for (const codec of codecs) limits.push(codec.encodedLimit(limits.at(-1) ?? 0));
  const decoded = codecs.reduceRight(
    (coded, codec, i) => inMemory(codec.decode(coded, limits[i] ?? 0, site)),
    encoded,
  );
  return decoded.read();
}
