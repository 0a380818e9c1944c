// What a checkpoint holds of a model: which of its parameters lie in which tensors, in either format.
import type { ParamDecl } from "../../compiler/arch/param.ts";
import { fail } from "../../compiler/diag.ts";
import { requireNames } from "./compare-names.ts";
import { rowBlocks } from "./convert/blocks.ts";
import { gather } from "./gather.ts";
import { huggingFaceLayout, type Layout, renamed, repeatedLayout, treeLayout } from "./layout.ts";
import type { OrbaxReader } from "./orbax/read.ts";
import { EMPTY_NODES, type Leaf, nameOf, type TreePath } from "./orbax/tree.ts";
import type { OtherLeaf } from "./orbax/write.ts";
import { planTensors } from "./plan.ts";
import type { StoredTensor, TensorReader } from "./tensors.ts";

/** A model's parameters: its own, and those of a head that a checkpoint holds whole or not at all. */
export type ModelParams = { readonly own: readonly ParamDecl[]; readonly draft: readonly ParamDecl[] };

/** The parameters, or numbers as many as they have: a moment of the optimizer. */
export type Group = {
  /** Where in the tree they are; nothing for Hugging Face tensors. */
  readonly path: TreePath;
  readonly params: readonly ParamDecl[];
  readonly layout: Layout;
};

/** A tensor that is no parameter of the model, and its place in a tree. */
export type Other = { readonly tensor: StoredTensor; readonly path: TreePath; readonly isScalar: boolean };

/** A checkpoint that was looked through. */
export type Contents = {
  readonly kind: "huggingface" | "maxtext";
  /** Whether layers are stacked. */
  readonly scanned: boolean;
  readonly groups: readonly Group[];
  /** Tensors that go along as they are. */
  readonly others: readonly Other[];
  /** Leaves of the tree without elements. */
  readonly leaves: readonly OtherLeaf[];
};

/** Where MaxText's own converter puts parameters. */
export const PARAMS: TreePath = ["params", "params"];

/** The key under it for tensors that only Hugging Face checkpoints have, by their names there. */
const BESIDE = "hugging_face";

/** What the optimizer keeps lies under this key of the tree. */
const OPTIMIZER = "opt_state";

/** Whether a group is a moment of the optimizer. */
export const isMoment = ({ path }: Group): boolean => path[0] === OPTIMIZER;

/** The parameters themselves. */
export function paramsOf(source: TensorReader, { groups }: Contents): Group {
  const params = groups.find((group) => !isMoment(group));
  if (params) return params;
  return fail({
    code: "checkpoint-model",
    message: "holds moments of an optimizer, but not the parameters",
    at: { file: source.path },
  });
}

/** Tensors that say nothing and that a checkpoint may hold: rotary tables of old files. */
const isIdle = (name: string): boolean => /rotary_emb\.inv_freq$/.test(name);

/** Tensors of a multi-token prediction head that the architecture does not declare. */
const isExtra = (name: string): boolean => name.startsWith("mtp.");

/** Looks through Hugging Face tensors. Missing, unexpected and misshapen ones are one error. */
export function huggingFaceContents(source: TensorReader, { own, draft }: ModelParams): Contents {
  const has = (name: string): boolean => source.tensors.has(name);
  const drafts = huggingFaceLayout(draft, has);
  const params = [...drafts.keys()].some(has) ? [...own, ...draft] : own;
  const layout = huggingFaceLayout(params, has);
  const repeated = repeatedLayout(params, has);
  const known = new Map(
    [...source.tensors].filter(([name]) => layout.has(name) || !(isIdle(name) || isExtra(name))),
  );
  requireNames(source.path, new Map([...repeated, ...layout]), known);
  requireRepeated(source, repeated, layout);
  const others = [...source.tensors.values()]
    .filter(({ name }) => isExtra(name) && !layout.has(name))
    .map((tensor) => ({ tensor, path: [...PARAMS, BESIDE, ...tensor.name.split(".")], isScalar: false }));
  return { kind: "huggingface", scanned: false, groups: [{ path: [], params, layout }], others, leaves: [] };
}

