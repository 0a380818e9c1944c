// The fields that OCDBT's structures are made of, read within bounds and written: little-endian numbers, varints, bytes.
import { fail, type Place } from "../../../compiler/diag.ts";

/** Reads fields one after another; what does not fit is one error at `where`. */
export type FieldReader = {
  readonly where: Place;
  byte(what: string): number;
  uint32(what: string): number;
  uint64(what: string): bigint;
  /** Seven bits a byte, lowest first. Exact, or an error beyond 2^53 − 1. */
  varint(what: string): number;
  /** A varint, or nothing where it is 2^64 − 1: how a database without keys says that it has no root. */
  varintOrNone(what: string): number | undefined;
  /** A varint for how many of something follow, each taking at least `bytesEach`: never more than there is room for. */
  count(what: string, bytesEach: number): number;
  /** As many varints. */
  varints(count: number, what: string): number[];
  /** A view, not a copy. */
  bytes(length: number, what: string): Uint8Array;
  /** Whatever is left. */
  rest(): Uint8Array;
  /** Nothing may be left. */
  end(): void;
};

/** One error for whatever is wrong with the database's structures. */
export function failDamaged(where: Place, problem: string): never {
  fail({
    code: "ocdbt-damaged",
    message: problem,
    at: where,
    help: "the file is damaged, or is not an OCDBT database: copy it again from where it was written",
  });
}

/** 2^64 − 1 as a varint. */
export const NONE: readonly number[] = [...new Array<number>(9).fill(0xff), 0x01];

export function readFields(bytes: Uint8Array, where: Place): FieldReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const skip = (length: number, what: string): number => {
    if (length > bytes.length - at) {
      failDamaged(where, `${what} is cut short: expected ${length} bytes, found ${bytes.length - at}`);
    }
    at += length;
    return at - length;
  };
  const byte = (what: string): number => view.getUint8(skip(1, what));
  const varint = (what: string): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const next = byte(what);
      value += (next & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER || scale > 2 ** 63) {
        failDamaged(where, `${what} is beyond 2^53`);
      }
      if (next < 0x80) return value;
    }
  };
  return {
    where,
    byte,
    varint,
    varintOrNone(what) {
      const isNone = NONE.every((byte, i) => bytes[at + i] === byte);
      if (isNone) at += NONE.length;
      return isNone ? undefined : varint(what);
    },
    uint32: (what) => view.getUint32(skip(4, what), true),
    uint64: (what) => view.getBigUint64(skip(8, what), true),
    count(what, bytesEach) {
      const count = varint(what);
      const room = Math.floor((bytes.length - at) / bytesEach);
      if (count > room) failDamaged(where, `${what}: ${count} are claimed, but there is room for ${room}`);
      return count;
    },
    varints: (count, what) => Array.from({ length: count }, () => varint(what)),
    bytes(length, what) {
      const start = skip(length, what);
      return bytes.subarray(start, start + length);
    },
    rest() {
      const start = skip(bytes.length - at, "the rest");
      return bytes.subarray(start);
    },
    end() {
      if (at < bytes.length) failDamaged(where, `${bytes.length - at} bytes follow the last field`);
    },
  };
}

/** Collects fields. */
export type FieldWriter = {
  byte(value: number): void;
  uint32(value: number): void;
  uint32BigEndian(value: number): void;
  uint64(value: bigint): void;
  varint(value: number): void;
  varints(values: Iterable<number>): void;
  bytes(value: Uint8Array): void;
  /** What was written so far: a view, good until the next field. */
  written(): Uint8Array;
};

export function writeFields(): FieldWriter {
  let bytes = new Uint8Array(256);
  let view = new DataView(bytes.buffer);
  let end = 0;
  /** Makes room and says where it begins; only then may `bytes` and `view` be looked at. */
  const reserve = (length: number): number => {
    if (end + length > bytes.length) {
      const larger = new Uint8Array(Math.max(bytes.length * 2, end + length));
      larger.set(bytes.subarray(0, end));
      bytes = larger;
      view = new DataView(bytes.buffer);
    }
    end += length;
    return end - length;
  };
  const byte = (value: number): void => {
    const at = reserve(1);
    bytes[at] = value;
  };
  const uint32 = (value: number, isLittleEndian: boolean): void => {
    const at = reserve(4);
    view.setUint32(at, value, isLittleEndian);
  };
  const varint = (value: number): void => {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) byte((rest % 128) | 0x80);
    byte(rest);
  };
  return {
    byte,
    varint,
    uint32: (value) => uint32(value, true),
    uint32BigEndian: (value) => uint32(value, false),
    uint64(value) {
      const at = reserve(8);
      view.setBigUint64(at, value, true);
    },
    varints(values) {
      for (const value of values) varint(value);
    },
    bytes(value) {
      const at = reserve(value.length);
      bytes.set(value, at);
    },
    written: () => bytes.subarray(0, end),
  };
}
