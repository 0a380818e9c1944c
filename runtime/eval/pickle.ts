// Reads Python pickles of plain data and NumPy arrays, protocols 3 to 5. Nothing is imported or called: names are
// looked up in a table, and what is not in it is an error. The bytes of arrays stay in the file until they are asked for.

import { isUtf8 } from "node:buffer";
import * as fs from "node:fs";
import { fail } from "../../compiler/diag.ts";
import { readAt } from "../files.ts";
import { arrayFrom, dtypeFrom, NUMPY_NAMES, type NumpyArray, type NumpyDType, scalarFrom } from "./numpy.ts";
import * as op from "./pickle-opcodes.ts";

/** Bytes that lie in the file, not in memory. */
export type FileBytes = { readonly kind: "bytes"; readonly offset: number; readonly length: number };

/** A name of a Python module that a pickle refers to. */
export type PickleName = { readonly kind: "name"; readonly name: string };

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | FileBytes
  | PickleName
  | NumpyDType
  | NumpyArray
  | { readonly kind: "list"; readonly items: PickleValue[] }
  | { readonly kind: "tuple"; readonly items: readonly PickleValue[] }
  | { readonly kind: "dict"; readonly entries: Map<PickleValue, PickleValue> };

/** Where the reading of one pickle stands. */
type Machine = {
  readonly path: string;
  readonly file: number;
  readonly size: number;
  /** Bytes of the file that are held, and where they begin. */
  held: Uint8Array;
  base: number;
  /** Offset of what is read next. */
  at: number;
  /** Offset of the instruction that is carried out. */
  instruction: number;
  readonly stack: PickleValue[];
  /** Heights of the stack where marks are. */
  readonly marks: number[];
  readonly memo: Map<number, PickleValue>;
};

const WINDOW = 1 << 16;
// Texts are prompts; what is larger lies in arrays.
const MAX_TEXT = 1 << 24;

/** Fails at the instruction that is carried out. */
function refuse(m: Machine, message: string, help?: string): never {
  return fail({
    code: "pickle",
    message,
    at: { file: m.path, part: `byte ${m.instruction}` },
    help,
  });
}

function take(m: Machine, count: number): Uint8Array {
  if (m.at + count > m.size) refuse(m, "the file ends within this instruction: it is not whole");
  const begin = m.at - m.base;
  m.at += count;
  if (begin >= 0 && begin + count <= m.held.length) return m.held.subarray(begin, begin + count);
  m.base = m.at - count;
  m.held = readAt(m.file, m.base, Math.max(count, WINDOW));
  return m.held.subarray(0, count);
}

const byte = (m: Machine): number => take(m, 1)[0] ?? 0;

function view(m: Machine, count: number): DataView {
  const bytes = take(m, count);
  return new DataView(bytes.buffer, bytes.byteOffset, count);
}

const u16 = (m: Machine): number => view(m, 2).getUint16(0, true);
const u32 = (m: Machine): number => view(m, 4).getUint32(0, true);

function u64(m: Machine): number {
  const length = view(m, 8).getBigUint64(0, true);
  // No file is that long, so the number is as good as any too large one.
  return length > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(length);
}

function bytesOf(m: Machine, length: number): FileBytes {
  const offset = m.at;
  if (length > m.size - offset)
    refuse(m, `${length} bytes are announced, the file has ${m.size - offset} more`);
  m.at += length;
  return { kind: "bytes", offset, length };
}

function textOf(m: Machine, length: number): string {
  if (length > MAX_TEXT) refuse(m, `a text of ${length} bytes is longer than ${MAX_TEXT}`);
  const bytes = take(m, length);
  if (!isUtf8(bytes)) refuse(m, "this text is not UTF-8");
  return Buffer.from(bytes.buffer, bytes.byteOffset, length).toString("utf8");
}

function lineOf(m: Machine): string {
  let line = "";
  for (let code = byte(m); code !== 0x0a; code = byte(m)) {
    if (line.length > 1000) refuse(m, "a name is longer than 1000 bytes");
    line += String.fromCharCode(code);
  }
  return line;
}

function longOf(m: Machine, length: number): number | bigint {
  if (length > 1000) refuse(m, `an integer of ${length} bytes`);
  let value = 0n;
  const bytes = take(m, length);
  for (const [i, part] of bytes.entries()) value |= BigInt(part) << BigInt(8 * i);
  const exact = BigInt.asIntN(8 * length, value);
  const near = Number(exact);
  return Number.isSafeInteger(near) ? near : exact;
}

