// The tracing backend: tfjs-core runs its tape over it, and what its kernels compute is IR. A traced tensor holds
// no numbers; it stands for a Value of the block under construction.
import {
  type BackendValues,
  type DataId,
  engine,
  KernelBackend,
  type NamedAttrMap,
  type NamedTensorMap,
  registerBackend,
  registerGradient,
  registerKernel,
  setBackend,
  type Tensor,
  type TensorInfo,
} from "@tensorflow/tfjs-core";
import { bug, invariant } from "../diag.ts";
import { isFloat, tfDTypeOf } from "../dtype.ts";
import type { BlockBuilder } from "../ir/build.ts";
import { node } from "../ir/build.ts";
import { shapeOf } from "../ir/shape.ts";
import type { Attrs, Block, Node, TensorType, Value } from "../ir/types.ts";
import { ops } from "../ops/index.ts";
import type { OpDef, Residual, VjpContext } from "../ops/op.ts";

const BACKEND = "q3c-trace";
/** A kernel with no node: its cotangents are the block's own cotangent parameters. */
const SEED = "q3c-seed";

/** One traced application of an op, at its place in the trace; tfjs hands it from the kernel to the gradient as the kernel's attributes. */
type Call = { readonly node: Node; readonly trace: Trace; readonly place: number };

/** A trace in progress: the block it appends to and how regions are differentiated. */
export type Trace = Pick<VjpContext<Value, Attrs>, "split"> & { readonly builder: BlockBuilder };

