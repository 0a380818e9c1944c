// The text of a loop nest: code put into the bodies of its loops, and the positions that the loops keep.
import { type Access, depthOfAccess, type Nest } from "./loop-nest.ts";
import { at } from "./op.ts";

/** The code before and after the loop inside a loop's body. */
type Slot = { readonly before: string[]; readonly after: string[] };
type Position = { readonly access: Access; readonly phase: number; readonly name: string };

/**
 * The bodies of the loops over rows, of which there is one each, and of the loops inside a row, which every phase has of
 * its own. What the row itself needs between phases is the body at depth `rows` of a phase.
 */
export class LoopBodies {
  readonly nest: Nest;
  private readonly slots = new Map<string, Slot>();
  private readonly positions = new Map<string, Position>();
  private readonly made = new Map<string, string>();
  private readonly ids = new Map<Access, number>();
  private names = 0;

  constructor(nest: Nest) {
    this.nest = nest;
  }

  name(letter: string): string {
    return `${letter}${this.names++}`;
  }

  /** What `make` gives, made once for a key. */
  once(key: string, make: () => string): string {
    const made = this.made.get(key) ?? make();
    this.made.set(key, made);
    return made;
  }

  private slot(phase: number, depth: number): Slot {
    const key = `${depth < this.nest.rows ? 0 : phase}:${depth}`;
    const slot = this.slots.get(key) ?? { before: [], after: [] };
    this.slots.set(key, slot);
    return slot;
  }

  before(phase: number, depth: number, line: string): void {
    this.slot(phase, depth).before.push(line);
  }

  after(phase: number, depth: number, line: string): void {
    this.slot(phase, depth).after.push(line);
  }

  /** The element of an array where its walk stands. */
  element(access: Access, phase: number): string {
    const depth = depthOfAccess(access);
    if (depth === 0) return `a${access.array}[${access.offset}]`;
    const own = depth > this.nest.rows ? phase : 0;
    const id = this.ids.get(access) ?? this.ids.size;
    this.ids.set(access, id);
    const position = this.positions.get(`${id}:${own}`) ?? { access, phase: own, name: this.name("p") };
    this.positions.set(`${id}:${own}`, position);
    return `a${access.array}[${position.name}]`;
  }

  /** The last phase in which an array is read or written under a walk. */
  lastPhase(access: Access): number {
    const phases = [...this.positions.values()]
      .filter((each) => each.access === access)
      .map(({ phase }) => phase);
    return Math.max(-1, ...phases);
  }

  /** The local that an array's element is loaded into. */
  load(access: Access, phase: number): string {
    const depth = depthOfAccess(access);
    const text = this.element(access, phase);
    return this.once(`load ${text}`, () => {
      const local = this.name("x");
      this.before(depth > this.nest.rows ? phase : 0, depth, `const ${local} = ${text};`);
      return local;
    });
  }

  print(phases: number): string {
    return this.body(0, phases).join("\n");
  }

  /** A loop's body down to the rows; then the phases of a row one after another. */
  private body(depth: number, phases: number): string[] {
    if (depth === this.nest.rows)
      return Array.from({ length: phases }, (_, phase) => this.row(depth, phase)).flat();
    const { before, after } = this.slot(0, depth);
    return [...before, ...this.loop(depth, 0, this.body(depth + 1, phases)), ...after];
  }

  private row(depth: number, phase: number): string[] {
    const { before, after } = this.slot(phase, depth);
    const isDeeper = this.nest.sizes.some(
      (_, loop) => loop >= depth && this.slots.has(`${phase}:${loop + 1}`),
    );
    return [...before, ...(isDeeper ? this.loop(depth, phase, this.row(depth + 1, phase)) : []), ...after];
  }

  private loop(depth: number, phase: number, body: readonly string[]): string[] {
    const isOfRows = depth < this.nest.rows;
    const moved = [...this.positions.values()].filter(
      (position) => at(position.access.strides, depth) !== 0 && (isOfRows || position.phase === phase),
    );
    const i = `i${depth}`;
    return [
      `for (let ${i} = 0; ${i} < ${at(this.nest.sizes, depth)}; ${i}++) {`,
      ...moved.map(({ access, name }) => {
        const outer = access.strides.findLastIndex((stride, loop) => loop < depth && stride !== 0);
        const from = outer < 0 ? String(access.offset) : `${name}_${outer}`;
        const stride = at(access.strides, depth);
        const to = depth === depthOfAccess(access) - 1 ? name : `${name}_${depth}`;
        return `const ${to} = ${from} + ${stride === 1 ? i : `imul(${i}, ${stride})`};`;
      }),
      ...body,
      "}",
    ];
  }
}
