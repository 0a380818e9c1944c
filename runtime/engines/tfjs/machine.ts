// Runs scheduled programs on tfjs tensors, and keeps count of the bytes they hold.
import * as tf from "@tensorflow/tfjs-core";
import { elements, shapeOf } from "../../../compiler/ir/shape.ts";
import type { Block, Node, TensorType, Value } from "../../../compiler/ir/types.ts";
import { inPlaceOf, isLoop, loopNestOf } from "../../../compiler/ops/fused.ts";
import { runLoop } from "../../../compiler/ops/loop-run.ts";
import type { NumberArray } from "../../../compiler/ops/loops.ts";
import { at, type RegionMachine, type RunContext } from "../../../compiler/ops/op.ts";
import { isRounded, roundTo } from "../../../compiler/ops/round.ts";
import { execute, type Machine, type Schedule, scheduleOf } from "../../../compiler/plan/schedule.ts";
import { numbersOf, onHost } from "./host.ts";
import { products } from "./products.ts";

export type Call = { readonly node: Node; readonly context: RunContext };

function onGrid(type: TensorType, x: tf.Tensor): tf.Tensor {
  if (!isRounded(type.dtype)) return x;
  const rounded = tf.tensor(roundTo(type.dtype, x.dataSync() as Float32Array), x.shape, "float32");
  x.dispose();
  return rounded;
}

/** A loop nest over the operands' numbers; what it writes is on its dtype's grid. `over` are tensors it writes to. */
export function runAsLoop(
  node: Node,
  ins: readonly tf.Tensor[],
  over: readonly (tf.Tensor | undefined)[] = [],
): tf.Tensor[] {
  const { block, operands } = loopNestOf(node);
  const types = node.outs.map((out) => out.type);
  const fresh = onHost(
    operands.map((i) => at(ins, i)),
    types.filter((_, i) => !over[i]),
    (xs, ys) => {
      const rest = [...ys];
      const outs = types.map((_, i) => {
        const tensor = over[i];
        return at([tensor ? numbersOf(tensor) : rest.shift()], 0) as NumberArray;
      });
      runLoop(block, xs, outs);
    },
  );
  return types.map((_, i) => over[i] ?? (fresh.shift() as tf.Tensor));
}

/** One run of a program: its tensors, by the memory behind them. */
export class TensorMachine implements Machine<tf.Tensor>, RegionMachine<tf.Tensor> {
  private readonly known = new Set<number>();
  private readonly holds = new Map<object, number>();
  private live = 0;
  /** The most bytes that were live when a node had run and nothing had gone yet. */
  peak = 0;

  /** Runs a program whose operands stay the caller's, but for those given away. */
  start(schedule: Schedule, ins: readonly tf.Tensor[], given: readonly boolean[]): tf.Tensor[] {
    for (const x of ins) this.hold(x);
    this.peak = this.live;
    return execute(schedule, ins, given, this);
  }

  private hold(x: tf.Tensor): tf.Tensor {
    if (this.known.has(x.id)) return x;
    this.known.add(x.id);
    const holds = this.holds.get(x.dataId) ?? 0;
    this.holds.set(x.dataId, holds + 1);
    if (holds === 0) this.live += x.size * tf.util.bytesPerElement(x.dtype);
    return x;
  }

  drop(x: tf.Tensor): void {
    x.dispose();
    this.known.delete(x.id);
    const holds = this.holds.get(x.dataId) ?? 0;
    this.holds.set(x.dataId, holds - 1);
    if (holds === 1) this.live -= x.size * tf.util.bytesPerElement(x.dtype);
  }

  /** A reshape shares its operand's memory; tfjs-wasm's clone copies. */
  share(x: tf.Tensor): tf.Tensor {
    return this.hold(tf.reshape(x, x.shape));
  }

  settle(): void {
    this.peak = Math.max(this.peak, this.live);
  }

  runRegion(block: Block, ins: readonly tf.Tensor[], given: readonly boolean[]): tf.Tensor[] {
    return execute(scheduleOf(block, given), ins, given, this);
  }

  /** Operands that go with this node, and whose memory its results are written to. */
  private replaced(node: Node, ins: readonly tf.Tensor[], last: readonly Value[]): (tf.Tensor | undefined)[] {
    const taken = new Set<number>();
    return node.outs.map((out, result) => {
      const operand = inPlaceOf(node, result).find((i) => {
        const { dataId, size } = at(ins, i);
        const isAlone = this.holds.get(dataId) === 1 && tf.backend().refCount(dataId) === 1;
        return last.includes(at(node.ins, i)) && isAlone && !taken.has(i) && size === elements(out.type);
      });
      if (operand === undefined) return undefined;
      taken.add(operand);
      return tf.reshape(at(ins, operand), shapeOf(out.type));
    });
  }

  run(node: Node, ins: readonly tf.Tensor[], last: readonly Value[]): tf.Tensor[] {
    const { op, attrs, regions } = node;
    if (op.control) return [...op.control<tf.Tensor>(this, ins, attrs, regions)];
    if (op.update) return [this.hold(this.updated(node, ins, this.replaced(node, ins, last)))];
    if (isLoop(op)) return runAsLoop(node, ins, this.replaced(node, ins, last)).map((x) => this.hold(x));
    const context: RunContext = {
      outs: node.outs.map((out) => out.type),
      regions,
      onHost,
      products,
    };
    const call: Call = { node, context };
    const result: unknown = tf
      .engine()
      .runKernel(op.name, ins as unknown as tf.NamedTensorMap, call as unknown as tf.NamedAttrMap);
    const outs = (Array.isArray(result) ? result : [result]) as tf.Tensor[];
    const isRoundedAlready = op.moves !== undefined || regions.length > 0;
    return outs.map((x, i) => this.hold(isRoundedAlready ? x : onGrid(at(node.outs, i).type, x)));
  }

  /** The first operand with what the op changes in it: in its own memory where that is given. */
  private updated(
    node: Node,
    ins: readonly tf.Tensor[],
    [over]: readonly (tf.Tensor | undefined)[],
  ): tf.Tensor {
    const x = at(ins, 0);
    const into =
      over ??
      at(
        onHost([x], [at(node.outs, 0).type], (xs, ys) => at(ys, 0).set(at(xs, 0))),
        0,
      );
    const types = node.ins.map(({ type }) => type);
    node.op.update?.(numbersOf(into), ins.slice(1).map(numbersOf), types, node.attrs);
    return into;
  }

  fresh(type: TensorType): tf.Tensor {
    return this.hold(
      at(
        onHost([], [type], () => {}),
        0,
      ),
    );
  }

  slice(x: tf.Tensor, index: number, type: TensorType): tf.Tensor {
    const [piece] = onHost([x], [type], ([from], [to]) => {
      if (from && to) to.set(from.subarray(index * to.length, (index + 1) * to.length));
    });
    return this.hold(at([piece], 0) as tf.Tensor);
  }

  write(into: tf.Tensor, index: number, piece: tf.Tensor): void {
    numbersOf(into).set(numbersOf(piece), index * piece.size);
  }
}
