// What tests of passes need besides tests/support: modules nobody can change, modules made of layers, small models.
import { resolve } from "node:path";
import { expect } from "@jest/globals";
import fc from "fast-check";
import { type Config, loadConfig } from "../../compiler/config/load.ts";
import { blockBuilder, value } from "../../compiler/ir/build.ts";
import { dim, elements, tensor } from "../../compiler/ir/shape.ts";
import type { Module, Value } from "../../compiler/ir/types.ts";
import type { K } from "../../compiler/ops/k.ts";
import { stacksOf } from "../../compiler/stacks.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { randomData } from "../support/random.ts";

/** A module no pass can change: a write throws. Op records and places in source texts are everybody's and stay. */
export function frozen(module: Module): Module {
  const freeze = (x: unknown): void => {
    if (typeof x !== "object" || x === null || Object.isFrozen(x)) return;
    Object.freeze(x);
    for (const [name, part] of Object.entries(x)) if (name !== "op" && name !== "loc") freeze(part);
  };
  freeze(module);
  return module;
}

/** Numbers for every parameter of a module, by name. */
export type Numbers = ReadonlyMap<string, HostArray>;

/** Names of a module's parameters as they are printed. */
function namesOf({ body }: Module): string[] {
  const used = new Map<string, number>();
  return body.params.map(({ hint }) => {
    const count = (used.get(hint) ?? 0) + 1;
    used.set(hint, count);
    return count === 1 ? hint : `${hint}.${count}`;
  });
}

export function numbersFor(module: Module, random: () => number): Numbers {
  const names = namesOf(module);
  return new Map(module.body.params.map((x, i) => [names[i]!, randomData(x.type, random)]));
}

/** The numbers in the order of a module's parameters, stacked where the module wants them stacked. */
export function operandsOf(module: Module, numbers: Numbers): HostArray[] {
  const stacks = new Map(stacksOf(module.body).map(({ param, members }) => [param.hint, members]));
  return namesOf(module).map((name) => {
    const members = stacks.get(name);
    return members
      ? Float32Array.from(members.flatMap((each) => [...numbers.get(each)!]))
      : numbers.get(name)!;
  });
}

/** The gradients that follow `skip` results, by parameter, of single layers. */
export function gradientsOf({ body, roles }: Module, results: readonly HostArray[], skip: number): Numbers {
  const params = body.params.filter((_, i) => roles[i] === "param");
  const stacks = new Map(stacksOf(body).map(({ param, members }) => [param, members]));
  return new Map(
    params.flatMap((param, i) => {
      const whole = results[skip + i]!;
      const names = stacks.get(param) ?? [param.hint];
      const size = elements(param.type) / names.length;
      return names.map((name, j) => [name, whole.subarray(j * size, (j + 1) * size)] as const);
    }),
  );
}

/** The results of a changed joint program in the order of the plain one: `skip` results, then gradients of single layers. */
export function resultsInOrder(plain: Module, changed: Module, results: readonly HostArray[], skip: number) {
  const gradients = gradientsOf(changed, results, skip);
  const names = plain.body.params.flatMap(({ hint }, i) => (plain.roles[i] === "param" ? [hint] : []));
  expect([...gradients.keys()].sort()).toEqual([...names].sort());
  return [...results.slice(0, skip), ...names.map((name) => gradients.get(name)!)];
}

const N = dim("n", 4);
const row = tensor("f32", [N]);

type Layer = (builder: LayerBuilder, x: Value) => Value;
type LayerBuilder = {
  readonly k: K<Value>;
  /** A parameter of this layer. */
  param(name: string, dims?: readonly (typeof N)[]): Value;
  sow(x: Value): void;
  /** Values before the layers, for all of them. */
  readonly shared: { readonly mask: Value; readonly bias: Value };
  as(hint: string): void;
};