class TracingBackend extends KernelBackend {
  /** Values by data id. An id without a value is a zero made by tfjs for an output nobody differentiates. */
  readonly values = new WeakMap<object, Value>();
  override write(values: BackendValues): DataId {
    invariant(values.length === 0 || values[0] === 0, "tfjs wrote a constant while tracing");
    return {};
  }
  override disposeData(): boolean {
    return true;
  }
  override refCount(): number {
    return 1;
  }
  override incRef(): void {}
  decRef(): void {}
  override numDataIds(): number {
    return 0;
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override readSync(): never {
    return bug("a traced tensor was read");
  }
}

const backend = new TracingBackend();

function infoOf(value: Value): TensorInfo {
  const dataId = {};
  backend.values.set(dataId, value);
  return { dataId, shape: shapeOf(value.type), dtype: tfDTypeOf(value.type.dtype) };
}

/** A tensor that stands for a value. */
export const tensorOf = (value: Value): Tensor => engine().makeTensorFromTensorInfo(infoOf(value));
/** A tensor that stands for nothing flowing back. */
const zeroTensor = (type: TensorType): Tensor =>
  engine().makeTensorFromTensorInfo({ dataId: {}, shape: shapeOf(type), dtype: "float32" });

export const tracedValue = (tensor: TensorInfo): Value | undefined => backend.values.get(tensor.dataId);

function mustValue(tensor: TensorInfo): Value {
  const value = tracedValue(tensor);
  invariant(value, "a traced operand stands for no value");
  return value;
}

/** Runs a traced node: tfjs records it on its tape unless nothing can flow back through it. */
export function traceNode(original: Node, ins: readonly Tensor[], trace: Trace): Tensor[] {
  const { op, attrs, regions, outs, loc } = original;
  const made = node(op, ins.map(mustValue), { attrs, regions, hints: outs.map((x) => x.hint), loc });
  const place = trace.builder.nodes.push(made) - 1;
  // Nothing flows back through integers either.
  if (op.discrete || made.outs.every((out) => !isFloat(out.type.dtype))) return made.outs.map(tensorOf);
  const call: Call = { node: made, trace, place };
  const result: unknown = engine().runKernel(
    op.name,
    ins as unknown as NamedTensorMap,
    call as unknown as NamedAttrMap,
  );
  return (Array.isArray(result) ? result : [result]) as Tensor[];
}

/** A scalar whose gradient seeds each result with its own cotangent. */
export function seed(results: readonly Tensor[], cotangents: readonly Tensor[]): Tensor {
  const attrs = { cotangents } as unknown as NamedAttrMap;
  return engine().runKernel(SEED, results as unknown as NamedTensorMap, attrs) as Tensor;
}

/** The node in its place in the trace, with a region that yields more; the results that are new. */
function extend(
  { node: old, trace: { builder }, place }: Call,
  region: Block,
  residuals: readonly Residual[],
): readonly Value[] {
  const { op, ins, outs, attrs, loc } = old;
  const hints = [...outs.map((x) => x.hint), ...residuals.map(({ name }) => name)];
  const made = node(op, ins, { attrs, regions: [region], hints, loc });
  invariant(builder.nodes[place] === old, `${op.name} is extended once, where it ran`);
  const more = made.outs.slice(outs.length);
  builder.nodes[place] = { ...made, outs: [...outs, ...more] };
  return more;
}

function vjpOfCall(call: Call, dys: readonly Tensor[]): Tensor[] {
  const {
    node: { op, ins, outs, attrs, regions, loc },
    trace,
  } = call;
  const { builder } = trace;
  const live = dys.map(tracedValue);
  if (live.every((dy) => dy === undefined)) return ins.map((x) => zeroTensor(x.type));
  invariant(op.vjp, `${op.name} has no gradient rule`);
  const outside = { hints: builder.hints, loc: builder.loc };
  builder.hints = [`d.${outs[0]?.hint}`];
  builder.loc = { kind: "pass", pass: "differentiate", from: loc };
  const typeAt = (i: number): TensorType => {
    const out = outs[i];
    invariant(out, `${op.name} has no output ${i}`);
    return out.type;
  };
  const cotangents = op.vjp(builder.k, {
    dy: (i) => live[i] ?? builder.k.constant(0, typeAt(i)),
    isLive: (i) => live[i] !== undefined,
    ins,
    outs,
    attrs,
    regions,
    split: trace.split,
    extend: (region, residuals) => extend(call, region, residuals),
  });
  Object.assign(builder, outside);
  return ins.map((x, i) => {
    const cotangent = cotangents[i];
    return cotangent && isFloat(x.type.dtype) ? tensorOf(cotangent) : zeroTensor(x.type);
  });
}

const asGradients = (tensors: readonly Tensor[]): Record<string, () => Tensor> =>
  Object.fromEntries(tensors.map((tensor, i) => [String(i), () => tensor]));

function registerOp(op: OpDef): void {
  registerKernel({
    kernelName: op.name,
    backendName: BACKEND,
    kernelFunc: ({ attrs }) => (attrs as unknown as Call).node.outs.map(infoOf),
  });
  registerGradient({
    kernelName: op.name,
    gradFunc: (dy, _saved, attrs) =>
      asGradients(vjpOfCall(attrs as unknown as Call, Array.isArray(dy) ? dy : [dy])),
  });
}

/** tfjs adds cotangents that meet with its own Add kernel. */
function addCotangents({ a, b }: { a: TensorInfo; b: TensorInfo }, builder: BlockBuilder): TensorInfo {
  const [x, y] = [tracedValue(a), tracedValue(b)];
  if (!x) return b;
  if (!y) return a;
  builder.hints = [x.hint];
  const sum = builder.k.add(x, y);
  builder.hints = [];
  return infoOf(sum);
}

let active: Trace | undefined;

function registerAll(): void {
  registerBackend(BACKEND, () => backend, 0);
  for (const op of ops) registerOp(op);
  registerKernel({
    kernelName: SEED,
    backendName: BACKEND,
    kernelFunc: () => ({ dataId: {}, shape: [], dtype: "float32" }),
  });
  registerGradient({
    kernelName: SEED,
    gradFunc: (_dy, _saved, attrs) => asGradients((attrs as unknown as { cotangents: Tensor[] }).cotangents),
  });
  registerKernel({
    kernelName: "Add",
    backendName: BACKEND,
    kernelFunc: ({ inputs }) => {
      invariant(active, "cotangents meet outside a trace");
      return addCotangents(inputs as unknown as { a: TensorInfo; b: TensorInfo }, active.builder);
    },
  });
}

let isRegistered = false;

/** Runs `body` with tfjs on the tracing backend and on a tape of its own, and puts both back afterwards. */
export function tracing<R>(trace: Trace, body: () => R): R {
  if (!isRegistered) registerAll();
  isRegistered = true;
  const tf = engine();
  const outside = { backend: tf.backendName, tape: tf.state.activeTape, active };
  void setBackend(BACKEND);
  invariant(tf.backendName === BACKEND, "the tracing backend did not start");
  active = trace;
  try {
    return body();
  } finally {
    active = outside.active;
    tf.state.activeTape = outside.tape;
    if (outside.backend && outside.backend !== BACKEND) void setBackend(outside.backend);
  }
}
