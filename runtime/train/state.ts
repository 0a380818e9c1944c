// The state of a training run, and its place in the tree of tensors that MaxText saves: parameters, AdamW's moments,
// layers stacked or each by itself, and how many steps were taken.
import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { fail, invariant } from "../../compiler/diag.ts";
import { type DType, dtypeNamed } from "../../compiler/dtype.ts";
import { elements } from "../../compiler/ir/shape.ts";
import { requireNames } from "../checkpoint/compare-names.ts";
import { decodeFloats, encodeFloats, type StoredFloat, storedFloat } from "../checkpoint/convert-dtype.ts";
import type { Weights } from "../checkpoint/hugging-face.ts";
import { extentsOf, stackingProblem, treeLayout } from "../checkpoint/layout.ts";
import type { OrbaxReader } from "../checkpoint/orbax/read.ts";
import { nameOf, type TreePath } from "../checkpoint/orbax/tree.ts";
import type { OrbaxTensor, OtherLeaf } from "../checkpoint/orbax/write.ts";
import type { Box } from "../checkpoint/tensors.ts";

/** What the optimiser keeps: the steps it took, and the moments by parameter, in the parameters' own layouts. */
export type OptimizerState = { readonly step: number; readonly mu: Weights; readonly nu: Weights };

/** Everything that one step hands on to the next. */
export type TrainState = OptimizerState & { readonly params: Weights };

/** Numbers that are a box of a tensor. */
export type StatePart = {
  readonly name: string;
  readonly box: Box;
  readonly dtype: StoredFloat | "I32";
  readonly values: Float32Array | Int32Array;
};

/** The bytes of a part as they are stored. */
export const bytesOfPart = ({ dtype, values }: StatePart): Uint8Array =>
  values instanceof Float32Array && dtype !== "I32"
    ? encodeFloats(dtype, values)
    : new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A state as a tree: its tensors, the leaves that hold nothing, and what fills the tensors. */
export type StateTree = {
  readonly tensors: readonly OrbaxTensor[];
  readonly leaves: readonly OtherLeaf[];
  readonly parts: readonly StatePart[];
  readonly isScanned: boolean;
};

/** optax's chain for AdamW: the moments, something without a state, and the schedule, which counts steps too. */
const COUNTS: readonly TreePath[] = [["step"], ["opt_state", 0, "count"], ["opt_state", 2, "count"]];
const STATELESS: TreePath = ["opt_state", 1];
const ROOTS = {
  params: ["params", "params"],
  mu: ["opt_state", 0, "mu", "params"],
  nu: ["opt_state", 0, "nu", "params"],
} as const satisfies Readonly<Record<string, TreePath>>;
type Group = keyof typeof ROOTS;
const GROUPS: readonly Group[] = ["params", "mu", "nu"];

type Home = {
  readonly group: Group;
  readonly path: TreePath;
  readonly dtype: StoredFloat;
  readonly shape: readonly number[];
  /** The boxes of parameters in it, each of the same extents. */
  readonly boxes: readonly { readonly param: string; readonly box: Box }[];
};

function homesOf(params: readonly ParamDecl[], { values }: Config, scanned: boolean): readonly Home[] {
  const dtypes = new Map(params.map(({ path, value }) => [path, value.type.dtype]));
  const stored = (dtype: DType | undefined): StoredFloat => {
    invariant(dtype, "a parameter for every piece");
    return storedFloat(dtype);
  };
  const layout = treeLayout(params, { scanned, scanAxis: values.param_scan_axis });
  return GROUPS.flatMap((group) =>
    [...layout].map(([name, { shape, pieces }]): Home => {
      const dtype = group === "mu" ? dtypeNamed(values.mu_dtype) : dtypes.get(pieces[0]?.param ?? "");
      const boxes = pieces.map(({ param, start, dims }) => ({
        param,
        box: extentsOf(dims).map((extent, axis) => {
          const first = start[axis] ?? 0;
          return [first, first + extent] as const;
        }),
      }));
      return { group, path: [...ROOTS[group], ...name.split(".")], dtype: stored(dtype), shape, boxes };
    }),
  );
}

