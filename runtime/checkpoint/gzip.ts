// What DEFLATE data is wrapped in: members of gzip (RFC 1952), or zlib's header and trailer (RFC 1950). Both end with a
// check sum. Unpacked by pako, because Node's own decoder gives pieces only to who waits for them, and checkpoints are read
// synchronously.
import {
  Z_BUF_ERROR,
  Z_NEED_DICT,
  Z_NO_FLUSH,
  Z_OK,
  Z_STREAM_END,
  ZStream,
  zlibInflate,
  zlibInflateInit2,
  zlibInflateReset,
} from "pako";
import { openInput, type Pieces } from "./pieces.ts";

/** No data yields more bytes than this per byte of its own. */
export const MAX_RATIO = 1032;

/** Unpacks to at most `limit` bytes, piece by piece. `refuse` fails with a sentence on what is wrong. */
export type Unpack = (
  encoded: Pieces,
  limit: number,
  refuse: (problem: string) => never,
) => Generator<Uint8Array, void>;

// How much is taken in and unpacked at a time.
const PIECE = 1 << 17;

type Wrapping = {
  readonly name: string;
  /** How far distances may go back, as a power of two, and what is expected around the data, as `inflateInit2` is told. */
  readonly windowBits: number;
  /** Whether another may follow. */
  readonly isRepeated: boolean;
};

const unpackFrom = ({ name, windowBits, isRepeated }: Wrapping): Unpack =>
  function* (encoded, limit, refuse) {
    const refuseDamage = (problem: string): never => refuse(`not whole ${name} data: ${problem}`);
    const input = openInput(encoded);
    // With room for one byte more than there should be.
    const room = new Uint8Array(Math.min(PIECE, limit + 1));
    const stream = Object.assign(new ZStream(), { output: room, avail_out: room.length });
    zlibInflateInit2(stream, windowBits);
    let [given, isWhole] = [0, false];
    for (;;) {
      // Where no room was left, there may be more of what was taken in before.
      if (stream.avail_in === 0 && (isWhole || stream.avail_out > 0)) {
        if (input.isAtEnd()) break;
        stream.input = input.takeSome(PIECE);
        stream.next_in = 0;
        stream.avail_in = stream.input.length;
      }
      if (isWhole && !isRepeated) refuseDamage("there are bytes after its end");
      if (isWhole) zlibInflateReset(stream);
      stream.next_out = 0;
      stream.avail_out = room.length;
      const status = zlibInflate(stream, Z_NO_FLUSH);
      if (status === Z_NEED_DICT) refuseDamage("it asks for a dictionary, and there is none");
      // That nothing could be done without more input is no error.
      if (status !== Z_OK && status !== Z_BUF_ERROR && status !== Z_STREAM_END) refuseDamage(stream.msg);
      isWhole = status === Z_STREAM_END;
      given += stream.next_out;
      if (given > limit) refuse(`unpacks to more than the expected ${limit} bytes`);
      if (stream.next_out > 0) yield room.subarray(0, stream.next_out);
    }
    if (!isWhole) refuseDamage("the data is cut short");
  };

const WINDOW_BITS = 15;
const AS_GZIP = 16;

/** Unpacks members of gzip, one after another. */
export const gunzip = unpackFrom({ name: "gzip", windowBits: WINDOW_BITS + AS_GZIP, isRepeated: true });

/** Unpacks data of zlib's. */
export const unzlib = unpackFrom({ name: "zlib", windowBits: WINDOW_BITS, isRepeated: false });
