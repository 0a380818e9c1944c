// What every engine offers: compile a module once, run it many times on buffers.
import { fail } from "../../compiler/diag.ts";
import type { Module, TensorType } from "../../compiler/ir/types.ts";

/** Numbers of one tensor, row-major. f32, bf16 and f16 are held as f32 (already on their own grid); bool as 0 and 1. */
export type HostArray = Float32Array | Int32Array | Uint8Array;

/** A tensor that lives with the engine. */
export type Buffer = { readonly type: TensorType };

/** A compiled module. */
export type Executable = {
  /** One buffer per parameter in, one per result out; inputs stay the caller's, but for those it donates. */
  run(ins: readonly Buffer[]): Buffer[];
  /** The most bytes that tensors held at once in the last run, between two nodes. */
  readonly peakBytes: number;
};

export type CompileOptions = {
  /** Positions of parameters whose buffers a run takes over: they go when they are read for the last time. */
  readonly donated?: readonly number[];
};

/** Runs modules on tensors that it holds. What is uploaded or comes out of a run stays until it is released. */
export type Engine = {
  readonly name: string;
  /** Bytes of tensors it can hold at once. */
  readonly capacity: number;
  compile(module: Module, options?: CompileOptions): Executable;
  /** What a tensor takes with this engine. */
  bytesOf(type: TensorType): number;
  upload(type: TensorType, data: HostArray): Buffer;
  download(buffer: Buffer): HostArray;
  release(buffer: Buffer): void;
};

/** Refuses work whose tensors alone cannot be held, before any of them is made. */
export function requireFit(engine: Engine, bytes: number, what: string): void {
  const gigabytes = (n: number): string => `${(n / 1e9).toFixed(1)} GB`;
  if (bytes > engine.capacity)
    fail({
      code: "does-not-fit",
      message: `${what} take ${gigabytes(bytes)}; the engine ${engine.name} holds ${gigabytes(engine.capacity)}`,
      help: "make the model smaller, or look at it without weights: q3c compile … --emit stats",
    });
}

/** The engine with every module going through `optimize` before it is compiled. */
export const optimizing = (engine: Engine, optimize: (module: Module) => Module): Engine => ({
  ...engine,
  compile: (module, options) => engine.compile(optimize(module), options),
});