/** What a layer may be. */
const layers: Readonly<Record<string, Layer>> = {
  gated: ({ k, param, as }, x) => {
    const w = param("w");
    as("h");
    const h = k.one("silu", [k.mul(x, w)]);
    as("x");
    return k.add(x, h);
  },
  normed: ({ k, param, as }, x) => {
    const [scale, bias] = [param("scale"), param("bias")];
    as("x");
    return k.add(
      k.mul(x, k.scalar(0.5, x)),
      k.add(k.one("rms_norm", [x, scale], { eps: 0.1, offset: 1 }), bias),
    );
  },
  mixed: ({ k, param, as }, x) => {
    const w = param("mix", [N, N]);
    as("h");
    const h = k.sin(k.dot(x, w, { contract: [[0], [0]] }));
    as("x");
    return k.add(x, h);
  },
  masked: ({ k, param, shared, as }, x) => {
    const w = param("w");
    as("x");
    return k.add(x, k.select(shared.mask, k.mul(x, w), shared.bias));
  },
  sowing: ({ k, param, sow, as }, x) => {
    const w = param("w");
    as("h");
    const h = k.sigmoid(k.mul(x, w));
    as("sown");
    sow(k.sum(h, [0]));
    as("x");
    return k.add(x, k.mul(h, h));
  },
  deep: (builder, x) => layers["mixed"]!(builder, layers["gated"]!(builder, x)),
  looping: ({ k, param, as }, x) => {
    const w = param("w");
    as("h");
    const { ys } = k.scan(
      { carries: [k.scalar(0, x)], xs: [x], consts: [k.sum(w, [0])], length: 4, label: "n" },
      ([c], [each], [total]) => {
        const next = k.sin(k.add(k.mul(c!, total!), each!));
        return { carries: [next], ys: [next] };
      },
    );
    as("x");
    return k.add(x, ys[0]!);
  },
};

export type Stack = {
  readonly before: readonly string[];
  readonly cycle: readonly string[];
  readonly rounds: number;
  readonly after: readonly string[];
  /** Whether what layers sow is results of their own besides being part of the first one. */
  readonly areSownResults: boolean;
};

const kinds = fc.constantFrom(...Object.keys(layers));

export const stacks: fc.Arbitrary<Stack> = fc.record({
  before: fc.array(kinds, { maxLength: 2 }),
  cycle: fc.array(kinds, { minLength: 1, maxLength: 3 }),
  rounds: fc.nat({ max: 4 }),
  after: fc.array(kinds, { maxLength: 2 }),
  areSownResults: fc.boolean(),
});

/** The kinds of a stack's layers. */
export const layersOf = ({ before, cycle, rounds, after }: Stack): string[] => [
  ...before,
  ...Array.from({ length: rounds }, () => cycle).flat(),
  ...after,
];

/** A module of layers: a scalar made of the last value and of what layers sowed. */
export function moduleOfLayers(stack: Stack): Module {
  const chosen = layersOf(stack);
  const builder = blockBuilder();
  const { k } = builder;
  const as = (hint: string) => {
    builder.hints = [hint];
  };
  const [ids, table, outer] = [value("ids", tensor("i32", [N])), value("table", row), value("outer", row)];
  const params: Value[] = [];
  const sown: Value[] = [];
  as("mask");
  const mask = k.compare(ids, k.constant(0, tensor("i32", [N])), "GT");
  as("bias");
  const shared = { mask, bias: k.convert(ids, "f32") };
  as("x");
  let x = k.take(table, ids);
  for (const [i, kind] of chosen.entries()) {
    const param = (name: string, dims: readonly (typeof N)[] = [N]) => {
      params.push(value(`layers_${i}.${name}`, tensor("f32", dims)));
      return params.at(-1)!;
    };
    as("x");
    x = layers[kind]!({ k, param, shared, as, sow: (each) => void sown.push(each) }, x);
  }
  as("loss");
  const parts = sown.map((each) => k.reshape(each, [dim("layers", 1)]));
  const main = k.sum(k.mul(x, outer), [0]);
  const loss = parts.length > 0 ? k.add(main, k.sum(k.concat(parts, 0), [0])) : main;
  return {
    name: "layered",
    roles: ["input", "param", "param", ...params.map(() => "param" as const)],
    body: {
      params: [ids, table, outer, ...params],
      nodes: builder.nodes,
      results: [loss, ...(stack.areSownResults ? sown : [])],
    },
  };
}

/** The numbers of a module of layers: ids are 0 to 3. */
export const layerNumbers = (module: Module, random: () => number): Numbers =>
  new Map([...numbersFor(module, random), ["ids", Int32Array.of(2, 0, 3, 1)]]);

/** A Qwen3-Next that compiles in no time, and overrides. */
export const tinyModel = (...overrides: string[]): Config =>
  loadConfig(
    [
      "base",
      "model_name=qwen3-next-tiny",
      "override_model_config=true",
      "base_output_directory=unused",
      "base_emb_dim=16",
      "vocab_size=32",
      "base_num_query_heads=2",
      "base_num_kv_heads=1",
      "head_dim=8",
      "gdn_num_key_heads=1",
      "gdn_num_value_heads=2",
      "gdn_key_head_dim=4",
      "gdn_value_head_dim=4",
      "gdn_chunk_size=4",
      "num_experts=4",
      "base_mlp_dim=8",
      "base_moe_mlp_dim=8",
      "max_target_length=6",
      "per_device_batch_size=2",
      "dtype=float32",
      "load_balance_loss_weight=0.01",
      ...overrides,
    ],
    { env: {}, cwd: process.cwd(), modelsDir: resolve("models") },
  );
