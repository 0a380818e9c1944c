// Decodes DEFLATE data (RFC 1951). A decoder of q3c's own because Node's gives pieces only to who waits for them, and
// checkpoints are read synchronously. It goes over the data once and holds no more of it than distances may refer back to;
// every length, distance and code is checked.
import {
  alignBits,
  type Bits,
  type Code,
  codeOf,
  findLong,
  lastStart,
  requireThere,
  SHORT_MASK,
  takeBits,
  takeBytes,
  takeIn,
  takeSymbol,
} from "./inflate-codes.ts";
import { damage } from "./pieces.ts";

/** No data yields more bytes than this per byte of its own. */
export const MAX_RATIO = 1032;

// How far distances go back, and how much they repeat at most.
const WINDOW = 1 << 15;
const MAX_LENGTH = 258;
const ROOM = WINDOW + (1 << 17);
// Up to here there is room for what any symbol stands for.
const LAST_START = ROOM - MAX_LENGTH;

/** Decoded bytes up to `end`, of which those before `given` were given. */
type Output = { readonly bytes: Uint8Array; end: number; given: number };

/** The bytes that data stands for, piece by piece. */
export function* inflate(bits: Bits): Generator<Uint8Array, void> {
  const output: Output = { bytes: new Uint8Array(ROOM), end: 0, given: 0 };
  for (let isLast = false; !isLast; ) {
    isLast = takeBits(bits, 1) === 1;
    const kind = takeBits(bits, 2);
    if (kind === 3) damage("a block of unknown kind");
    if (kind === 0) yield* copyStored(bits, output);
    else {
      const codes = kind === 1 ? FIXED : readCodes(bits);
      while (!decodeSymbols(bits, codes, output)) yield* give(output);
    }
  }
  yield* give(output);
}

/** Gives what was not given yet. Where room runs out, what no distance reaches any more goes. */
function* give(output: Output): Generator<Uint8Array, void> {
  const { bytes, given, end } = output;
  if (given < end) yield bytes.subarray(given, end);
  output.given = end;
  if (end <= LAST_START) return;
  bytes.copyWithin(0, end - WINDOW, end);
  output.end = WINDOW;
  output.given = WINDOW;
}

function* copyStored(bits: Bits, output: Output): Generator<Uint8Array, void> {
  alignBits(bits);
  const [length, complement] = [takeBits(bits, 16), takeBits(bits, 16)];
  if ((length ^ complement) !== 0xffff) damage("the length of a stored block contradicts its complement");
  alignBits(bits);
  for (let left = length; left > 0; ) {
    if (output.end > LAST_START) yield* give(output);
    const part = takeBytes(bits, Math.min(left, ROOM - output.end));
    output.bytes.set(part, output.end);
    output.end += part.length;
    left -= part.length;
  }
}

type Codes = { readonly literals: Code; readonly distances: Code };

const FIXED: Codes = {
  literals: codeOf(Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))),
  distances: codeOf(new Array<number>(32).fill(5)),
};

// The order in which the words of the code for lengths of words have their lengths.
const LENGTHS_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const END = 256;

function readCodes(bits: Bits): Codes {
  const [literals, distances] = [takeBits(bits, 5) + 257, takeBits(bits, 5) + 1];
  const given = LENGTHS_ORDER.slice(0, takeBits(bits, 4) + 4);
  const own = new Array<number>(LENGTHS_ORDER.length).fill(0);
  for (const symbol of given) own[symbol] = takeBits(bits, 3);
  const code = codeOf(own);
  const lengths: number[] = [];
  while (lengths.length < literals + distances) {
    const symbol = takeSymbol(bits, code);
    if (symbol < 16) lengths.push(symbol);
    else if (symbol === 16) {
      const last = lengths.at(-1) ?? damage("a length repeats one before the first");
      for (let times = 3 + takeBits(bits, 2); times > 0; times--) lengths.push(last);
    } else
      for (let times = symbol === 17 ? 3 + takeBits(bits, 3) : 11 + takeBits(bits, 7); times > 0; times--)
        lengths.push(0);
  }
  if (lengths.length > literals + distances) damage("there are more lengths than words");
  if (lengths[END] === 0) damage("a block has no end");
  return { literals: codeOf(lengths.slice(0, literals)), distances: codeOf(lengths.slice(literals)) };
}

// The least of each class of lengths and of distances, and the bits that say how much more it is.
const LENGTH_BITS = Uint8Array.from({ length: 29 }, (_, i) => (i < 8 || i === 28 ? 0 : (i >> 2) - 1));
const LENGTHS = LENGTH_BITS.map((bits, i) => (i < 8 ? i : i === 28 ? 255 : (4 + (i & 3)) << bits));
const DISTANCE_BITS = Uint8Array.from({ length: 30 }, (_, i) => (i < 4 ? 0 : (i >> 1) - 1));
const DISTANCES = Uint16Array.from(DISTANCE_BITS, (bits, i) => 1 + (i < 2 ? i : (2 + (i & 1)) << bits));

/** Decodes symbols as far as there is room. Says whether the block is at its end. */
function decodeSymbols(bits: Bits, { literals, distances }: Codes, output: Output): boolean {
  const { view } = bits;
  const { bytes } = output;
  let isEnd = false;
  while (!isEnd && output.end <= LAST_START) {
    takeIn(bits);
    const last = lastStart(bits);
    let { at, hold, count } = bits;
    let { end } = output;
    while (!isEnd && at <= last && end <= LAST_START) {
      hold |= view.getUint32(at, true) << count;
      at += (31 - count) >> 3;
      count |= 24;
      let entry = literals.short[hold & SHORT_MASK] || findLong(literals, hold);
      hold >>>= entry & 15;
      count -= entry & 15;
      if (entry >> 4 < END) {
        bytes[end++] = entry >> 4;
        // Another one, if it is as simple. What is held is enough for that.
        entry = literals.short[hold & SHORT_MASK] ?? 0;
        if (entry === 0 || entry >> 4 >= END) continue;
        hold >>>= entry & 15;
        count -= entry & 15;
        bytes[end++] = entry >> 4;
        continue;
      }
      if (entry >> 4 === END) {
        isEnd = true;
        continue;
      }
      const kind = (entry >> 4) - END - 1;
      const lengthBits = LENGTH_BITS[kind] ?? damage("a length of unknown kind");
      const length = 3 + (LENGTHS[kind] ?? 0) + (hold & ((1 << lengthBits) - 1));
      hold >>>= lengthBits;
      count -= lengthBits;
      hold |= view.getUint32(at, true) << count;
      at += (31 - count) >> 3;
      count |= 24;
      entry = distances.short[hold & SHORT_MASK] || findLong(distances, hold);
      hold >>>= entry & 15;
      count -= entry & 15;
      hold |= view.getUint32(at, true) << count;
      at += (31 - count) >> 3;
      count |= 24;
      const distanceBits = DISTANCE_BITS[entry >> 4] ?? damage("a distance of unknown kind");
      const distance = (DISTANCES[entry >> 4] ?? 0) + (hold & ((1 << distanceBits) - 1));
      hold >>>= distanceBits;
      count -= distanceBits;
      if (distance > end) damage("a distance goes back beyond the first byte");
      for (let from = end - distance, to = end + length; end < to; ) bytes[end++] = bytes[from++] ?? 0;
    }
    Object.assign(bits, { at, hold, count });
    output.end = end;
    requireThere(bits);
  }
  return isEnd;
}
