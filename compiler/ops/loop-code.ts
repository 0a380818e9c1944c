// A block of elementwise, moving and folding ops as one JavaScript loop nest. The outer loops are over rows; under them
// each phase runs over one row: a fold that is read inside ends a phase, and what reads it belongs to the next.

import { bug } from "../diag.ts";
import type { DType } from "../dtype.ts";
import { shapeOf, sizeOf } from "../ir/shape.ts";
import type { Block, Node, Value } from "../ir/types.ts";
import { LoopBodies } from "./loop-body.ts";
import { type Access, depthOfAccess, joinLoops } from "./loop-nest.ts";
import { isMisfit, type LoopSpace, loopSpaceOf } from "./loop-space.ts";
import { rowMajor } from "./loops.ts";
import { at, type Fold } from "./op.ts";
import { rounders } from "./round.ts";

/** A loop nest as source, and what it needs besides its operands. */
export type LoopCode = {
  /** Statements over the arrays `a0`, `a1`, …: operands, index lines, results, then buffers of doubles. */
  readonly source: string;
  readonly lines: readonly Int32Array[];
  /** How many doubles each buffer holds. */
  readonly buffers: readonly number[];
  /** For each result the operands whose memory it may be written to. */
  readonly inPlace: readonly (readonly number[])[];
};

type Local = {
  readonly kind: "local";
  readonly name: string;
  readonly phase: number;
  readonly depth: number;
  readonly node: Node;
};
/** What an element is at one iteration. A local of a row holds in later phases too, one inside a row does not. */
type Term =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "load"; readonly access: Access }
  | Local;

/** A number put onto a dtype's grid, as if it had been stored: loops that are joined change no number. */
function onGrid(text: string, dtype: DType): string {
  if (dtype === "i32") return `(${text}) | 0`;
  if (dtype === "f32") return `fround(${text})`;
  return rounders[dtype] ? `${dtype}(${text})` : text;
}

type Layout = {
  readonly loads: ReadonlyMap<Value, Access>;
  readonly stores: ReadonlyMap<Value, Access>;
  readonly lines: readonly Int32Array[];
};

/** Where every operand, index line and result lies under the loops. */
function layoutOf(block: Block, space: LoopSpace): Layout {
  const loads = new Map<Value, Access>(
    block.params.map((x, array) => [x, { array, offset: 0, strides: space.stridesOf(x) }]),
  );
  const lines: Int32Array[] = [];
  for (const { op, ins, attrs, outs } of block.nodes) {
    const out = at(outs, 0);
    const move = op.moves?.(attrs);
    if (move?.kind === "window") {
      const strides = rowMajor(shapeOf(at(ins, 0).type));
      const offset = move.starts.reduce((sum, start, axis) => sum + start * at(strides, axis), 0);
      loads.set(out, {
        array: block.params.indexOf(at(ins, 0)),
        offset,
        strides: space.stridesOf(out, strides),
      });
    }
    const line = op.line?.(attrs);
    if (line) {
      const along = out.type.dims.map((_, axis) => (axis === line.axis ? 1 : 0));
      loads.set(out, {
        array: block.params.length + lines.length,
        offset: 0,
        strides: space.stridesOf(out, along),
      });
      lines.push(line.values);
    }
  }
  const first = block.params.length + lines.length;
  const stores = new Map(
    block.results.map((x, i) => [x, { array: first + i, offset: 0, strides: space.stridesOf(x) }]),
  );
  return { loads, stores, lines };
}

/** Translates a block node by node. */
class Translation {
  private readonly block: Block;
  private readonly bodies: LoopBodies;
  private readonly layout: Layout;
  private readonly depthOf: (x: Value) => number;
  private readonly read: ReadonlySet<Value>;
  private readonly terms: Map<Value, Term>;
  private readonly kept = new Map<Node, Access>();
  private readonly buffers: number[] = [];
  private readonly starts: string[] = [];
  private readonly ends: string[] = [];
  private phases = 1;

  constructor(block: Block, layout: Layout, bodies: LoopBodies, depthOf: (x: Value) => number) {
    this.block = block;
    this.layout = layout;
    this.bodies = bodies;
    this.depthOf = depthOf;
    this.read = new Set(block.nodes.flatMap(({ ins }) => ins));
    this.terms = new Map([...layout.loads].map(([x, access]) => [x, { kind: "load", access }]));
  }

