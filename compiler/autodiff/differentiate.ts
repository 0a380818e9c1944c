// Reverse mode through tfjs-core: the forward is replayed on the tracing backend under tfjs's tape, tfjs walks the
// tape back through the ops' VJP rules, and what that traces is the backward program as IR.
import { engine, type Tensor } from "@tensorflow/tfjs-core";
import { invariant } from "../diag.ts";
import { isFloat } from "../dtype.ts";
import { blockBuilder, value } from "../ir/build.ts";
import { expand } from "../ir/expand.ts";
import { dropDead, resolve, type Substitution, withoutTags } from "../ir/rewrite.ts";
import type { Block, Module, Node, Value } from "../ir/types.ts";
import { type Joint, split } from "./split.ts";
import { seed, type Trace, tensorOf, tracedValue, traceNode, tracing } from "./trace.ts";

/** Composites without a rule of their own go through their decomposition. */
const needsExpansion = ({ op }: Node): boolean => !op.vjp && !op.discrete && op.decompose !== undefined;

/** The block in a form every node of which can be differentiated. */
const prepared = (block: Block): Block => expand(block, needsExpansion);

const newTrace = (): Trace => ({
  builder: blockBuilder(),
  split: (region, live, keeping) => split(jointOf(region, live), keeping),
});

type Replay = Omit<Joint, "params" | "cotangents">;

/** Nodes and the gradients they compute, these under the names of what they belong to: `d.w` of `w`. */
function named(
  nodes: readonly Node[],
  gradients: readonly Value[],
  wrt: readonly Value[],
): Pick<Replay, "backward" | "gradients"> {
  const made = new Set(nodes.flatMap(({ outs }) => outs));
  const names: Substitution = new Map();
  gradients.forEach((x, i) => {
    if (made.has(x) && !names.has(x)) names.set(x, value(`d.${wrt[i]?.hint}`, x.type));
  });
  const under = (xs: readonly Value[]): Value[] => xs.map((x) => resolve(names, x));
  return {
    backward: nodes.map((each) => ({ ...each, ins: under(each.ins), outs: under(each.outs) })),
    gradients: under(gradients),
  };
}

/** Replays a prepared block and pulls the cotangents of its live results back to `wrt`: zeros where none get there. */
function replay(
  block: Block,
  wrt: readonly Value[],
  cotangentOf: (result: number, trace: Trace) => Value | undefined,
): Replay {
  const trace = newTrace();
  let results: Value[] = [];
  let gradients: (Value | undefined)[] = [];
  let forwardCount = 0;
  tracing(trace, () =>
    engine().tidy(() => {
      const env = new Map<Value, Tensor>(block.params.map((param) => [param, tensorOf(param)]));
      const read = (x: Value): Tensor => {
        const tensor = env.get(x);
        invariant(tensor, `%${x.hint} is read before it is defined`);
        return tensor;
      };
      const forward = (): Tensor => {
        for (const each of block.nodes) {
          const outs = traceNode(each, each.ins.map(read), trace);
          each.outs.forEach((out, i) => {
            const made = outs[i];
            if (made) env.set(out, made);
          });
        }
        results = block.results.map((x) => tracedValue(read(x)) ?? x);
        forwardCount = trace.builder.nodes.length;
        const seeds = block.results.flatMap((x, i) => {
          const cotangent = cotangentOf(i, trace);
          return cotangent ? [{ result: read(x), cotangent: tensorOf(cotangent) }] : [];
        });
        return seed(
          seeds.map((s) => s.result),
          seeds.map((s) => s.cotangent),
        );
      };
      const unit = engine().makeTensorFromTensorInfo({ dataId: {}, shape: [], dtype: "float32" });
      const { grads } = engine().gradients(forward, wrt.map(read), unit, true);
      gradients = grads.map((grad) => (grad ? tracedValue(grad) : undefined));
    }),
  );
  const { nodes, k } = trace.builder;
  const all = gradients.map((gradient, i) => {
    const x = wrt[i];
    invariant(x, "one gradient per parameter");
    return gradient ?? k.constant(0, x.type);
  });
  return {
    results,
    forward: nodes.slice(0, forwardCount),
    ...named(nodes.slice(forwardCount), all, wrt),
  };
}

/** A region differentiated with respect to its float params, for the results marked live. */
export function jointOf(block: Block, live: readonly boolean[]): Joint {
  const cotangents = block.results.map((x, i) => (live[i] ? value(`d.${x.hint}`, x.type) : undefined));
  const wrt = block.params.filter((x) => isFloat(x.type.dtype));
  const replayed = replay(prepared(block), wrt, (i) => cotangents[i]);
  return { ...replayed, params: block.params, cotangents: cotangents.filter((x) => x !== undefined) };
}

/**
 * The joint program: the module's own results, then the gradient of result 0 (a scalar) with respect to each
 * parameter with the role `param`, in order.
 */
export function differentiate(module: Module): Module {
  const { body, roles, name } = module;
  const [loss] = body.results;
  invariant(loss && loss.type.dims.length === 0, "the first result of a differentiated module is a scalar");
  const wrt = body.params.filter((_, i) => roles[i] === "param");
  const { forward, backward, results, gradients } = replay(prepared(body), wrt, (i, { builder }) =>
    i === 0 ? builder.k.constant(1, loss.type) : undefined,
  );
  const nodes = [...forward, ...backward];
  const joint = dropDead({ params: body.params, nodes, results: [...results, ...gradients] });
  // Names have done their work when it is settled what is kept.
  return { name, roles, body: withoutTags(joint) };
}
