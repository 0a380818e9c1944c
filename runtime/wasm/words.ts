// WebAssembly written out as bytes: the words that q3c's vector kernels are made of, and making a function of them.

import { isTooLong } from "../files.ts";

/** A WebAssembly memory; what is used of WebAssembly, which no type library of Node's declares. */
export type Memory = { readonly buffer: ArrayBuffer };
type Wasm = {
  validate(bytes: Uint8Array): boolean;
  readonly Memory: new (limits: { readonly initial: number }) => Memory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
};

const { WebAssembly: wasm } = globalThis as unknown as { readonly WebAssembly?: Wasm };

/** Instructions, encoded. */
export type Code = readonly number[];
export const seq = (...codes: readonly Code[]): Code => codes.flat();
export const each = (count: number, code: (i: number) => Code): Code =>
  seq(...Array.from({ length: count }, (_, i) => code(i)));

/** A count: small numbers are their own encoding, larger ones go in groups of seven bits. */
const leb = (n: number): Code => (n < 0x80 ? [n] : [(n & 0x7f) | 0x80, ...leb(n >>> 7)]);
/** A number with a sign, which is the highest bit of the last group. */
const signedLeb = (n: number): Code =>
  n >= -0x40 && n < 0x40 ? [n & 0x7f] : [(n & 0x7f) | 0x80, ...signedLeb(n >> 7)];

export const get = (local: number): Code => [0x20, local];
export const set = (local: number): Code => [0x21, local];
export const int = (n: number): Code => [0x41, ...signedLeb(n)];
export const ADD: Code = [0x6a];
export const SUB: Code = [0x6b];
export const MUL: Code = [0x6c];
export const isZero: Code = [0x45];
/** Whether the first of two is less, with signs. */
export const isLess: Code = [0x48];
/** The first of two if the third is not zero, else the second. */
export const select: Code = [0x1b];

/** An instruction on vectors, by its number. */
export const simd = (op: number): Code => [0xfd, ...leb(op)];
/** A vector from an address, and onto one. */
export const loadVector = (offset = 0): Code => [...simd(0), 0, ...leb(offset)];
export const storeVector = (offset = 0): Code => [...simd(11), 0, ...leb(offset)];
export const XOR = simd(81);
/** Sixteen bytes of two vectors, which are numbered from 0 to 31. */
export const shuffle = (bytes: readonly number[]): Code => [...simd(13), ...bytes];

/** A loop that ends as soon as the condition holds. */
export const until = (ends: Code, body: Code): Code =>
  seq([0x02, 0x40, 0x03, 0x40], ends, [0x0d, 1], body, [0x0c, 0, 0x0b, 0x0b]);
/** One thing or another. */
export const either = (condition: Code, then: Code, otherwise: Code): Code =>
  seq(condition, [0x04, 0x40], then, [0x05], otherwise, [0x0b]);
export const advance = (local: number, by: Code, op = ADD): Code => seq(get(local), by, op, set(local));

const section = (id: number, ...codes: readonly Code[]): Code => {
  const body = seq(...codes);
  return [id, ...leb(body.length), ...body];
};
const text = (name: string): Code => [
  ...leb(name.length),
  ...Array.from(name, (letter) => letter.charCodeAt(0)),
];
const [I32, V128] = [0x7f, 0x7b];

/** A function of integers that returns nothing. Its locals are numbered: parameters, integers, then vectors. */
export type Kernel = {
  readonly parameters: number;
  readonly integers: number;
  readonly vectors: number;
  readonly body: Code;
};

/** The kernel over a memory, or nothing where the machine has no vectors. */
export function kernelOver(
  memory: Memory,
  { parameters, integers, vectors, body }: Kernel,
): ((...args: number[]) => void) | undefined {
  const code = seq([2], leb(integers), [I32], leb(vectors), [V128], body, [0x0b]);
  const bytes = Uint8Array.from(
    seq(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [1, 0x60, parameters, ...new Array<number>(parameters).fill(I32), 0]),
      section(2, [1], text("host"), text("memory"), [2, 0, 0]),
      section(3, [1, 0]),
      section(7, [1], text("kernel"), [0, 0]),
      section(10, [1], leb(code.length), code),
    ),
  );
  if (!wasm?.validate(bytes)) return undefined;
  const instance = new wasm.Instance(new wasm.Module(bytes), { host: { memory } });
  return instance.exports["kernel"] as (...args: number[]) => void;
}

const PAGE = 1 << 16;

const memories = new WeakSet<ArrayBufferLike>();

/** A memory of at least so many bytes, or nothing where there is no WebAssembly or no address space for one. */
export function memoryOf(bytes: number): Memory | undefined {
  if (!wasm) return undefined;
  try {
    const memory = new wasm.Memory({ initial: Math.ceil(bytes / PAGE) });
    memories.add(memory.buffer);
    return memory;
  } catch (error) {
    if (isTooLong(error)) return undefined;
    throw error;
  }
}

/** Whether these are bytes of such a memory. It begins where a page does, which no other array of JavaScript's promises. */
export const isInMemory = ({ buffer }: Uint8Array): boolean => memories.has(buffer);