  run(): LoopCode {
    const stored = new Set<Value>();
    for (const node of this.block.nodes) {
      const { op, ins, outs } = node;
      const out = at(outs, 0);
      if (this.terms.has(out)) continue;
      const fold = op.folds?.(node.attrs);
      const isMoved =
        op.moves ||
        (fold && at(ins, 0).type.dims.every(({ size }, axis) => size === 1 || !fold.axes.includes(axis)));
      if (isMoved) this.terms.set(out, this.term(at(ins, 0)));
      else if (!fold) this.terms.set(out, this.computed(node));
      else if (this.read.has(out)) this.terms.set(out, this.foldOfRow(node, fold));
      else {
        this.foldIntoResult(node, fold);
        stored.add(out);
      }
    }
    for (const [x, store] of this.layout.stores) {
      if (stored.has(x)) continue;
      const term = this.term(x);
      const phase = phaseOf(term);
      this.bodies.before(
        phase,
        this.depthOf(x),
        `${this.bodies.element(store, phase)} = ${this.text(term, phase)};`,
      );
    }
    const source = [...this.starts, this.bodies.print(this.phases), ...this.ends].join("\n");
    const inPlace = this.block.results.map((x) => (stored.has(x) ? [] : this.replaceable(x)));
    return { source, lines: this.layout.lines, buffers: this.buffers, inPlace };
  }

  /** Operands of a result's dtype that are read where it is written and never after. */
  private replaceable(x: Value): number[] {
    const store = this.layout.stores.get(x);
    const phase = phaseOf(this.term(x));
    const loads = [...this.layout.loads.values()];
    return this.block.params.flatMap((param, i) => {
      const own = loads.filter(({ array }) => array === i);
      const isSame = own.every(
        (access) =>
          access.offset === 0 &&
          access.strides.every((stride, loop) => stride === store?.strides[loop]) &&
          this.bodies.lastPhase(access) <= phase,
      );
      return param.type.dtype === x.type.dtype && isSame ? [i] : [];
    });
  }

  private get rows(): number {
    return this.bodies.nest.rows;
  }

  private term(x: Value): Term {
    return this.terms.get(x) ?? bug(`%${x.hint} is not defined in the loop`);
  }

  private buffer(length: number): number {
    this.buffers.push(length);
    return (
      this.block.params.length +
      this.layout.lines.length +
      this.block.results.length +
      this.buffers.length -
      1
    );
  }

  /** A term as an expression in a phase that is not before its own. */
  private text(term: Term, phase: number): string {
    if (term.kind === "literal") return term.text;
    if (term.kind === "load") return this.bodies.load(term.access, phase);
    return term.phase < phase && term.depth > this.rows ? this.carried(term, phase) : term.name;
  }

  /** What a row's elements were in an earlier phase: computed again where that is cheap, else kept for the row. */
  private carried(term: Local, phase: number): string {
    const { node, name } = term;
    const isCheap =
      !node.op.costly &&
      node.ins.map((x) => this.term(x)).every((x) => x.kind !== "local" || x.depth <= this.rows);
    if (isCheap) return this.bodies.once(`again ${name} ${phase}`, () => this.computedIn(node, phase).name);
    const access = this.kept.get(node) ?? this.keep(term);
    this.kept.set(node, access);
    return this.bodies.load(access, phase);
  }

  private keep({ name, phase, depth }: Local): Access {
    const { sizes } = this.bodies.nest;
    const own = sizes.slice(this.rows, depth);
    const none = (from: number, to?: number): number[] => sizes.slice(from, to).map(() => 0);
    const strides = [...none(0, this.rows), ...rowMajor(own), ...none(depth)];
    const access: Access = { array: this.buffer(own.reduce((n, size) => n * size, 1)), offset: 0, strides };
    this.bodies.before(phase, depth, `${this.bodies.element(access, phase)} = ${name};`);
    return access;
  }

