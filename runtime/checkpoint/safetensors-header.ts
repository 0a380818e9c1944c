// The header of a safetensors file: its dtypes, its entries, and every way it can be wrong.

import { fail } from "../../compiler/diag.ts";
import { isRecord, scanJson } from "../../compiler/json.ts";
import { decodeUtf8 } from "../utf8.ts";
import { attempt, type OnDamage, refuse } from "./damage.ts";

const BITS = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
} as const;

/** An element type as safetensors spells it. */
export type SafetensorsDType = keyof typeof BITS;

/** Bits per element. */
export const bitsOf = (dtype: SafetensorsDType): number => BITS[dtype];

/** Whether a name is a dtype of safetensors. */
export const isSafetensorsDType = (name: unknown): name is SafetensorsDType =>
  typeof name === "string" && Object.hasOwn(BITS, name);

/** Where one tensor lies; `start` and `end` are byte offsets in `file`. */
export type Entry = {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly file: string;
  readonly start: number;
  readonly end: number;
};

/** What the header of one file says. */
export type Header = { readonly entries: readonly Entry[]; readonly metadata: ReadonlyMap<string, string> };

/** The longest header the reference reader accepts. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Bytes that a tensor takes, or nothing when the count is not exact or not whole bytes. */
export function byteLength(dtype: SafetensorsDType, shape: readonly number[]): number | undefined {
  // A zero anywhere makes the tensor empty, however large the other sizes are.
  const elements = shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
  const bits = elements * bitsOf(dtype);
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

/** Length of the header's JSON, from the first eight bytes of a file of `size` bytes. */
export function headerLength(file: string, first: Uint8Array, size: number): number {
  if (first.length < 8) {
    fail({
      code: "safetensors-too-short",
      message: `not a safetensors file: expected at least 8 bytes, found ${size}`,
      at: { file },
    });
  }
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  const room = size - 8;
  if (length > BigInt(Math.min(room, MAX_HEADER_BYTES))) {
    const limit =
      length > BigInt(room) ? `the file has ${room} bytes left` : `the limit is ${MAX_HEADER_BYTES}`;
    fail({
      code: "safetensors-header-length",
      message: `the header claims ${length} bytes, but ${limit}`,
      at: { file },
      help: "the file is truncated or is not a safetensors file",
    });
  }
  return Number(length);
}

/**
 * Checks the header's JSON against the file's size; the tensors must tile the data area exactly. A tensor that ends
 * beyond the file is damage, anything else fails: a header with one lie in it is not to be trusted.
 */
export function parseHeader(
  file: string,
  json: Uint8Array,
  size: number,
  onDamage: OnDamage = refuse,
): Header {
  const table = parseTable(file, json);
  const dataStart = 8 + json.length;
  const metadata = parseMetadata(file, table["__metadata__"]);
  const entries = Object.entries(table)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, fields]) => parseEntry({ file, name, dataStart }, fields));
  checkTiling(file, entries, { start: dataStart, end: size }, onDamage);
  return { entries, metadata };
}

function parseTable(file: string, json: Uint8Array): Readonly<Record<string, unknown>> {
  const text = decodeUtf8({ file, part: "header" }, json);
  const { fault, repeated } = scanJson(text);
  if (fault) {
    fail({
      code: "safetensors-header-json",
      message: `the header is not JSON: expected ${fault.expected} at its character ${fault.offset}`,
      at: { file },
    });
  }
  const [again] = repeated;
  if (again) {
    const what = again.depth === 1 ? `tensor \`${again.key}\`` : `field \`${again.key}\``;
    fail({ code: "safetensors-duplicate", message: `duplicate ${what} in the header`, at: { file } });
  }
  const table: unknown = JSON.parse(text);
  if (!isRecord(table)) {
    fail({ code: "safetensors-header-json", message: "the header is not a JSON object", at: { file } });
  }
  return table;
}

function parseMetadata(file: string, metadata: unknown): ReadonlyMap<string, string> {
  if (metadata === undefined) return new Map();
  const problem = "`__metadata__` must map strings to strings";
  if (!isRecord(metadata)) fail({ code: "safetensors-metadata", message: problem, at: { file } });
  return new Map(
    Object.entries(metadata).map(([key, value]) => {
      if (typeof value === "string") return [key, value];
      return fail({
        code: "safetensors-metadata",
        message: `${problem}, found ${show(value)} at \`${key}\``,
        at: { file },
      });
    }),
  );
}

type Site = { readonly file: string; readonly name: string; readonly dataStart: number };

// What a hostile header holds may be huge or deep: shown are a few elements and a few letters.
function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value))
    return `[${value.slice(0, 8).map(show).join(", ")}${value.length > 8 ? ", …" : ""}]`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

function parseEntry({ file, name, dataStart }: Site, fields: unknown): Entry {
  const bad = (code: string, message: string): never =>
    fail({ code, message: `tensor \`${name}\`: ${message}`, at: { file } });
  if (!isRecord(fields)) return bad("safetensors-entry", `expected an object, found ${show(fields)}`);
  const { dtype, shape, data_offsets: offsets } = fields;
  for (const field of ["dtype", "shape", "data_offsets"]) {
    if (!Object.hasOwn(fields, field)) return bad("safetensors-entry", `\`${field}\` is missing`);
  }
  if (!isSafetensorsDType(dtype)) return bad("safetensors-dtype", `unknown dtype ${show(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    return bad("safetensors-shape", `expected a shape of whole numbers, found ${show(shape)}`);
  }
  const [begin, end, more] = Array.isArray(offsets) ? offsets : [];
  if (!isSize(begin) || !isSize(end) || more !== undefined || begin > end) {
    return bad("safetensors-offsets", `expected \`data_offsets\` [begin, end], found ${show(offsets)}`);
  }
  const bytes = byteLength(dtype, shape);
  if (end - begin !== bytes) {
    const needed = bytes === undefined ? "no whole, countable number of" : `${bytes}`;
    return bad(
      "safetensors-size",
      `${dtype} ${show(shape)} takes ${needed} bytes, but data_offsets span ${end - begin}`,
    );
  }
  return { name, dtype, shape, file, start: dataStart + begin, end: dataStart + end };
}

/** What fails to be read because the file ends at byte `size` already. */
export function failTruncated({ file, name, end }: Entry, size: number): never {
  return fail({
    code: "safetensors-truncated",
    message: `tensor \`${name}\` ends at byte ${end}, but the file ends at ${size}`,
    at: { file },
    help: "the file is truncated: copy or download it again",
  });
}

function checkTiling(
  file: string,
  entries: readonly Entry[],
  data: { readonly start: number; readonly end: number },
  onDamage: OnDamage,
): void {
  let at = data.start;
  let before = "the header";
  for (const entry of entries.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    const { name, start, end } = entry;
    if (start < at) {
      fail({
        code: "safetensors-overlap",
        message: `tensor \`${name}\` overlaps ${before} by ${at - start} bytes`,
        at: { file },
      });
    }
    if (start > at) {
      fail({
        code: "safetensors-hole",
        message: `tensor \`${name}\` leaves a hole of ${start - at} bytes after ${before}`,
        at: { file },
      });
    }
    if (end > data.end) attempt(onDamage, () => failTruncated(entry, data.end));
    [at, before] = [end, `\`${name}\``];
  }
  if (at < data.end) {
    fail({
      code: "safetensors-hole",
      message: `${data.end - at} bytes after ${before} belong to no tensor`,
      at: { file },
    });
  }
}
