// Rounds of equal nodes as the body of a scan: what each round gets from the one before, what it has of its own and
// what all share.
import { value } from "../compiler/ir/build.ts";
import { withOperands } from "../compiler/ir/rewrite.ts";
import { formatType, range, sameType } from "../compiler/ir/shape.ts";
import type { Block, Node, TensorType, Value } from "../compiler/ir/types.ts";
import { at } from "../compiler/ops/op.ts";
import { stackName } from "../compiler/stacks.ts";

/** Nodes `from` to `to` of a block, `count` rounds of equally many. */
export type Rounds = { readonly from: number; readonly to: number; readonly count: number };

/** A value in each round, and how many operands of a round it is. */
export type Own = { readonly members: readonly Value[]; readonly sites: number };

export type Rolled = Rounds & {
  /** What the first round gets of each carry, and what the last one leaves. */
  readonly carries: readonly { readonly init: Value; readonly last: Value }[];
  readonly xs: readonly Own[];
  readonly consts: readonly Value[];
  /** Values of every round that are read after the last one. */
  readonly ys: readonly (readonly Value[])[];
  readonly region: Block;
};

/** The node that last reads each value; what the block returns is read after all nodes. */
export function lastReads(block: Block): ReadonlyMap<Value, number> {
  const reads = new Map<Value, number>();
  block.nodes.forEach(({ ins }, i) => {
    for (const x of ins) reads.set(x, i);
  });
  for (const x of block.results) reads.set(x, block.nodes.length);
  return reads;
}

type Home = { readonly round: number; readonly place: string };

/** An operand of a node, round by round, as what it is to the scan. */
type Operand = {
  readonly kind: "own" | "carry" | "x" | "const";
  readonly members: readonly Value[];
  readonly place: string;
};

/** Which nodes' results of which rounds the values are; two values of one place are the same thing in their rounds. */
function homesIn({ nodes }: Block, { from, to, count }: Rounds): ReadonlyMap<Value, Home> {
  const size = (to - from) / count;
  const homes = new Map<Value, Home>();
  nodes.slice(from, to).forEach(({ outs }, i) => {
    outs.forEach((out, j) => homes.set(out, { round: Math.floor(i / size), place: `${i % size}.${j}` }));
  });
  return homes;
}

function classify(members: readonly Value[], homes: ReadonlyMap<Value, Home>): Operand | undefined {
  const [first, second] = [members[0], members[1]];
  const home = second && homes.get(second);
  const isFrom = (back: number) =>
    members.every((x, round) => {
      const own = homes.get(x);
      return round < back ? own === undefined : own?.round === round - back && own.place === home?.place;
    });
  if (home && isFrom(0)) return { kind: "own", members, place: home.place };
  if (home && isFrom(1)) return { kind: "carry", members, place: home.place };
  if (members.some((x) => homes.has(x))) return undefined;
  return { kind: members.every((x) => x === first) ? "const" : "x", members, place: "" };
}

/** Operands by identity: one entry for all sites that are the same thing in every round. */
class Distinct {
  readonly found = new Map<string, Operand & { sites: number }>();
  private readonly numbers = new Map<Value, number>();
  private keyOf({ kind, members, place }: Operand): string {
    const numbers = (kind === "carry" ? members.slice(0, 1) : members).map((x) => {
      if (!this.numbers.has(x)) this.numbers.set(x, this.numbers.size);
      return this.numbers.get(x);
    });
    return `${kind} ${place} ${numbers.join()}`;
  }
  add(operand: Operand): string {
    const key = this.keyOf(operand);
    this.found.set(key, { ...operand, sites: (this.found.get(key)?.sites ?? 0) + 1 });
    return key;
  }
  of(kind: Operand["kind"]) {
    return [...this.found].filter(([, operand]) => operand.kind === kind);
  }
}

/** Rolls rounds up; in words, why that cannot be. */
export function roll(block: Block, rounds: Rounds, reads: ReadonlyMap<Value, number>): Rolled | string {
  const { from, to, count } = rounds;
  const size = (to - from) / count;
  const nodeAt = (round: number, index: number): Node => at(block.nodes, from + round * size + index);
  const homes = homesIn(block, rounds);
  const distinct = new Distinct();
  const sites: string[][] = [];
  for (const [index, { op, ins, outs }] of block.nodes.slice(from, from + size).entries()) {
    const keys: string[] = [];
    for (const k of ins.keys()) {
      const operand = classify(
        range(count).map((round) => at(nodeAt(round, index).ins, k)),
        homes,
      );
      if (!operand) return `\`${op.name}\` of %${outs[0]?.hint} reads a round before the last one`;
      keys.push(distinct.add(operand));
    }
    sites.push(keys);
  }
  const inRound = (place: string, round: number): Value => {
    const [index = 0, out = 0] = place.split(".").map(Number);
    return at(nodeAt(round, index).outs, out);
  };
  const carries = distinct
    .of("carry")
    .map(([key, { members, place }]) => ({
      key,
      place,
      init: at(members, 0),
      last: inRound(place, count - 1),
    }));
  const misfit = carries.find(({ init, last }) => !sameType(init.type, last.type));
  if (misfit)
    return `%${misfit.last.hint} begins as ${formatType(misfit.init.type)} and goes on as ${formatType(misfit.last.type)}`;
  const [xs, consts] = [distinct.of("x"), distinct.of("const")];

  const isReadAfter = (x: Value): boolean => (reads.get(x) ?? -1) >= to;
  const carried = new Set(carries.map(({ last }) => last));
  const places = [...new Set([...homes.values()].map(({ place }) => place))];
  const yPlaces = places.filter((place) =>
    range(count).some((round) => {
      const x = inRound(place, round);
      return isReadAfter(x) && !carried.has(x);
    }),
  );

  const params = new Map<string, Value>([
    ...carries.map(({ key, last }) => [key, value(last.hint, last.type)] as const),
    ...xs.map(([key, { members }]) => [key, value(nameOf(members), typeOf(members))] as const),
    ...consts.map(([key, { members }]) => [key, value(nameOf(members), typeOf(members))] as const),
  ]);
  const own = new Map<string, Value>();
  const nodes = sites.map((keys, index) => {
    const first = nodeAt(0, index);
    const fresh = withOperands(
      first,
      keys.map((key) => params.get(key) ?? (at([own.get(distinct.found.get(key)?.place ?? "")], 0) as Value)),
    );
    fresh.outs.forEach((out, j) => own.set(`${index}.${j}`, out));
    return fresh;
  });
  const results = [...carries.map(({ place }) => place), ...yPlaces].map(
    (place) => at([own.get(place)], 0) as Value,
  );
  return {
    ...rounds,
    carries,
    xs: xs.map(([, operand]) => operand),
    consts: consts.map(([, { members }]) => at(members, 0)),
    ys: yPlaces.map((place) => range(count).map((round) => inRound(place, round))),
    region: { params: [...params.values()], nodes, results },
  };
}

const nameOf = (members: readonly Value[]): string =>
  stackName(members.map((x) => x.hint)) ?? at(members, 0).hint;
const typeOf = (members: readonly Value[]): TensorType => at(members, 0).type;
