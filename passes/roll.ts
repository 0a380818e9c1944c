// Rounds of equal nodes as the body of a scan: what each round gets from the one before, what it has of its own and
// what all share.
import { invariant } from "../compiler/diag.ts";
import { value } from "../compiler/ir/build.ts";
import { withOperands } from "../compiler/ir/rewrite.ts";
import { formatType, range, sameType } from "../compiler/ir/shape.ts";
import type { Block, Node, Value } from "../compiler/ir/types.ts";
import { at } from "../compiler/ops/op.ts";
import { stackName } from "../compiler/stacks.ts";

/** Nodes `from` to `to` of a block, `count` rounds of equally many. */
export type Rounds = { readonly from: number; readonly to: number; readonly count: number };

/** A value in each round, and how many operands of a round it is. */
export type Own = { readonly members: readonly Value[]; readonly sites: number };

/** Rounds as one region, and what goes into it and comes out. */
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
    for (const [j, out] of outs.entries())
      homes.set(out, { round: Math.floor(i / size), place: `${i % size}.${j}` });
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

/** Operands by identity: one for all sites that are the same thing in every round. */
class Operands {
  private readonly found = new Map<string, Operand & { sites: number; readonly key: string }>();
  private readonly numbers = new Map<Value, number>();
  /** The key of an operand; `find` gives what it is. */
  add(operand: Operand): string {
    const told = operand.kind === "carry" ? operand.members.slice(0, 1) : operand.members;
    const numbers = told.map((x) => {
      const number = this.numbers.get(x) ?? this.numbers.size;
      this.numbers.set(x, number);
      return number;
    });
    const key = `${operand.kind} ${operand.place} ${numbers.join()}`;
    this.found.set(key, { ...operand, key, sites: (this.found.get(key)?.sites ?? 0) + 1 });
    return key;
  }
  find(key: string): Operand {
    return sure(this.found.get(key));
  }
  of(kind: Operand["kind"]) {
    return [...this.found.values()].filter((operand) => operand.kind === kind);
  }
}

function sure<X>(x: X | undefined): X {
  invariant(x !== undefined, "a round refers to what is not in it");
  return x;
}

/** The operands of the first round's nodes by key, or in words why there can be no scan. */
function sitesIn(nodesOf: readonly (readonly Node[])[], homes: ReadonlyMap<Value, Home>, operands: Operands) {
  const sites: string[][] = [];
  for (const [index, { op, ins, outs }] of sure(nodesOf[0]).entries()) {
    const found = ins.map((_, k) =>
      classify(
        nodesOf.map((nodes) => at(at(nodes, index).ins, k)),
        homes,
      ),
    );
    if (found.some((operand) => !operand))
      return `\`${op.name}\` of %${outs[0]?.hint} reads a round before the last one`;
    sites.push(found.flatMap((operand) => (operand ? [operands.add(operand)] : [])));
  }
  return sites;
}

/** Rolls rounds up; in words, why that cannot be. */
export function roll(block: Block, rounds: Rounds, reads: ReadonlyMap<Value, number>): Rolled | string {
  const { from, to, count } = rounds;
  const size = (to - from) / count;
  const nodesOf = range(count).map((round) =>
    block.nodes.slice(from + round * size, from + (round + 1) * size),
  );
  const homes = homesIn(block, rounds);
  const operands = new Operands();
  const sites = sitesIn(nodesOf, homes, operands);
  if (typeof sites === "string") return sites;
  /** What is at a place of a round, in each round. */
  const inRounds = (place: string): readonly Value[] => {
    const [index = 0, out = 0] = place.split(".").map(Number);
    return nodesOf.map((nodes) => at(at(nodes, index).outs, out));
  };
  const carries = operands.of("carry").map(({ key, members, place }) => ({
    key,
    place,
    init: at(members, 0),
    last: at(inRounds(place), count - 1),
  }));
  const changed = carries.find(({ init, last }) => !sameType(init.type, last.type));
  if (changed)
    return `%${changed.last.hint} begins as ${formatType(changed.init.type)} and goes on as ${formatType(changed.last.type)}`;
  const [xs, consts] = [operands.of("x"), operands.of("const")];

  const carried = new Set(carries.map(({ last }) => last));
  const isYielded = (x: Value): boolean => (reads.get(x) ?? -1) >= to && !carried.has(x);
  const yields = [...new Set([...homes.values()].map(({ place }) => place))].filter((place) =>
    inRounds(place).some(isYielded),
  );

  const params = new Map([
    ...carries.map(({ key, last }) => [key, value(last.hint, last.type)] as const),
    ...[...xs, ...consts].map(
      ({ key, members }) => [key, value(nameOf(members), at(members, 0).type)] as const,
    ),
  ]);
  const made = new Map<string, Value>();
  const nodes = sites.map((keys, index) => {
    const ins = keys.map((key) => params.get(key) ?? sure(made.get(operands.find(key).place)));
    const fresh = withOperands(at(sure(nodesOf[0]), index), ins);
    for (const [i, out] of fresh.outs.entries()) made.set(`${index}.${i}`, out);
    return fresh;
  });
  const results = [...carries.map(({ place }) => place), ...yields].map((place) => sure(made.get(place)));
  return {
    ...rounds,
    carries,
    xs,
    consts: consts.map(({ members }) => at(members, 0)),
    ys: yields.map(inRounds),
    region: { params: [...params.values()], nodes, results },
  };
}

const nameOf = (members: readonly Value[]): string =>
  stackName(members.map((x) => x.hint)) ?? at(members, 0).hint;
