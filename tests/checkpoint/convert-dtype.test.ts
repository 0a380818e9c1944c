import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { convertFloats, decodeFloats, encodeFloats } from "../../runtime/checkpoint/convert-dtype.ts";

// The oracle: a format is the ascending list of its finite non-negative values, and rounding is a search in it.
type Oracle = {
  readonly finite: readonly number[];
  readonly values: readonly number[];
  readonly over: "infinity" | "nan";
};

function oracle(exponentBits: number, mantissaBits: number, kind: "ieee" | "fn" | "fnuz"): Oracle {
  const bias = 2 ** (exponentBits - 1) - (kind === "fnuz" ? 0 : 1);
  const values: number[] = [];
  for (const sign of [1, -1]) {
    for (let exponent = 0; exponent < 2 ** exponentBits; exponent++) {
      for (let mantissa = 0; mantissa < 2 ** mantissaBits; mantissa++) {
        const fraction = mantissa / 2 ** mantissaBits;
        const magnitude =
          exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
        const isTop = exponent === 2 ** exponentBits - 1;
        if (kind === "ieee" && isTop) values.push(mantissa === 0 ? sign * Infinity : Number.NaN);
        else if (kind === "fn" && isTop && mantissa === 2 ** mantissaBits - 1) values.push(Number.NaN);
        else if (kind === "fnuz" && sign < 0 && magnitude === 0) values.push(Number.NaN);
        else values.push(sign * magnitude);
      }
    }
  }
  const finite = values.slice(0, values.length / 2).filter(Number.isFinite);
  return { finite, values, over: kind === "ieee" ? "infinity" : "nan" };
}

// Nearest in the list; between two equally near the one at an even place, where the code's last bit is 0.
function nearest({ finite, over }: Oracle, value: number): number {
  const magnitude = Math.abs(value);
  const largest = finite.at(-1)!;
  const step = largest - finite.at(-2)!;
  const overflows =
    magnitude > largest + step / 2 || (magnitude === largest + step / 2 && finite.length % 2 === 0);
  if (Number.isNaN(value)) return Number.NaN;
  if (overflows || magnitude === Infinity) return over === "nan" ? Number.NaN : Math.sign(value) * Infinity;
  let low = 0;
  let high = finite.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (finite[middle]! <= magnitude) low = middle;
    else high = middle - 1;
  }
  const above = Math.min(low + 1, finite.length - 1);
  const [down, up] = [magnitude - finite[low]!, finite[above]! - magnitude];
  const index = down < up || above === low ? low : up < down ? above : low % 2 === 0 ? low : above;
  return (value < 0 || Object.is(value, -0) ? -1 : 1) * finite[index]!;
}

const FORMATS = [
  ["F16", oracle(5, 10, "ieee")],
  ["BF16", oracle(8, 7, "ieee")],
  ["F8_E5M2", oracle(5, 2, "ieee")],
  ["F8_E4M3", oracle(4, 3, "fn")],
  ["F8_E5M2FNUZ", oracle(5, 2, "fnuz")],
  ["F8_E4M3FNUZ", oracle(4, 3, "fnuz")],
] as const;

const bitsToF32 = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;

function decode(
  dtype: (typeof FORMATS)[number][0] | "F8_E8M0",
  bytes: Uint8Array,
  count: number,
): Float32Array {
  const out = new Float32Array(count);
  decodeFloats(dtype, bytes, out);
  return out;
}

test.each(FORMATS)("every code of %s decodes to its value", (dtype, { values }) => {
  const codes = values.length > 256 ? Uint16Array.from(values.keys()) : Uint8Array.from(values.keys());
  const out = decode(dtype, new Uint8Array(codes.buffer), values.length);
  const wrong = values.findIndex((value, i) => !Object.is(out[i], value));
  expect(wrong).toBe(-1);
});

test.each(FORMATS)("every value of %s encodes back to its code", (dtype, { values }) => {
  const bytes = encodeFloats(dtype, Float32Array.from(values));
  const codes = values.length > 256 ? new Uint16Array(bytes.buffer) : bytes;
  const wrong = values.findIndex((value, code) => !Number.isNaN(value) && codes[code] !== code);
  expect(wrong).toBe(-1);
});