  private computed(node: Node): Term {
    if (node.ins.length > 0)
      return this.computedIn(node, Math.max(...node.ins.map((x) => phaseOf(this.term(x)))));
    return { kind: "literal", text: String(node.op.scalar?.([], node.attrs, at(node.outs, 0).type)) };
  }

  private computedIn(node: Node, phase: number): Local {
    const operands = node.ins.map((x) => this.term(x));
    const { type } = at(node.outs, 0);
    const depth = Math.max(0, ...operands.map(depthOfTerm));
    const texts = operands.map((term) => this.text(term, phase));
    const name = this.bodies.name("v");
    this.bodies.before(
      phase,
      depth,
      `const ${name} = ${onGrid(String(node.op.scalar?.(texts, node.attrs, type)), type.dtype)};`,
    );
    return { kind: "local", name, phase, depth, node };
  }

  /** A fold that is read inside: over one row, for the next phase. */
  private foldOfRow(node: Node, fold: Fold): Term {
    const total = this.total(node, fold, this.rows);
    const phase = phaseOf(this.term(at(node.ins, 0)));
    const name = this.bodies.name("v");
    this.bodies.after(phase, this.rows, `const ${name} = ${onGrid(total, at(node.outs, 0).type.dtype)};`);
    this.phases = Math.max(this.phases, phase + 2);
    return { kind: "local", name, phase: phase + 1, depth: this.rows, node };
  }

  /** Folds in a local declared at `depth`, over the loops under it. */
  private total(node: Node, { start, step }: Fold, depth: number): string {
    const x = at(node.ins, 0);
    const term = this.term(x);
    const phase = phaseOf(term);
    const total = this.bodies.name("s");
    this.bodies.before(phase, depth, `let ${total} = ${start};`);
    this.bodies.before(phase, this.depthOf(x), `${step(total, this.text(term, phase))};`);
    return total;
  }

  /**
   * A fold that leaves the block: in a local over the innermost loops that the result does not have, and where those are
   * not all, on in an array of doubles.
   */
  private foldIntoResult(node: Node, fold: Fold): void {
    const [x, out] = [at(node.ins, 0), at(node.outs, 0)];
    const store = this.layout.stores.get(out);
    if (!store) return;
    const phase = phaseOf(this.term(x));
    const depth = Math.min(this.depthOf(x), depthOfAccess(store));
    const part = depth < this.depthOf(x) ? this.total(node, fold, depth) : this.text(this.term(x), phase);
    const { dtype } = out.type;
    if (store.strides.slice(0, depth).every((stride) => stride !== 0)) {
      this.bodies.after(phase, depth, `${this.bodies.element(store, phase)} = ${onGrid(part, dtype)};`);
      return;
    }
    const count = sizeOf(out.type.dims);
    const sums: Access = { ...store, array: this.buffer(count) };
    const line = `${fold.step(this.bodies.element(sums, phase), part)};`;
    if (depth < this.depthOf(x)) this.bodies.after(phase, depth, line);
    else this.bodies.before(phase, depth, line);
    this.starts.push(`a${sums.array}.fill(${fold.start});`);
    this.ends.push(
      `for (let i = 0; i < ${count}; i++) a${store.array}[i] = ${onGrid(`a${sums.array}[i]`, dtype)};`,
    );
  }
}

const phaseOf = (term: Term): number => (term.kind === "local" ? term.phase : 0);
const depthOfTerm = (term: Term): number =>
  term.kind === "local" ? term.depth : term.kind === "load" ? depthOfAccess(term.access) : 0;

/** The loops of a block that has a loop space. */
export function loopCode(block: Block): LoopCode {
  const space = loopSpaceOf(block);
  if (isMisfit(space)) bug(`not one loop nest: ${space.why}`);
  const layout = layoutOf(block, space);
  const folded = block.nodes.flatMap(({ op, ins }) => (op.folds ? ins : []));
  const barriers = new Set(folded.map((x) => space.depthOf(x)));
  const nest = joinLoops(space.sizes, space.rows, barriers, [
    ...layout.loads.values(),
    ...layout.stores.values(),
  ]);
  const bodies = new LoopBodies(nest);
  return new Translation(block, layout, bodies, (x) => nest.depthOf(space.depthOf(x))).run();
}
