// From one layout of a model's parameters to another: which box of which tensor each element of the other comes from.

import type { Factor } from "../../compiler/arch/dims.ts";
import { invariant } from "../../compiler/diag.ts";
import { grouped } from "../../compiler/grouped.ts";
import { extentsOf, type Factors, type Layout, type Piece } from "./layout.ts";
import type { StoredTensor } from "./tensors.ts";

/** A box of a tensor by the factors it is made of. Two boxes of one move have the same factors, in their own order. */
export type FactoredBox = { readonly start: readonly number[]; readonly dims: Factors };

/** Elements of one tensor that become a box of another, rearranged. */
export type Move = { readonly from: string; readonly source: FactoredBox; readonly target: FactoredBox };

/** A tensor to be made, and the moves that tile it. */
export type TensorPlan = {
  readonly name: string;
  readonly shape: readonly number[];
  readonly moves: readonly Move[];
  /** The axis along which it stacks layers, if it does. */
  readonly stackAxis: number | undefined;
};

/** The plan of a tensor that stays as it is. */
export function planCopy({ name, shape }: StoredTensor): TensorPlan {
  const dims = shape.map((size, axis) => [{ key: `axis ${axis}`, size }]);
  const box = { start: shape.map(() => 0), dims };
  return { name, shape, moves: [{ from: name, source: box, target: box }], stackAxis: undefined };
}

type Home = { readonly tensor: string; readonly piece: Piece };

/** How every tensor of a layout is made of the tensors of another that holds the same parameters. */
export function planTensors(target: Layout, source: Layout): TensorPlan[] {
  const homes = homesOf(source);
  return [...target].map(([name, { shape, pieces, stackAxis }]) => {
    const moves = pieces.flatMap((piece) => movesOf(piece, homes.get(piece.param)));
    return { name, shape, moves, stackAxis };
  });
}

/** Where each parameter lies: in one place, or in one per index of a factor. */
const homesOf = (layout: Layout): ReadonlyMap<string, readonly Home[]> =>
  grouped(
    [...layout].flatMap(([tensor, { pieces }]) => pieces.map((piece): Home => ({ tensor, piece }))),
    ({ piece }) => piece.param,
  );

function movesOf(piece: Piece, homes: readonly Home[] | undefined): Move[] {
  invariant(homes?.[0], `${piece.param} is in no tensor of the source`);
  const move = ({ tensor, piece: home }: Home): Move => ({
    from: tensor,
    source: narrowed(home, piece.only),
    target: narrowed(piece, home.only),
  });
  // Homes come in the order of their index.
  if (!piece.only || !homes[0].piece.only) return homes.map(move);
  const same = homes[piece.only.index];
  invariant(same, `${piece.param} has no index ${piece.only.index} in the source`);
  return [move(same)];
}

/** The box with one factor at one index only. */
function narrowed({ start, dims, only }: Piece, at: Piece["only"]): FactoredBox {
  if (!at || only) return { start, dims };
  const axis = dims.findIndex((factors) => factors.some(({ key }) => key === at.key));
  if (axis < 0) return { start, dims };
  const [leading, ...rest] = dims[axis] ?? [];
  invariant(leading?.key === at.key, `${at.key} leads its dim`);
  const step = rest.reduce((n, { size }: Factor) => n * size, 1);
  return { start: start.with(axis, (start[axis] ?? 0) + at.index * step), dims: dims.with(axis, rest) };
}

/** The extents of a factored box along its axes. */
export const boxOf = ({ start, dims }: FactoredBox): readonly (readonly [number, number])[] =>
  extentsOf(dims).map((extent, axis) => [start[axis] ?? 0, (start[axis] ?? 0) + extent]);
