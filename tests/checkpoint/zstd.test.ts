import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { type Place, Q3Error } from "../../compiler/diag.ts";
import { crc32c } from "../../runtime/checkpoint/crc32c.ts";
import { type Encoded, inMemory } from "../../runtime/checkpoint/kv.ts";
import { decodeZstd as decodeEncoded } from "../../runtime/checkpoint/zstd.ts";
import { failure } from "./support.ts";

const decodeZstd = (bytes: Uint8Array, limit: number, at: Place): Uint8Array =>
  decodeEncoded(inMemory(bytes), limit, at);

// Made by tests/oracles/zstd_golden.py.
const GOLDENS: Readonly<Record<string, { frame: string; sha256: string; length: number }>> = JSON.parse(
  fs.readFileSync(join(import.meta.dirname, "zstd-goldens.json"), "utf8"),
);
const frames = Object.entries(GOLDENS).map(([name, { frame, ...rest }]) => ({
  name,
  bytes: Uint8Array.from(Buffer.from(frame, "base64")),
  ...rest,
}));

test.each(frames)("$name", ({ bytes, sha256, length }) => {
  const data = decodeZstd(bytes, length, { file: "x" });
  expect(data.length).toBe(length);
  expect(createHash("sha256").update(data).digest("hex")).toBe(sha256);
});

test("frames one after another, with one to skip between them, are one text", () => {
  const [a, b] = [
    frames.find(({ name }) => name === "words, level 1")!,
    frames.find(({ name }) => name === "random, level 3")!,
  ];
  const skipped = Uint8Array.of(0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
  const data = decodeZstd(Buffer.concat([a.bytes, skipped, b.bytes]), 1 << 20, { file: "x" });
  const whole = Buffer.concat([
    decodeZstd(a.bytes, a.length, { file: "x" }),
    decodeZstd(b.bytes, b.length, { file: "x" }),
  ]);
  expect(Buffer.compare(data, whole)).toBe(0);
});

test("more than the limit is refused, whether or not the header says it", () => {
  for (const { bytes, length } of frames.filter(({ length }) => length > 0)) {
    expect(failure(() => decodeZstd(bytes, length - 1, { file: "a file", part: "a chunk" }))).toMatchObject({
      code: "zstd-too-large",
      message: expect.stringMatching(/^a file: zstd-too-large: a chunk: /),
    });
  }
});

test("encoded bytes are read from the first to the last, a window at a time", () => {
  const data = randomBytes(7 << 20);
  const header = Buffer.from("28b52ffd0000", "hex");
  const sizes = Array.from({ length: 100 }, (_, i) => (i * 40_503) % (1 << 17));
  let at = 0;
  const blocks = sizes.flatMap((size, i) => {
    const block = Buffer.alloc(3);
    block.writeUIntLE((size << 3) | (i === sizes.length - 1 ? 1 : 0), 0, 3);
    at += size;
    return [block, data.subarray(at - size, at)];
  });
  const encoded = Buffer.concat([header, ...blocks]);
  expect(at).toBeLessThan(data.length);
  let [largest, read] = [0, 0];
  const counted: Encoded = {
    size: encoded.length,
    read(range) {
      const bytes = inMemory(encoded).read(range);
      largest = Math.max(largest, bytes.length);
      read += bytes.length;
      return bytes;
    },
  };
  expect(Buffer.compare(decodeEncoded(counted, data.length, { file: "x" }), data.subarray(0, at))).toBe(0);
  expect(largest).toBe(1 << 19);
  expect(read).toBeLessThan(1.2 * encoded.length);
});

test("no input at all is no frame", () => {
  expect(failure(() => decodeZstd(new Uint8Array(), 10, { file: "x" })).code).toBe("zstd-damaged");
});

test("damage gives one of our errors, or as many bytes as allowed, soon", () => {
  const damage = fc.record({
    pick: fc.nat(frames.length - 1),
    at: fc.nat(),
    value: fc.nat(255),
    cut: fc.boolean(),
  });
  fc.assert(
    fc.property(damage, ({ pick, at, value, cut }) => {
      const { bytes, length } = frames[pick]!;
      const place = at % bytes.length;
      const damaged = bytes.slice(0, cut ? place : bytes.length);
      if (!cut) damaged[place] = value;
      try {
        expect(decodeZstd(damaged, length, { file: "a place" }).length).toBeLessThanOrEqual(length);
      } catch (error) {
        if (!(error instanceof Q3Error)) throw error;
        expect(error.message).toContain("a place");
      }
    }),
    { numRuns: 300 },
  );
});

// RFC 3720, B.4, and the check value that catalogues of checksums list.
test.each([
  [new TextEncoder().encode("123456789"), 0xe3069283],
  [new Uint8Array(32), 0x8a9136aa],
  [new Uint8Array(32).fill(0xff), 0x62a8ab43],
  [Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
])("CRC-32C of known bytes", (bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected);
});

function bitByBit(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test("CRC-32C is the same from any address and in any parts", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(9), fc.nat(), (bytes, shift, cut) => {
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      const view = moved.subarray(shift);
      const at = cut % (bytes.length + 1);
      expect(crc32c(view)).toBe(bitByBit(bytes));
      expect(crc32c(view.subarray(at), crc32c(view.subarray(0, at)))).toBe(bitByBit(bytes));
    }),
  );
});

// Long ones are shortened first, in pieces of 64 KiB.
test.each([26_751, 26_752, 26_753, 3344 + 65_536, 3344 + 65_536 + 15, 3344 + 65_537 + 15, 300_001])(
  "CRC-32C of %d bytes, after others",
  (length) => {
    const bytes = new Uint8Array(length + 3).map((_, i) => Math.imul(i + length, 0x9e3779b1) >>> 13);
    for (const before of [0, 0x12345678, 0xffffffff])
      expect(crc32c(bytes.subarray(3), before)).toBe(bitByBit(bytes.subarray(3), before));
  },
);