/** The tree of a state as MaxText saves it; layers that do not stack are saved each by itself. */
export function stateTree(params: readonly ParamDecl[], config: Config, state: TrainState): StateTree {
  const isScanned = config.values.scan_layers && stackingProblem(params) === undefined;
  const homes = homesOf(params, config, isScanned);
  // A chunk is what one parameter is, whose numbers then are written as they are.
  const tensors = homes.map(({ path, dtype, shape, boxes }): OrbaxTensor => {
    const chunk = boxes[0]?.box.map(([start, stop]) => stop - start) ?? shape;
    return { path, dtype, shape, chunk };
  });
  const parts = homes.flatMap(({ group, path, dtype, boxes }) =>
    boxes.map(({ param, box }): StatePart => {
      const values = state[group].get(param);
      invariant(values, `the state has ${group} of ${param}`);
      return { name: nameOf(path), box, dtype, values };
    }),
  );
  const counts = COUNTS.map(
    (path): StatePart => ({ name: nameOf(path), box: [], dtype: "I32", values: Int32Array.of(state.step) }),
  );
  return {
    tensors: [...tensors, ...COUNTS.map((path): OrbaxTensor => ({ path, dtype: "I32", shape: [] }))],
    leaves: [{ path: STATELESS, empty: "None" }],
    parts: [...parts, ...counts],
    isScanned,
  };
}

/** What MaxText saves beside the state and a run here has no use for: the states of its random generators. */
const isIgnored = (name: string): boolean => name.startsWith("nnx_aux.");

/**
 * Reads a state. Missing, unexpected and misshapen tensors are one error, and so are dtypes other than the
 * configuration's: a run goes on exactly or not at all.
 */
export function readState(reader: OrbaxReader, params: readonly ParamDecl[], config: Config): TrainState {
  const noted = reader.customMetadata["scan_layers"];
  const homes = homesOf(params, config, typeof noted === "boolean" ? noted : config.values.scan_layers);
  const counts = COUNTS.map(nameOf);
  const optional = counts.at(-1);
  const expected = new Map([
    ...homes.map(({ path, shape }) => [nameOf(path), { shape }] as const),
    ...counts
      .filter((name) => name !== optional || reader.tensors.has(name))
      .map((name) => [name, { shape: [] }] as const),
  ]);
  requireNames(
    reader.path,
    expected,
    new Map([...reader.tensors].filter(([name]) => expected.has(name) || !isIgnored(name))),
  );
  requireDTypes(reader, homes);
  const step = readCount(reader, "step");
  for (const name of counts.filter((name) => expected.has(name))) {
    const count = readCount(reader, name);
    if (count !== step)
      fail({
        code: "state-counts",
        message: `\`${name}\` is ${count}, but \`step\` is ${step}; expected the same`,
        at: { file: reader.path },
        help: "to start anew from its parameters alone, name it in load_parameters_path",
      });
  }
  const sizes = new Map(params.map(({ path, value }) => [path, elements(value.type)]));
  const groups = { params: new Map(), mu: new Map(), nu: new Map() } satisfies Record<Group, Weights>;
  for (const { group, path, dtype, boxes } of homes)
    for (const { param, box } of boxes) {
      const values = new Float32Array(sizes.get(param) ?? 0);
      decodeFloats(dtype, reader.read(nameOf(path), box), values);
      groups[group].set(param, values);
    }
  return { step, ...groups };
}

function requireDTypes(reader: OrbaxReader, homes: readonly Home[]): void {
  for (const { group, path, dtype } of homes) {
    const found = reader.tensors.get(nameOf(path))?.dtype;
    if (found === dtype) continue;
    fail({
      code: "tensor-dtype",
      message: `tensor \`${nameOf(path)}\`: expected ${dtype}, found ${found}`,
      at: { file: reader.path },
      help: `set ${group === "mu" ? "mu_dtype" : "weight_dtype"} to what the checkpoint has`,
    });
  }
}

/** A step as i32, as MaxText saves it, or as i64, as its converters do. */
function readCount(reader: OrbaxReader, name: string): number {
  const dtype = reader.tensors.get(name)?.dtype;
  const bytes = reader.read(name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const count =
    dtype === "I32"
      ? view.getInt32(0, true)
      : dtype === "I64"
        ? Number(view.getBigInt64(0, true))
        : Number.NaN;
  if (Number.isSafeInteger(count) && count >= 0) return count;
  return fail({
    code: "state-counts",
    message: `\`${name}\` is ${count} of ${dtype}; expected a count of steps, I32 or I64`,
    at: { file: reader.path },
  });
}
