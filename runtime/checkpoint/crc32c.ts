// CRC-32C (Castagnoli): the checksum of OCDBT's structures, of zarr's crc32c codec and of TFRecord files.
import { crcBy } from "./crc.ts";
import { FOLDABLE, shortened } from "./crc32c-fold.ts";

const divide = crcBy(0x82f63b78);

/**
 * The CRC-32C of bytes, as an unsigned number. `before` is the checksum of the bytes that came before these, so that a
 * long value may be summed in parts.
 */
export function crc32c(bytes: Uint8Array, before = 0): number {
  const few = bytes.length < FOLDABLE ? undefined : shortened(bytes, ~before);
  return ~(few ? divide(0, few) : divide(~before, bytes)) >>> 0;
}
