// The codecs that turn an encoded chunk into shorter or safer bytes and back. What decoding may yield is limited
// beforehand, so that a damaged or hostile chunk costs no more memory than the array it belongs to.
import { constants, gzipSync } from "node:zlib";
import { fail, type Place } from "../../../compiler/diag.ts";
import { crc32c, showSum } from "../crc32c.ts";
import { MAX_RATIO as DEFLATE_RATIO, gunzip, type Unpack, unzlib } from "../gzip.ts";
import { type Encoded, inMemory } from "../kv.ts";
import { joinPieces, type Pieces, readPieces } from "../pieces.ts";
import { unpackZstd, MAX_RATIO as ZSTD_RATIO } from "../zstd.ts";

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
  /** The same piece by piece. Check sums and lengths are only known to be right when the last piece was given. */
  unpack(encoded: Pieces, limit: number, site: Site): Pieces;
  /** The same where they lie, for codecs that leave bytes as they are; what was checked before need not be again. */
  inPlace?(encoded: Encoded, limit: number, site: Site, isChecked: boolean): Encoded;
  /** The bytes in parts, none of them copied without need. Only for codecs that q3c writes. */
  encode?(bytes: Uint8Array): readonly Uint8Array[];
};

// Compressed data that grows: every format needs a header, and a few bytes per block that does not shrink.
const compressedLimit = (n: number): number => n + Math.ceil(n / 64) + 1024;

/** A codec that makes whole chunks of pieces too; `ratio` is the most bytes that one of its own becomes. */
const packed = ({
  ratio,
  ...codec
}: Omit<BytesCodec, "decode" | "encodedLimit"> & { ratio: number }): BytesCodec => ({
  ...codec,
  encodedLimit: compressedLimit,
  decode: (encoded, limit, site) =>
    joinPieces(
      codec.unpack(readPieces(encoded), limit, site),
      Math.min(limit, encoded.size * ratio),
      placeOf(site),
    ),
});

const unpackBy =
  (unpack: Unpack): BytesCodec["unpack"] =>
  (encoded, limit, site) =>
    unpack(encoded, limit, (problem) => failDamaged(site, problem));

/** DEFLATE with gzip's header and a CRC-32. q3c writes it without compression, for the sake of the check sum. */
export const gzip: BytesCodec = packed({
  name: "gzip",
  checksum: "CRC-32",
  ratio: DEFLATE_RATIO,
  unpack: unpackBy(gunzip),
  encode: (bytes) => [gzipSync(bytes, { level: constants.Z_NO_COMPRESSION })],
});

/** DEFLATE with zlib's header and an Adler-32. */
export const zlib: BytesCodec = packed({
  name: "zlib",
  checksum: "Adler-32",
  ratio: DEFLATE_RATIO,
  unpack: unpackBy(unzlib),
});

/** Zstandard. */
export const zstd: BytesCodec = packed({
  name: "zstd",
  ratio: ZSTD_RATIO,
  unpack: (encoded, limit, site) => unpackZstd(encoded, limit, placeOf(site)),
});

const CRC_BYTES = 4;

/** The bytes, then their CRC-32C. */
export const checksum32c: BytesCodec = {
  name: "crc32c",
  checksum: "CRC-32C",
  encodedLength: (n) => n + CRC_BYTES,
  encodedLimit: (n) => n + CRC_BYTES,
  decode(encoded, limit, site) {
    const length = summedLength(encoded, limit, site);
    const bytes = encoded.read();
    const body = bytes.subarray(0, length);
    requireSum(crc32c(body), bytes.subarray(length), site);
    return body;
  },
  *unpack(encoded, limit, site) {
    // The last bytes so far, which may be the sum.
    let last: Uint8Array = new Uint8Array();
    let [length, sum] = [-CRC_BYTES, 0];
    for (const piece of encoded) {
      length += piece.length;
      if (length > limit) failLength(length + CRC_BYTES, limit, site);
      const bytes = Buffer.concat([last, piece]);
      const body = bytes.subarray(0, -CRC_BYTES);
      last = bytes.subarray(body.length);
      sum = crc32c(body, sum);
      yield body;
    }
    if (length < 0) failLength(length + CRC_BYTES, limit, site);
    requireSum(sum, last, site);
  },
  inPlace(encoded, limit, site, isChecked) {
    const size = summedLength(encoded, limit, site);
    const body: Encoded = {
      size,
      read: (range, room) => encoded.read(range ?? { offset: 0, length: size }, room),
    };
    if (!isChecked) {
      let sum = 0;
      for (const piece of readPieces(body)) sum = crc32c(piece, sum);
      requireSum(sum, encoded.read({ offset: size, length: CRC_BYTES }), site);
    }
    return body;
  },
  encode(bytes) {
    const sum = new Uint8Array(CRC_BYTES);
    new DataView(sum.buffer).setUint32(0, crc32c(bytes), true);
    return [bytes, sum];
  },
};

function summedLength({ size }: Encoded, limit: number, site: Site): number {
  const length = size - CRC_BYTES;
  if (length < 0 || length > limit) failLength(size, limit, site);
  return length;
}

function failLength(found: number, limit: number, site: Site): never {
  return failDamaged(site, `expected at most ${limit + CRC_BYTES} bytes with a check sum, found ${found}`);
}

function requireSum(computed: number, bytes: Uint8Array, site: Site): void {
  const stored = new DataView(bytes.buffer, bytes.byteOffset, CRC_BYTES).getUint32(0, true);
  if (computed !== stored)
    failDamaged(site, `its CRC-32C is ${showSum(computed)}, but ${showSum(stored)} is stored with it`);
}

/** The most bytes before each codec of a chain, and behind the last. */
function limitsOf(codecs: readonly BytesCodec[], limit: number): readonly number[] {
  const limits = [limit];
  for (const codec of codecs) limits.push(codec.encodedLimit(limits.at(-1) ?? 0));
  return limits;
}

/** Undoes a chain of codecs, which are listed in the order of encoding; `limit` is for what was encoded. */
export function decodeBytes(
  codecs: readonly BytesCodec[],
  encoded: Encoded,
  limit: number,
  site: Site,
): Uint8Array {
  const limits = limitsOf(codecs, limit);
  const decoded = codecs.reduceRight(
    (coded, codec, i) => inMemory(codec.decode(coded, limits[i] ?? 0, site)),
    encoded,
  );
  return decoded.read();
}

/** The same, piece by piece. */
export function unpackBytes(
  codecs: readonly BytesCodec[],
  encoded: Encoded,
  limit: number,
  site: Site,
): Pieces {
  const limits = limitsOf(codecs, limit);
  return codecs.reduceRight<Pieces>(
    (pieces, codec, i) => codec.unpack(pieces, limits[i] ?? 0, site),
    readPieces(encoded),
  );
}

/** What a chain of codecs was given, where it lies, if all of them leave bytes as they are. */
export function decodeInPlace(
  codecs: readonly BytesCodec[],
  encoded: Encoded,
  limit: number,
  site: Site,
  isChecked: boolean,
): Encoded | undefined {
  const limits = limitsOf(codecs, limit);
  let coded: Encoded | undefined = encoded;
  for (const [i, codec] of [...codecs.entries()].toReversed())
    coded = coded && codec.inPlace?.(coded, limits[i] ?? 0, site, isChecked);
  return coded;
}
