import {
  constants,
  deflateRawSync,
  deflateSync,
  gunzipSync,
  gzipSync,
  inflateRawSync,
  inflateSync,
} from "node:zlib";
import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { gunzip, type Unpack, unzlib } from "../../runtime/checkpoint/gzip.ts";
import { errno } from "../../runtime/files.ts";

/** What an unpacker refuses with. */
class Refused extends Error {}

const refuse = (problem: string): never => {
  throw new Refused(problem);
};

/** Bytes in pieces of a size. */
function* inPieces(bytes: Uint8Array, size: number): Generator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

function unpacked(unpack: Unpack, encoded: Uint8Array, limit: number, size = 1 << 20): Buffer {
  // A piece is good only until the next.
  return Buffer.concat(Array.from(unpack(inPieces(encoded, size), limit, refuse), (piece) => piece.slice()));
}

/** Why it is refused; nothing if it is not. */
function refusal(unpack: Unpack, encoded: Uint8Array, limit = 1 << 20): string | undefined {
  try {
    unpacked(unpack, encoded, limit);
    return undefined;
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
}

const WRAPPINGS = [
  { name: "gzip", unpack: gunzip, pack: gzipSync, byZlib: gunzipSync },
  { name: "zlib", unpack: unzlib, pack: deflateSync, byZlib: inflateSync },
] as const;

/** Bytes of many kinds: noise, few values, runs, words that come again soon or late. */
const samplesOf = (most: number): fc.Arbitrary<Uint8Array> =>
  fc
    .record({
      seed: fc.integer(),
      length: fc.oneof(fc.nat(300), fc.nat(most)),
      values: fc.constantFrom(1, 2, 20, 256),
      run: fc.constantFrom(1, 3, 300),
      period: fc.constantFrom(1, 7, 258, 20_000, 32_768, 32_769, 1 << 20),
    })
    .map(({ seed, length, values, run, period }) => {
      const bytes = new Uint8Array(length);
      for (let i = 0; i < length; i++)
        bytes[i] = (Math.imul(Math.floor((i % period) / run) ^ seed, 0x9e3779b1) >>> 15) % values;
      return bytes;
    });

const options = fc.record({
  level: fc.integer({ min: 0, max: 9 }),
  memLevel: fc.integer({ min: 1, max: 9 }),
  windowBits: fc.integer({ min: 9, max: 15 }),
  strategy: fc.constantFrom(
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FILTERED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
    constants.Z_FIXED,
  ),
});

describe.each(WRAPPINGS)("$name", ({ unpack, pack, byZlib }) => {
  test("unpacks what was packed in any way, whatever pieces it comes in", () => {
    fc.assert(
      fc.property(samplesOf(400_000), options, fc.constantFrom(1, 7, 1000, 1 << 20), (bytes, how, size) => {
        const encoded = pack(bytes, how);
        expect(unpacked(unpack, encoded, bytes.length, size).equals(bytes)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test("refuses more than the limit, before it is given", () => {
    const encoded = pack(new Uint8Array(1 << 24));
    let given = 0;
    const unpackAll = (): void => {
      for (const piece of unpack([encoded], 1 << 20, refuse)) given += piece.length;
    };
    expect(unpackAll).toThrow("unpacks to more than the expected 1048576 bytes");
    expect(given).toBeLessThanOrEqual(1 << 20);
  });

  // Bytes of gzip's header that say when and where it was packed are under no check sum, and an Adler-32 misses some changes.
  test("refuses a changed or missing byte, or reads it as zlib does", () => {
    fc.assert(
      fc.property(
        samplesOf(4000),
        options,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (bytes, how, place, by) => {
          const encoded = pack(bytes, how);
          const at = place % encoded.length;
          expect(refusal(unpack, encoded.subarray(0, at))).toMatch(/^not whole (gzip|zlib) data: /);
          const changed = Buffer.from(encoded);
          changed[at] = (changed[at] ?? 0) ^ by;
          if (refusal(unpack, changed) === undefined)
            expect(unpacked(unpack, changed, 1 << 20).equals(byZlib(changed))).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });
});

// The bytes before and behind a member's DEFLATE data.
const [HEADER, TRAILER] = [10, 8];

/** A member around DEFLATE data, up to the end of it, with the trailer that is right, if zlib unpacks it. */
function memberAround(deflated: Uint8Array): Buffer {
  const { buffer, engine } = unpackedByZlib(deflated) ?? {};
  const plain = gzipSync(buffer ?? Buffer.of());
  const used = deflated.subarray(0, engine?.bytesWritten);
  return Buffer.concat([plain.subarray(0, HEADER), used, plain.subarray(-TRAILER)]);
}

/** What `info` makes of a result; Node's types do not say so. */
type WithInfo = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };

function unpackedByZlib(deflated: Uint8Array): WithInfo | undefined {
  try {
    return inflateRawSync(deflated, { info: true }) as unknown as WithInfo;
  } catch {
    return undefined;
  }
}

/** What it gives, or nothing where it refuses. */
function attempt(run: () => Buffer): string | undefined {
  try {
    return run().toString("hex");
  } catch (error) {
    if (error instanceof Refused || errno(error) !== undefined) return undefined;
    throw error;
  }
}

test("with a check sum that is right, damaged data is refused exactly where zlib refuses it, and else reads as it does", () => {
  const noise = fc.uint8Array({ minLength: 1, maxLength: 80 });
  const changed = fc
    .tuple(samplesOf(1000), options, fc.nat(), fc.nat(255))
    .map(([bytes, how, place, value]) => {
      const encoded = deflateRawSync(bytes, how);
      encoded[place % encoded.length] = value;
      return encoded;
    });
  fc.assert(
    fc.property(fc.oneof(noise, changed), fc.constantFrom(1, 300, 1 << 20), (encoded, size) => {
      const member = memberAround(encoded);
      expect(attempt(() => unpacked(gunzip, member, 1 << 20, size))).toBe(attempt(() => gunzipSync(member)));
    }),
    { numRuns: 1000 },
  );
});

test("members of gzip one after another are one text; what is no member is refused", () => {
  const [a, b] = [Buffer.from("a sentence, "), Buffer.alloc(100_000, "and another, ")];
  const both = Buffer.concat([gzipSync(a), gzipSync(new Uint8Array()), gzipSync(b, { level: 0 })]);
  expect(unpacked(gunzip, both, 1 << 20).equals(Buffer.concat([a, b]))).toBe(true);
  expect(refusal(gunzip, both, a.length + b.length - 1)).toContain("more than the expected");
  expect(refusal(gunzip, Buffer.concat([both, Buffer.of(0, 0)]))).toBe(
    "not whole gzip data: incorrect header check",
  );
  expect(refusal(unzlib, Buffer.concat([deflateSync(a), Buffer.of(0)]))).toBe(
    "not whole zlib data: there are bytes after its end",
  );
  expect(refusal(gunzip, new Uint8Array())).toBe("not whole gzip data: the data is cut short");
});

/** A member with all that its header may have. */
function memberWithAll(bytes: Uint8Array): Buffer {
  const plain = gzipSync(bytes);
  const head = Buffer.concat([
    Buffer.of(0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 1, 2, 3, 4, 0, 3),
    Buffer.of(3, 0, 7, 8, 9),
    Buffer.from("weights\0made here\0"),
  ]);
  // The lower half of a CRC-32.
  const sum = gzipSync(head).subarray(-TRAILER, -6);
  return Buffer.concat([head, sum, plain.subarray(HEADER)]);
}

test("a header's name, comment, extra field and check sum are read past, and the sum is checked", () => {
  const bytes = Buffer.from("what it holds");
  const member = memberWithAll(bytes);
  expect(gunzipSync(member).equals(bytes)).toBe(true);
  expect(unpacked(gunzip, member, 100).equals(bytes)).toBe(true);
  const named = Buffer.from(member);
  named[17] = 0x57;
  expect(refusal(gunzip, named)).toContain("header crc mismatch");
});

test.each([
  ["another method", (b: Buffer) => b.writeUInt8(7, 2), "unknown compression method"],
  ["a reserved flag", (b: Buffer) => b.writeUInt8(0x20, 3), "unknown header flags set"],
  ["another sum", (b: Buffer) => b.writeUInt32LE(5, b.length - 8), "incorrect data check"],
  ["another length", (b: Buffer) => b.writeUInt32LE(5, b.length - 4), "incorrect length check"],
])("a member with %s is refused", (_claim, change, wanted) => {
  const member = gzipSync(Buffer.from("some text"));
  change(member);
  expect(refusal(gunzip, member)).toContain(wanted);
});

test.each([
  ["a dictionary", [0x78, 0x20 | 27], "it asks for a dictionary"],
  ["another method", [0x77, 0x01], "unknown compression method"],
])("zlib's data with %s is refused", (_claim, head, wanted) => {
  const [method = 0, flags = 0] = head;
  const rest = (method * 256 + (flags & 0xe0)) % 31;
  const checked = Buffer.of(method, (flags & 0xe0) + ((31 - rest) % 31));
  expect(refusal(unzlib, Buffer.concat([checked, deflateSync(Buffer.from("x")).subarray(2)]))).toContain(
    wanted,
  );
});

// Each is the one thing that is wrong with a block; bits are written lowest first.
test.each([
  ["a block of unknown kind", "1 11", "invalid block type"],
  ["a stored block's length", "1 00 00000 1000000000000000 1000000000000000", "invalid stored block lengths"],
  ["a length of unknown kind", "1 10 11000110", "invalid literal/length code"],
  ["a distance of unknown kind", "1 10 0000001 11110", "invalid distance code"],
  ["a distance to before the first byte", "1 10 0000001 00000", "invalid distance too far back"],
  ["a code with too many words", "1 01 00000 00000 0000 100 100 100 000", "invalid code lengths set"],
  ["a code with too few words", "1 01 00000 00000 0000 010 010 010 000", "invalid code lengths set"],
  ["a length that repeats none", "1 01 00000 00000 0000 100 100 000 000 0", "invalid bit length repeat"],
])("%s is refused", (_claim, text, wanted) => {
  const bits = `${text.replaceAll(" ", "")}`.padEnd(400, "0");
  const body = Buffer.from(
    (bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt([...byte].reverse().join(""), 2)),
  );
  const member = Buffer.concat([gzipSync(new Uint8Array()).subarray(0, HEADER), body]);
  expect(() => gunzipSync(member)).toThrow(wanted);
  expect(refusal(gunzip, member)).toBe(`not whole gzip data: ${wanted}`);
});
