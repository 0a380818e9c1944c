// Zstandard frames, decoded within a limit: the frame's structure is checked first, so that bytes from a damaged or
// hostile file can neither ask for more memory than the caller expects nor end early unnoticed. RFC 8878.

import { Decompress, decompress } from "fzstd";
import { fail, Q3Error } from "../../compiler/diag.ts";

/** Blocks hold at most this many bytes once decoded (RFC 8878, 3.1.1.2.4). */
const MAX_BLOCK = 1 << 17;
/** Larger windows than any encoder chooses without being told to; decoding takes a buffer of that size. */
const MAX_WINDOW = 1 << 27;
const MAGIC = 0xfd2fb528;

type Frame = {
  /** The bytes it decodes to, where the header says so. */
  readonly size: number | undefined;
  readonly window: number;
  /** Where the next frame starts. */
  readonly end: number;
};

/**
 * Decodes one or more frames that together give at most `limit` bytes. `where` begins every message: a file and what
 * lies there.
 */
export function decodeZstd(bytes: Uint8Array, limit: number, where: string): Uint8Array {
  const parts: Uint8Array[] = [];
  let total = 0;
  const take = (part: Uint8Array): void => {
    total += part.length;
    if (total > limit) failLarge(where, limit, `more than ${limit}`);
    parts.push(part);
  };
  for (let at = 0; at < bytes.length; ) {
    const skipped = skippable(bytes, at, where);
    if (skipped === undefined) {
      const frame = readFrame(bytes, at, where);
      if (frame.size !== undefined && total + frame.size > limit) {
        failLarge(where, limit, `${total + frame.size}`);
      }
      decodeFrame(bytes.subarray(at, frame.end), frame, where, take);
      at = frame.end;
    } else at = skipped;
  }
  if (parts.length === 0) failDamaged(where, "found no frame");
  return parts.length === 1 ? (parts[0] ?? new Uint8Array()) : concatenate(parts, total);
}

function concatenate(parts: readonly Uint8Array[], total: number): Uint8Array {
  const whole = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function decodeFrame(
  bytes: Uint8Array,
  { size, window }: Frame,
  where: string,
  take: (part: Uint8Array) => void,
): void {
  let decoded = 0;
  try {
    if (size) {
      const part = decompress(bytes);
      decoded = part.length;
      take(part);
    } else {
      if (window > MAX_WINDOW) failDamaged(where, `a window of ${window} bytes is beyond ${MAX_WINDOW}`);
      // The window is reused: what is handed on has to be a copy of its own, which the stream's pieces are.
      new Decompress((part) => {
        decoded += part.length;
        take(part);
      }).push(bytes, true);
    }
  } catch (error) {
    if (error instanceof Q3Error) throw error;
    failDamaged(where, error instanceof Error ? error.message : String(error));
  }
  if (size !== undefined && decoded !== size) {
    failDamaged(where, `the frame's header says ${size} bytes, it decodes to ${decoded}`);
  }
}

/** The end of a skippable frame, or nothing where none starts. */
function skippable(bytes: Uint8Array, at: number, where: string): number | undefined {
  const magic = readNumber(bytes, at, 4, where);
  if (magic < 0x184d2a50 || magic > 0x184d2a5f) return undefined;
  const end = at + 8 + readNumber(bytes, at + 4, 4, where);
  if (end > bytes.length) failDamaged(where, "a skippable frame is cut short");
  return end;
}

function readFrame(bytes: Uint8Array, start: number, where: string): Frame {
  const magic = readNumber(bytes, start, 4, where);
  if (magic !== MAGIC) failDamaged(where, `expected a frame to begin with 28b52ffd, at byte ${start}`);
  const descriptor = readNumber(bytes, start + 4, 1, where);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (descriptor & 8) failDamaged(where, "a reserved bit of the frame's header is set");
  if (descriptor & 3) failDamaged(where, "the frame asks for a dictionary, and there is none");
  let at = start + 5;
  const exponent = isSingleSegment ? undefined : readNumber(bytes, at++, 1, where);
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const size =
    sizeBytes === 0 ? undefined : readNumber(bytes, at, sizeBytes, where) + (sizeBytes === 2 ? 256 : 0);
  at += sizeBytes;
  const window =
    exponent === undefined ? (size ?? 0) : 2 ** (10 + (exponent >> 3)) * (1 + (exponent & 7) / 8);
  for (let isLast = false; !isLast; ) {
    const header = readNumber(bytes, at, 3, where);
    isLast = (header & 1) === 1;
    const [kind, length] = [(header >> 1) & 3, header >> 3];
    if (kind === 3) failDamaged(where, `a block of unknown kind at byte ${at}`);
    if (length > MAX_BLOCK)
      failDamaged(where, `a block of ${length} bytes at byte ${at}; expected at most ${MAX_BLOCK}`);
    // A block of one repeated byte stores only that byte.
    at += 3 + (kind === 1 ? 1 : length);
    if (at > bytes.length) failDamaged(where, "the last block is cut short");
  }
  const end = at + (descriptor & 4 ? 4 : 0);
  if (end > bytes.length) failDamaged(where, "the frame is cut short before its checksum");
  return { size, window, end };
}

function readNumber(bytes: Uint8Array, at: number, length: number, where: string): number {
  if (at + length > bytes.length) failDamaged(where, "the frame is cut short");
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

function failDamaged(where: string, problem: string): never {
  fail({ code: "zstd-damaged", message: `${where}: not whole Zstandard data: ${problem}` });
}

function failLarge(where: string, limit: number, found: string): never {
  fail({
    code: "zstd-too-large",
    message: `${where}: Zstandard data decodes to ${found} bytes; expected at most ${limit}`,
  });
}