function push(m: Machine, value: PickleValue): void {
  m.stack.push(value);
}

/** The topmost value, above the last mark. */
function pop(m: Machine): PickleValue {
  if (m.stack.length <= (m.marks.at(-1) ?? 0)) return refuse(m, "there is nothing to take");
  return m.stack.pop() as PickleValue;
}

function popMark(m: Machine): PickleValue[] {
  const height = m.marks.pop();
  if (height === undefined) return refuse(m, "there is no mark to go back to");
  return m.stack.splice(height);
}

const kindOf = (value: PickleValue): string =>
  typeof value === "object" && value !== null ? value.kind : value === null ? "None" : typeof value;

const isTuple = (value: PickleValue): value is Extract<PickleValue, { kind: "tuple" }> =>
  kindOf(value) === "tuple";

function topOf<Kind extends "list" | "dict">(m: Machine, kind: Kind) {
  const top = pop(m);
  push(m, top);
  if (kindOf(top) !== kind) refuse(m, `a ${kind} is expected here, found a ${kindOf(top)}`);
  return top as Extract<PickleValue, { kind: Kind }>;
}

function tupleOf(m: Machine, count: number): void {
  const items = Array.from({ length: count }, () => pop(m)).reverse();
  push(m, { kind: "tuple", items });
}

function setItems(m: Machine, items: readonly PickleValue[]): void {
  const { entries } = topOf(m, "dict");
  if (items.length % 2 !== 0) refuse(m, "a key without a value");
  for (let i = 0; i < items.length; i += 2) entries.set(items[i] ?? null, items[i + 1] ?? null);
}

function recall(m: Machine, index: number): void {
  const value = m.memo.get(index);
  if (value === undefined) refuse(m, `nothing was remembered as ${index}`);
  push(m, value);
}

function memorize(m: Machine, index: number): void {
  const top = pop(m);
  push(m, top);
  m.memo.set(index, top);
}

function nameOf(m: Machine, module: PickleValue, attribute: PickleValue): PickleName {
  const name = `${module}.${attribute}`;
  if (typeof module === "string" && typeof attribute === "string" && NUMPY_NAMES.has(name))
    return { kind: "name", name };
  return refuse(
    m,
    `the pickle names \`${name}\`, which q3c neither knows nor calls; golden logits are lists, dicts, texts, numbers and NumPy arrays`,
  );
}

/** What a call of one of the known names would give. */
function called(m: Machine): PickleValue {
  const args = pop(m);
  const callee = pop(m);
  if (typeof callee !== "object" || callee?.kind !== "name" || !isTuple(args))
    return refuse(m, `a call of a ${kindOf(callee)} with a ${kindOf(args)}`);
  const say = (problem: string): never => refuse(m, problem);
  switch (NUMPY_NAMES.get(callee.name)) {
    case "dtype":
      return dtypeFrom(args.items, say);
    case "frombuffer":
      return arrayFrom(args.items, say);
    case "scalar":
      return scalarFrom(args.items, ({ offset, length }) => readAt(m.file, offset, length), say);
    case "reconstruct":
      // Empty until its state is set.
      return { kind: "array", shape: [0], dtype: undefined, isFortran: false, bytes: undefined };
    default:
      return refuse(m, `\`${callee.name}\` is not a function`);
  }
}

/** An array or dtype with the state that comes after it. */
function built(m: Machine): PickleValue {
  const state = pop(m);
  const target = pop(m);
  const kind = kindOf(target);
  if (!isTuple(state)) return refuse(m, `a state that is a ${kindOf(state)}`);
  const say = (problem: string): never => refuse(m, problem);
  if (typeof target === "object" && target?.kind === "dtype") {
    // (version, byte order, …)
    if (state.items[1] === ">") say("big-endian numbers");
    return target;
  }
  if (typeof target !== "object" || target?.kind !== "array") return refuse(m, `a state for a ${kind}`);
  const [, shape = null, dtype = null, isFortran, bytes = null] = state.items;
  // What was remembered before its state was set is this same array.
  return Object.assign(target, arrayFrom([bytes, dtype, shape, isFortran === true ? "F" : "C"], say));
}

type Instruction = (m: Machine) => void;

