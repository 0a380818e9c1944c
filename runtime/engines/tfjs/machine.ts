// Runs scheduled programs on tfjs tensors, and keeps count of the bytes they hold.
import * as tf from "@tensorflow/tfjs-core";
import type { Block, Node, TensorType } from "../../../compiler/ir/types.ts";
import { isLoop, loopNestOf } from "../../../compiler/ops/fused.ts";
import { runLoop } from "../../../compiler/ops/loop-run.ts";
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

/** A loop nest over the operands' numbers; what it writes is on its dtype's grid. */
export function runAsLoop(node: Node, ins: readonly tf.Tensor[]): tf.Tensor[] {
  const { block, operands } = loopNestOf(node);
  return onHost(
    operands.map((i) => at(ins, i)),
    node.outs.map((out) => out.type),
    (xs, ys) => runLoop(block, xs, ys),
  );
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

  run(node: Node, ins: readonly tf.Tensor[]): tf.Tensor[];
  run(block: Block, ins: readonly tf.Tensor[], given: readonly boolean[]): tf.Tensor[];
  run(what: Node | Block, ins: readonly tf.Tensor[], given: readonly boolean[] = []): tf.Tensor[] {
    return "op" in what ? this.runNode(what, ins) : execute(scheduleOf(what, given), ins, given, this);
  }

  private runNode(node: Node, ins: readonly tf.Tensor[]): tf.Tensor[] {
    const { op, attrs, regions } = node;
    if (op.control) return [...op.control<tf.Tensor>(this, ins, attrs, regions)];
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
    const isRoundedAlready = isLoop(op) || op.moves !== undefined || regions.length > 0;
    return outs.map((x, i) => this.hold(isRoundedAlready ? x : onGrid(at(node.outs, i).type, x)));
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