/** What a checkpoint holds of a parameter twice must be the same, or it would depend on chance which is taken. */
function requireRepeated(source: TensorReader, repeated: Layout, layout: Layout): void {
  for (const plan of planTensors(repeated, layout)) {
    const { dtype } = source.tensors.get(plan.name) ?? { dtype: "F32" };
    const isSame = rowBlocks({ plan, dtype }, source).every(({ box }) =>
      isEqual(source.read(plan.name, box), gather(plan, box, source, dtype)),
    );
    if (isSame) continue;
    const others = [...new Set(plan.moves.map(({ from }) => `\`${from}\``))];
    fail({
      code: "tensor-repeated",
      message: `tensor \`${plan.name}\`: expected what ${others.join(", ")} holds of the same parameter, found other numbers`,
      at: { file: source.path },
      help: "a head that is not the embedding has tie_word_embeddings=false in config.json",
    });
  }
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** The Hugging Face name of a tensor that went along in a tree, if it is one. */
export function huggingFaceName({ path }: Other): string | undefined {
  const before = [...PARAMS, BESIDE];
  return before.every((key, i) => path[i] === key) ? nameOf(path.slice(before.length)) : undefined;
}

/** Looks through a MaxText tree: parameters wherever they are in it, layers single or stacked. */
export function maxTextContents(
  source: OrbaxReader,
  { own, draft }: ModelParams,
  scanAxis: number,
): Contents {
  const { leaves, tensors, path } = source;
  const layer = own.find(({ stack }) => stack !== undefined);
  const anchors = [
    { scanned: true, at: layer?.stack?.path ?? "" },
    { scanned: false, at: layer?.path ?? "" },
  ];
  const found = anchors.flatMap(({ scanned, at }) =>
    leaves.flatMap((leaf) => {
      const place = placeOf(leaf, at.split("."));
      return place ? [{ scanned, ...place }] : [];
    }),
  );
  const [first] = found;
  if (!first)
    return fail({
      code: "checkpoint-model",
      message: `holds no parameters of this model: expected ${anchors.map(({ at }) => `\`…${at}\``).join(" or ")}`,
      at: { file: path },
      help: "name the model that was saved there: model_name=…",
    });
  const { scanned } = first;
  const groups = found.map(({ prefix, suffix }): Group => {
    const full = (name: string): string => nameOf([...prefix, name, ...suffix]);
    const tree = (some: readonly ParamDecl[]) => treeLayout(some, { scanned, scanAxis });
    const hasDraft = [...tree(draft).keys()].some((name) => tensors.has(full(name)));
    const params = hasDraft ? [...own, ...draft] : own;
    const layout = renamed(tree(params), full);
    const under = [...tensors].filter(
      ([name]) =>
        name.startsWith(nameOf([...prefix, ""])) && !name.startsWith(nameOf([...prefix, BESIDE, ""])),
    );
    requireNames(path, layout, new Map(prefix.length === 0 ? tensors : under));
    return { path: prefix, params, layout };
  });
  const held = new Set(groups.flatMap(({ layout }) => [...layout.keys()]));
  const others = leaves.flatMap(({ path: at, kind }) => {
    const tensor = tensors.get(nameOf(at));
    return tensor && !held.has(tensor.name) ? [{ tensor, path: at, isScalar: kind === "scalar" }] : [];
  });
  return { kind: "maxtext", scanned, groups, others, leaves: otherLeaves(source) };
}

/** Leaves without elements, as they are written again. */
function otherLeaves({ leaves, strings }: OrbaxReader): OtherLeaf[] {
  return leaves.flatMap(({ path, kind }): OtherLeaf[] => {
    if (kind === "string") return [{ path, text: strings.get(nameOf(path)) ?? "" }];
    const empty = EMPTY_NODES.find((node) => node === kind);
    return empty ? [{ path, empty }] : [];
  });
}

/** What stands before and after a parameter's path in a leaf's; a bare tree of NNX has `value` after it. */
function placeOf(
  { path }: Leaf,
  parts: readonly string[],
): { readonly prefix: TreePath; readonly suffix: TreePath } | undefined {
  const suffix = path.at(-1) === "value" ? path.slice(-1) : [];
  const end = path.length - suffix.length;
  const start = end - parts.length;
  const isThere = start >= 0 && parts.every((part, i) => path[start + i] === part);
  return isThere ? { prefix: path.slice(0, start), suffix } : undefined;
}
