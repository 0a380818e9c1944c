// What a program needs of memory, known before it runs: its schedule run on sizes instead of tensors. Every tensor comes
// and goes where an engine's does, so the most bytes live at once are the engine's to the byte. The same lifetimes give
// places in one arena, and show which results can take the place of an operand that goes.
import { byteSize } from "../ir/shape.ts";
import type { Block, Module, Node, TensorType, Value } from "../ir/types.ts";
import { inPlaceOf } from "../ops/fused.ts";
import { at, type RegionMachine } from "../ops/op.ts";
import { placed } from "./arena.ts";
import { executable, execute, type Machine, scheduleOf } from "./schedule.ts";

export type MemoryOptions = {
  /** Positions of parameters that the program takes over. */
  readonly donated?: readonly number[];
  /** What a tensor takes where the program runs; its dtype's own width unless told. */
  bytesOf?(type: TensorType): number;
  /** Whether a result takes the place of an operand that goes with it, where its loops allow that. */
  readonly inPlace?: boolean;
};

/** Memory, from when it is first held until nothing holds it, on a clock of such events. Several values may be held there: reshapes, and results in place. */
export type Allocation = {
  readonly name: string;
  readonly type: TensorType;
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
  readonly offset: number;
};

/** When and where a program's tensors lie. Offsets are within the arena, times are on the clock of allocations. */
export type MemoryPlan = {
  readonly name: string;
  /** The most bytes that are live when a node has run and nothing has gone yet, and that node. */
  readonly peak: { readonly bytes: number; readonly time: number; readonly after: string };
  readonly arenaBytes: number;
  readonly operandBytes: number;
  readonly resultBytes: number;
  readonly inPlace: { readonly count: number; readonly bytes: number };
  readonly allocations: readonly Allocation[];
};

type Storage = {
  readonly name: string;
  readonly type: TensorType;
  readonly bytes: number;
  readonly from: number;
  to: number;
  holds: number;
};
/** A tensor of the plan. */
type Hold = { readonly storage: Storage };

class SizeMachine implements Machine<Hold>, RegionMachine<Hold> {
  readonly storages: Storage[] = [];
  readonly inPlace = { count: 0, bytes: 0 };
  peak = { bytes: 0, time: 0, after: "the start" };
  private readonly bytesOf: (type: TensorType) => number;
  private readonly isInPlace: boolean;
  private live = 0;
  private clock = 0;

  constructor({ bytesOf = byteSize, inPlace = false }: MemoryOptions) {
    this.bytesOf = bytesOf;
    this.isInPlace = inPlace;
  }

  get time(): number {
    return this.clock;
  }

  make(name: string, type: TensorType): Hold {
    const storage = {
      name,
      type,
      bytes: this.bytesOf(type),
      from: ++this.clock,
      to: Number.POSITIVE_INFINITY,
      holds: 1,
    };
    this.storages.push(storage);
    this.live += storage.bytes;
    return { storage };
  }

  fresh(type: TensorType): Hold {
    return this.make("stacked", type);
  }

  slice(_x: Hold, _index: number, type: TensorType): Hold {
    return this.make("slice", type);
  }

  write(): void {}

  share({ storage }: Hold): Hold {
    storage.holds++;
    return { storage };
  }

  drop({ storage }: Hold): void {
    storage.holds--;
    if (storage.holds > 0) return;
    this.live -= storage.bytes;
    storage.to = ++this.clock;
  }

  settle(node?: Node): void {
    if (this.live > this.peak.bytes)
      this.peak = {
        bytes: this.live,
        time: this.clock,
        after: node ? `%${node.outs[0]?.hint} = ${node.op.name}` : "the start",
      };
  }

  runRegion(block: Block, ins: readonly Hold[], given: readonly boolean[]): Hold[] {
    return execute(scheduleOf(block, given), ins, given, this);
  }

  run(node: Node, ins: readonly Hold[], last: readonly Value[]): readonly Hold[] {
    const { op, attrs, regions, outs } = node;
    if (op.control) return op.control<Hold>(this, ins, attrs, regions);
    if (op.moves?.(attrs).kind === "reshape") return [this.share(at(ins, 0))];
    const taken = new Set<number>();
    return outs.map((out, i) => {
      const operand = this.isInPlace ? this.replaced(node, i, ins, last, taken) : undefined;
      if (operand === undefined) return this.make(out.hint, out.type);
      taken.add(operand);
      const own = this.share(at(ins, operand));
      this.inPlace.count++;
      this.inPlace.bytes += own.storage.bytes;
      return own;
    });
  }

  /** An operand that goes with this node and whose memory a result may be written to. */
  private replaced(
    node: Node,
    result: number,
    ins: readonly Hold[],
    last: readonly Value[],
    taken: ReadonlySet<number>,
  ): number | undefined {
    return inPlaceOf(node, result).find((i) => {
      const [value, { storage }] = [at(node.ins, i), at(ins, i)];
      return (
        last.includes(value) &&
        storage.holds === 1 &&
        !taken.has(i) &&
        storage.bytes === this.bytesOf(at(node.outs, result).type)
      );
    });
  }
}

const sum = (holds: readonly Hold[]): number =>
  [...new Set(holds.map(({ storage }) => storage))].reduce((n, { bytes }) => n + bytes, 0);

/** Plans a program's memory. */
export function planMemory({ name, body: whole }: Module, options: MemoryOptions = {}): MemoryPlan {
  const body = executable(whole);
  const given = body.params.map((_, i) => options.donated?.includes(i) ?? false);
  const machine = new SizeMachine(options);
  const operands = body.params.map((x) => machine.make(x.hint, x.type));
  const operandBytes = sum(operands);
  machine.settle();
  const results = execute(scheduleOf(body, given), operands, given, machine);
  machine.settle();
  const lifetimes = machine.storages.map(({ bytes, from, to }) => ({
    bytes,
    from,
    to: Math.min(to, machine.time + 1),
  }));
  const arena = placed(lifetimes);
  return {
    name,
    peak: machine.peak,
    arenaBytes: arena.bytes,
    operandBytes,
    resultBytes: sum(results),
    inPlace: machine.inPlace,
    allocations: machine.storages.map(({ name: own, type, bytes }, i) => ({
      name: own,
      type,
      bytes,
      from: at(lifetimes, i).from,
      to: at(lifetimes, i).to,
      offset: at(arena.offsets, i),
    })),
  };
}
