// Text out of UTF-8 bytes; what is not UTF-8 is refused, never replaced.

import { isUtf8 } from "node:buffer";
import { fail, type Place } from "../compiler/diag.ts";

/** The text that UTF-8 bytes spell; `at` is where they are. */
export function decodeUtf8(at: Place, bytes: Uint8Array): string {
  if (!isUtf8(bytes)) {
    fail({
      code: "file-not-utf8",
      message: `not UTF-8 text: bad byte at offset ${firstBadByte(bytes)}`,
      at,
    });
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

// Where the first malformed character starts: bisects for the longest prefix that may still go on well.
function firstBadByte(bytes: Uint8Array): number {
  const whole = (length: number): number => length - unfinishedTail(bytes.subarray(0, length));
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (isUtf8(bytes.subarray(0, whole(middle)))) good = middle;
    else bad = middle;
  }
  return whole(good);
}

// How many bytes at the end start a character that is not complete yet, if they may start one at all.
function unfinishedTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const width = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return byte >= 0xc2 && byte <= 0xf4 && back < width ? back : 0;
    }
  }
  return 0;
}
