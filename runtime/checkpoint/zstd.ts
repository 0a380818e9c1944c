// Decodes Zstandard data (RFC 8878). A decoder of q3c's own because bytes may be damaged or hostile: it checks every
// length, offset and bit count, so that each step makes progress and data that ends early or refers to what is not there
// is an error. It goes over the data once and holds no more of it than blocks may refer back to. Checksums of contents are
// skipped: Orbax writes none.
import { fail, type Place } from "../../compiler/diag.ts";
import type { Encoded } from "./kv.ts";
import { Damage, damage, type Input, joinPieces, openInput, type Pieces, readPieces } from "./pieces.ts";
import {
  COMPRESSED,
  decodeBlock,
  firstState,
  MAX_BLOCK,
  numberAt,
  type Output,
  REPEATED_BYTE,
} from "./zstd-blocks.ts";

const MAGIC = 0xfd2fb528;
/** No data yields more bytes than this per byte of its own: a block of a repeated byte takes four. */
export const MAX_RATIO = MAX_BLOCK / 4;

/** Decodes one or more frames that together give at most `limit` bytes; `at` is where they are. */
export function decodeZstd(encoded: Encoded, limit: number, at: Place): Uint8Array {
  const most = Math.min(limit, encoded.size * MAX_RATIO);
  return joinPieces(unpackZstd(readPieces(encoded), limit, at), most, at);
}

/** The same, piece by piece. */
export function* unpackZstd(encoded: Pieces, limit: number, at: Place): Generator<Uint8Array, void> {
  const failTooLarge = (): never =>
    fail({
      code: "zstd-too-large",
      message: `Zstandard data decodes to more than the ${limit} bytes expected at most`,
      at,
    });
  try {
    const input = openInput(encoded);
    const work: Work = {
      output: { bytes: new Uint8Array(MAX_BLOCK), end: 0 },
      scratch: new Uint8Array(MAX_BLOCK),
    };
    let [frames, given] = [0, 0];
    while (!input.isAtEnd()) {
      const start = input.position();
      const magic = numberAt(input.take(4), 0, 4);
      if (magic >= 0x184d2a50 && magic <= 0x184d2a5f) input.skip(numberAt(input.take(4), 0, 4));
      else {
        if (magic !== MAGIC) damage(`expected a frame to begin with 28b52ffd, at byte ${start}`);
        given += yield* decodeFrame(input, work, limit - given, failTooLarge);
        frames++;
      }
    }
    if (frames === 0) damage("found no frame");
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    fail({ code: "zstd-damaged", message: `not whole Zstandard data: ${error.message}`, at });
  }
}

/** Memory that one frame after another uses. */
type Work = { readonly output: Output; readonly scratch: Uint8Array };

/** Decodes a frame, behind its magic number, to at most `limit` bytes; the result is to how many. */
function* decodeFrame(
  input: Input,
  { output, scratch }: Work,
  limit: number,
  failTooLarge: () => never,
): Generator<Uint8Array, number> {
  const { size, reach, hasChecksum } = readHeader(input);
  if (size !== undefined && size > limit) failTooLarge();
  const state = firstState(scratch);
  output.end = 0;
  let given = 0;
  for (let isLast = false; !isLast; ) {
    const at = input.position();
    const header = numberAt(input.take(3), 0, 3);
    isLast = (header & 1) === 1;
    const [kind, length] = [(header >> 1) & 3, header >> 3];
    if (kind > COMPRESSED) damage(`a block of unknown kind at byte ${at}`);
    if (length > MAX_BLOCK) damage(`a block of ${length} bytes at byte ${at}; expected at most ${MAX_BLOCK}`);
    makeRoom(output, reach);
    const from = output.end;
    decodeBlock(kind, input.take(kind === REPEATED_BYTE ? 1 : length), length, state, output);
    given += output.end - from;
    if (size !== undefined && given > size)
      damage(`the blocks of a frame give more than the ${size} bytes it has`);
    if (given > limit) failTooLarge();
    yield output.bytes.subarray(from, output.end);
  }
  if (size !== undefined && given !== size) damage(`a frame of ${size} bytes decodes to ${given}`);
  if (hasChecksum) input.skip(4);
  return given;
}

type Header = {
  /** The bytes it decodes to, where the header says so. */
  readonly size: number | undefined;
  /** How far back offsets go. */
  readonly reach: number;
  readonly hasChecksum: boolean;
};

function readHeader(input: Input): Header {
  const number = (width: number): number => numberAt(input.take(width), 0, width);
  const descriptor = number(1);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (descriptor & 8) damage("a reserved bit of the frame's header is set");
  if (descriptor & 3) damage("the frame asks for a dictionary, and there is none");
  const window = isSingleSegment ? undefined : number(1);
  const width = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const size = width === 0 ? undefined : number(width) + (width === 2 ? 256 : 0);
  // An exponent, and eighths.
  const reach = window === undefined ? (size ?? 0) : 2 ** (10 + (window >> 3)) * (1 + (window & 7) / 8);
  return { size, reach, hasChecksum: (descriptor & 4) !== 0 };
}

// Room beyond what is kept: the more, the less often it is moved.
const MAX_ROOM = 1 << 25;

/** Makes room for a block. What no offset reaches any more goes; memory grows with what was decoded, not with a claim. */
function makeRoom(output: Output, reach: number): void {
  const { bytes, end } = output;
  if (end + MAX_BLOCK <= bytes.length) return;
  const kept = Math.min(end, reach);
  const wanted = kept + Math.max(MAX_BLOCK, Math.min(kept, MAX_ROOM));
  if (wanted > bytes.length) {
    output.bytes = new Uint8Array(wanted);
    output.bytes.set(bytes.subarray(end - kept, end));
  } else bytes.copyWithin(0, end - kept, end);
  output.end = kept;
}