test.each(FORMATS)("f32 to %s rounds to nearest even", (dtype, format) => {
  const isFnuz = dtype.endsWith("FNUZ");
  const near = fc.tuple(fc.constantFrom(...format.finite), fc.integer({ min: -2, max: 2 }), fc.boolean());
  const halfway = fc
    .nat(format.finite.length - 2)
    .map((i) => (format.finite[i]! + format.finite[i + 1]!) / 2);
  const value = fc.oneof(
    fc.integer({ min: 0, max: 0xffffffff }).map(bitsToF32),
    fc.tuple(halfway, fc.integer({ min: -1, max: 1 }), fc.boolean()).map(nudge),
    near.map(nudge),
    fc.constantFrom(0, -0, Infinity, -Infinity, Number.NaN, 2 ** -149, -(2 ** -149), 3.4028234663852886e38),
  );
  fc.assert(
    fc.property(value, (x) => {
      const expected = nearest(format, x);
      const [found] = decode(dtype, encodeFloats(dtype, Float32Array.of(x)), 1);
      if (isFnuz && expected === 0) expect(found).toBe(0);
      else expect(found).toBe(expected);
    }),
    { numRuns: 2000 },
  );
});

// A value moved by a few f32 steps, in either sign.
function nudge([value, steps, isNegative]: [number, number, boolean]): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  return (isNegative ? -1 : 1) * bitsToF32(Math.max(0, bits + steps));
}

test("a NaN stays a quiet NaN in bf16, whatever its payload", () => {
  const values = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff, 0x7fc00000).buffer);
  expect([...new Uint16Array(encodeFloats("BF16", values).buffer)]).toEqual([0x7fc0, 0xffff, 0x7fc0]);
});

test("a NaN stays a quiet NaN in f16 too, and its sign and payload come and go", () => {
  const words = [0x7f800001, 0xff800001, 0xffffffff, 0x7fc00000, 0x7fe02000];
  const codes = [0x7e00, 0xfe00, 0xffff, 0x7e00, 0x7f01];
  const values = new Float32Array(Uint32Array.from(words).buffer);
  expect([...new Uint16Array(encodeFloats("F16", values).buffer)]).toEqual(codes);
  const stored = new Uint8Array(Uint16Array.of(0x7c01, ...codes.slice(1)).buffer);
  expect([...new Uint32Array(decode("F16", stored, codes.length).buffer)]).toEqual([
    0x7fc02000, 0xffc00000, 0xffffe000, 0x7fc00000, 0x7fe02000,
  ]);
});

test("F8_E8M0 is a bare exponent", () => {
  expect([...decode("F8_E8M0", Uint8Array.of(0, 126, 127, 128, 254, 255), 6)]).toEqual([
    2 ** -127,
    0.5,
    1,
    2,
    2 ** 127,
    Number.NaN,
  ]);
});

test("F64 is rounded to the nearest f32 and F32 is copied bit by bit", () => {
  const doubles = Float64Array.of(0.1, 1e300, 1 + 2 ** -24);
  const out = new Float32Array(4);
  decodeFloats("F64", new Uint8Array(doubles.buffer), out, 1);
  expect([...out]).toEqual([0, Math.fround(0.1), Infinity, 1]);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
      const one = new Float32Array(1);
      decodeFloats("F32", bytes, one);
      expect(encodeFloats("F32", one)).toEqual(bytes);
    }),
  );
});

test("bytes that lie at an odd address decode the same", () => {
  const askew = Uint8Array.of(9, 0x80, 0x3f, 0x00, 0x40).subarray(1);
  expect([...decode("BF16", askew, 2)]).toEqual([1, 2]);
});

test("from one dtype to another, however many and wherever they lie, is through f32", () => {
  const names = ["F64", "F32", ...FORMATS.map(([name]) => name)] as const;
  const lengths = fc.oneof(fc.nat(20), fc.integer({ min: 16_380, max: 33_000 }));
  const room = new Uint8Array(8 * 33_000);
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.constantFrom(...names),
      lengths,
      fc.integer(),
      fc.nat(9),
      (from, to, length, seed, shift) => {
        const values = Float32Array.from({ length }, (_, i) => Math.sin(i + seed) * 2 ** ((i % 40) - 20));
        const stored = encodeFloats(from, values);
        const moved = new Uint8Array(stored.length + shift);
        moved.set(stored, shift);
        const passing = new Float32Array(length);
        decodeFloats(from, stored, passing);
        const found = convertFloats(from, moved.subarray(shift), to, (size) => room.subarray(0, size));
        expect(Buffer.compare(found, encodeFloats(to, passing))).toBe(0);
        expect(found.buffer).toBe(room.buffer);
      },
    ),
  );
});
