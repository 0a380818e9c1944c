// Which ops of a block become one loop nest. The rule is written down in fuse-kernels.ts.

import { elements, rankOf } from "../compiler/ir/shape.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
import { isLoopOp } from "../compiler/ops/fused.ts";
import { isMisfit, loopSpaceOf } from "../compiler/ops/loop-space.ts";
import { Contraction } from "./contraction.ts";

/** A group compiles to one function; from about here on its locals no longer fit a machine's registers. */
const MOST_OPS = 64;

/** Ops that run as one: its own, and copies of free ops, whose originals stay for other readers. */
export type Group = { readonly own: ReadonlySet<Node>; readonly copies: ReadonlySet<Node> };
type Growing = { own: Set<Node>; copies: Set<Node>; into?: Growing };
/** What reads a value: a group, or a node in none. */
type Unit = Growing | Node;

const isGroup = (unit: Unit): unit is Growing => "own" in unit;
const current = (unit: Unit): Unit => (isGroup(unit) && unit.into ? current(unit.into) : unit);

/** Costs nothing wherever it is read: a constant, an index line, the same elements under other dims. */
function isFree({ op, ins, attrs }: Node): boolean {
  const move = op.moves?.(attrs).kind;
  return isLoopOp(op) && (ins.length === 0 || move === "reshape" || move === "stretch");
}

/** Members as a block in program order, with the results that others read. */
export function blockOfMembers(members: readonly Node[], results: readonly Value[]): Block {
  const made = new Set(members.flatMap(({ outs }) => outs));
  const params = new Set(members.flatMap(({ ins }) => ins).filter((x) => !made.has(x)));
  return { params: [...params], nodes: members, results };
}

class Grouping {
  private readonly order: ReadonlyMap<Node, number>;
  private readonly results: ReadonlySet<Value>;
  private readonly readers = new Map<Value, Set<Unit>>();
  private readonly graph: Contraction<Unit>;
  readonly groups: Growing[] = [];

  constructor(block: Block) {
    this.order = new Map(block.nodes.map((each, i) => [each, i]));
    this.results = new Set(block.results);
    this.graph = new Contraction<Unit>(block.nodes, (unit) => this.next(unit));
    for (const each of block.nodes.toReversed()) this.place(each);
    for (const x of [...block.params, ...block.nodes.flatMap(({ outs }) => outs)]) this.joinSiblings(x);
  }

  readersOf(x: Value): Set<Unit> {
    return new Set([...(this.readers.get(x) ?? [])].map(current));
  }

  private reads(unit: Unit, ins: readonly Value[]): void {
    for (const x of ins) {
      const units = this.readers.get(x) ?? new Set();
      units.add(unit);
      this.readers.set(x, units);
    }
  }

  private place(each: Node): void {
    const units = [...new Set(each.outs.flatMap((out) => [...this.readersOf(out)]))];
    const groups = this.inOrder(units.filter(isGroup));
    if (isFree(each)) {
      const takers = groups.filter((group) =>
        this.fits({ own: group.own, copies: new Set([...group.copies, each]) }, group),
      );
      for (const group of takers) {
        group.copies.add(each);
        this.reads(group, each.ins);
      }
      const isAlone = takers.length < units.length || each.outs.some((out) => this.results.has(out));
      if (isAlone) this.reads(each, each.ins);
      return;
    }
    const isMove = each.op.moves !== undefined;
    const isShared = units.length > 1 || each.outs.some((out) => this.results.has(out));
    if (!isLoopOp(each.op) || (isMove && (isShared || groups.length === 0))) {
      this.reads(each, each.ins);
      return;
    }
    const group: Growing = { own: new Set([each]), copies: new Set() };
    this.graph.rename(each, group);
    // A scalar that several read would tie unrelated groups together.
    const isHub = units.length > 1 && each.outs.every((out) => elements(out.type) === 1);
    for (const other of isHub ? [] : groups) this.merge(group, other);
    if (isMove && !group.into) {
      this.graph.rename(group, each);
      this.reads(each, each.ins);
      return;
    }
    if (!group.into) this.groups.push(group);
    this.reads(current(group), each.ins);
  }

  /** Groups that read one operand as large as their loops share its loads. */
  private joinSiblings(x: Value): void {
    if (rankOf(x.type) === 0) return;
    const apart: Growing[] = [];
    for (const group of this.inOrder([...this.readersOf(x)].filter(isGroup))) {
      const isIn = apart.some((other) => {
        this.merge(other, group);
        return current(other) === current(group);
      });
      if (!isIn) apart.push(group);
    }
  }

  /** Makes two groups one where that is one loop nest and nothing lies between them. */
  private merge(a: Growing, b: Growing): void {
    const [left, right] = [current(a), current(b)];
    if (left === right || !isGroup(left) || !isGroup(right)) return;
    if (left.own.size + right.own.size > MOST_OPS) return;
    const between = this.graph.between(left, right);
    if (!between) return;
    const merged: Growing = {
      own: new Set([...left.own, ...right.own]),
      copies: new Set([...left.copies, ...right.copies]),
    };
    if (!this.fits(merged, left, right)) return;
    left.into = merged;
    right.into = merged;
    this.graph.join(left, right, merged, between);
    this.groups.push(merged);
  }

  private inOrder(groups: readonly Growing[]): Growing[] {
    return [...groups].sort((a, b) => this.graph.rankOf(a) - this.graph.rankOf(b));
  }

  private next(unit: Unit): Unit[] {
    const outs = isGroup(unit) ? [...unit.own].flatMap((each) => each.outs) : unit.outs;
    return [...new Set(outs.flatMap((out) => [...this.readersOf(out)]))].filter((each) => each !== unit);
  }

  members({ own, copies }: Group): Node[] {
    return [...own, ...copies].sort((a, b) => (this.order.get(a) ?? 0) - (this.order.get(b) ?? 0));
  }

  /** What the ops compute that anything but the given groups reads. */
  resultsOf(own: ReadonlySet<Node>, ...inside: readonly Unit[]): Value[] {
    const isInside = new Set(inside);
    return this.members({ own, copies: new Set() })
      .flatMap(({ outs }) => outs)
      .filter((out) => this.results.has(out) || [...this.readersOf(out)].some((unit) => !isInside.has(unit)));
  }

  private fits(group: Group, ...inside: readonly Growing[]): boolean {
    return !isMisfit(loopSpaceOf(blockOfMembers(this.members(group), this.resultsOf(group.own, ...inside))));
  }
}

export type FoundGroup = {
  readonly own: ReadonlySet<Node>;
  readonly members: readonly Node[];
  readonly results: readonly Value[];
};

/** The groups of a block that are worth a loop nest of their own. */
export function groupsOf(block: Block): FoundGroup[] {
  const grouping = new Grouping(block);
  return grouping.groups
    .filter((group) => group.into === undefined && group.own.size > 0)
    .map((group) => ({
      own: group.own,
      members: grouping.members(group),
      results: grouping.resultsOf(group.own, group),
    }))
    .filter(
      ({ own, members }) =>
        own.size > 1 ||
        members.some((each) => !own.has(each) && each.op.moves?.(each.attrs).kind !== "reshape"),
    );
}