/** What each instruction does. */
const instructions: ReadonlyMap<number, Instruction> = new Map<number, Instruction>([
  // FRAME only announces how much to read at once.
  [op.FRAME, (m) => void u64(m)],
  [op.MARK, (m) => void m.marks.push(m.stack.length)],
  [op.POP, (m) => void pop(m)],
  [op.POP_MARK, (m) => void popMark(m)],
  [op.NONE, (m) => push(m, null)],
  [op.NEWTRUE, (m) => push(m, true)],
  [op.NEWFALSE, (m) => push(m, false)],
  [op.BININT, (m) => push(m, view(m, 4).getInt32(0, true))],
  [op.BININT1, (m) => push(m, byte(m))],
  [op.BININT2, (m) => push(m, u16(m))],
  [op.LONG1, (m) => push(m, longOf(m, byte(m)))],
  [op.LONG4, (m) => push(m, longOf(m, u32(m)))],
  [op.BINFLOAT, (m) => push(m, view(m, 8).getFloat64(0, false))],
  [op.SHORT_BINUNICODE, (m) => push(m, textOf(m, byte(m)))],
  [op.BINUNICODE, (m) => push(m, textOf(m, u32(m)))],
  [op.BINUNICODE8, (m) => push(m, textOf(m, u64(m)))],
  [op.SHORT_BINBYTES, (m) => push(m, bytesOf(m, byte(m)))],
  [op.BINBYTES, (m) => push(m, bytesOf(m, u32(m)))],
  [op.BINBYTES8, (m) => push(m, bytesOf(m, u64(m)))],
  [op.BYTEARRAY8, (m) => push(m, bytesOf(m, u64(m)))],
  [op.EMPTY_LIST, (m) => push(m, { kind: "list", items: [] })],
  [
    op.APPEND,
    (m) => {
      const item = pop(m);
      topOf(m, "list").items.push(item);
    },
  ],
  [
    op.APPENDS,
    (m) => {
      const items = popMark(m);
      const list = topOf(m, "list").items;
      for (const item of items) list.push(item);
    },
  ],
  [op.EMPTY_DICT, (m) => push(m, { kind: "dict", entries: new Map() })],
  [
    op.SETITEM,
    (m) => {
      const value = pop(m);
      const key = pop(m);
      setItems(m, [key, value]);
    },
  ],
  [op.SETITEMS, (m) => setItems(m, popMark(m))],
  [op.EMPTY_TUPLE, (m) => tupleOf(m, 0)],
  [op.TUPLE1, (m) => tupleOf(m, 1)],
  [op.TUPLE2, (m) => tupleOf(m, 2)],
  [op.TUPLE3, (m) => tupleOf(m, 3)],
  [op.TUPLE, (m) => push(m, { kind: "tuple", items: popMark(m) })],
  [op.MEMOIZE, (m) => memorize(m, m.memo.size)],
  [op.BINPUT, (m) => memorize(m, byte(m))],
  [op.LONG_BINPUT, (m) => memorize(m, u32(m))],
  [op.BINGET, (m) => recall(m, byte(m))],
  [op.LONG_BINGET, (m) => recall(m, u32(m))],
  [op.GLOBAL, (m) => push(m, nameOf(m, lineOf(m), lineOf(m)))],
  [
    op.STACK_GLOBAL,
    (m) => {
      const attribute = pop(m);
      push(m, nameOf(m, pop(m), attribute));
    },
  ],
  [op.REDUCE, (m) => push(m, called(m))],
  [op.BUILD, (m) => push(m, built(m))],
]);

/** The value that a pickle spells. The file must stay open for as long as bytes of the value are read. */
export function readPickle(path: string, file: number): PickleValue {
  const { size } = fs.fstatSync(file);
  const m: Machine = {
    path,
    file,
    size,
    held: new Uint8Array(),
    base: 0,
    at: 0,
    instruction: 0,
    stack: [],
    marks: [],
    memo: new Map(),
  };
  const first = byte(m);
  const protocol = first === op.PROTO ? byte(m) : 0;
  if (protocol < 3 || protocol > 5)
    refuse(
      m,
      first === op.PROTO
        ? `this is a pickle of protocol ${protocol}, expected 3 to 5`
        : "this does not begin as a pickle of protocol 3 to 5 does",
      "write it with pickle.dump(records, file), whose own protocol is 4 or 5",
    );
  for (;;) {
    m.instruction = m.at;
    const code = byte(m);
    if (code === op.STOP) break;
    const carryOut = instructions.get(code);
    if (!carryOut)
      refuse(m, `an instruction 0x${code.toString(16)}, which plain data and arrays have no use for`);
    else carryOut(m);
  }
  const value = pop(m);
  if (m.stack.length > 0) refuse(m, "more than one value is left at the end");
  return value;
}
