// Example operands for every op, as IR text: odd sizes, broadcasting, dims of size 1, rank 0. The annotation is
// written by hand, so that reading a case already holds `infer` against it.
import { isFloat } from "../../compiler/dtype.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import type { Module } from "../../compiler/ir/types.ts";
import type { HostArray } from "../../runtime/engines/engine.ts";
import { apart, exactly, type Numbers, randomData, within } from "./random.ts";

export type Case = {
  readonly op: string;
  /** The case's own name: the op and what is special here. */
  readonly name: string;
  readonly module: Module;
  readonly numbers: Readonly<Record<string, Numbers>>;
};

type Row = readonly [
  params: string,
  body: string,
  numbers?: Readonly<Record<string, Numbers>>,
  note?: string,
];

/** `(%x: f32[…], …)` and `%y = op(%x) : …` → a module; float operands have the role `param`. */
function caseOf([params, body, numbers = {}, note = ""]: Row): Case {
  const [, outs = "", op = ""] = /^\s*([^=]+?)\s*=\s*(\w+)/.exec(body) ?? [];
  const roles = params.replaceAll(
    /%\w+: (\w+)/g,
    (whole, dtype) => `${dtype === "i32" || dtype === "bool" ? "input" : "param"} ${whole}`,
  );
  const module = parseModule(`module case(${roles}) {\n  ${body}\n  return ${outs}\n}\n`, op);
  const shapes = module.body.params
    .map((x) => x.type.dims.map((d) => d.size).join("x") || "scalar")
    .join(", ");
  return { op, name: `${op} (${shapes})${note && ` ${note}`}`, module, numbers };
}

export const operandsOf = ({ module, numbers }: Case, random: () => number): HostArray[] =>
  module.body.params.map((x) => randomData(x.type, random, numbers[x.hint]));

export const floatParams = ({ module }: Case): readonly string[] =>
  module.body.params.filter((x) => isFloat(x.type.dtype)).map((x) => x.hint);

const positive = within(0.3, 3);

/** An elementwise op of one operand over a matrix, a vector of one and a scalar. */
const unary = (op: string, x: Numbers = within(-1.5, 1.5)): Row[] =>
  ["a=3, b=5", "one=1", "", "a=2, one=1, b=3, c=2"].map((dims) => [
    `%x: f32[${dims}]`,
    `%y = ${op}(%x) : f32[${dims}]`,
    { x },
  ]);

/** An elementwise op of two operands: same dims, broadcasting either way and both ways, rank 0, dims of size 1. */
const binary = (op: string, a: Numbers = apart, b: Numbers = within(-1.37, 1.41), out = "f32"): Row[] =>
  (
    [
      ["m=3, n=5", "m=3, n=5", "m=3, n=5"],
      ["m=3, n=5", "n=5", "m=3, n=5"],
      ["n=5", "m=3, n=5", "m=3, n=5"],
      ["m=3, n=1", "k=2, m=1, n=7", "k=2, m=3, n=7"],
      ["m=3, n=5", "", "m=3, n=5"],
      ["", "m=2", "m=2"],
      ["", "", ""],
      ["_=1", "m=4", "m=4"],
      ["one=1, m=2, one=1", "m=1, q=3", "one=1, m=2, q=3"],
    ] as const
  ).map(([x, y, z]) => [`%a: f32[${x}], %b: f32[${y}]`, `%y = ${op}(%a, %b) : ${out}[${z}]`, { a, b }]);

const dotGeneral = (
  a: string,
  b: string,
  out: string,
  [lc, rc, lb, rb]: readonly [string, string, string, string],
): Row => [
  `%a: f32[${a}], %b: f32[${b}]`,
  `%y = dot_general(%a, %b) {lhs_contracting=[${lc}], rhs_contracting=[${rc}], lhs_batch=[${lb}], rhs_batch=[${rb}]} : f32[${out}]`,
];

const attention = (
  b: number,
  s: number,
  t: number,
  h: number,
  kv: number,
  d: number,
  dv: number,
  causal: boolean,
): Row => [
  `%q: f32[batch=${b}, seq=${s}, heads=${h}, head_dim=${d}], %k: f32[batch=${b}, seq=${t}, kv_heads=${kv}, head_dim=${d}], %v: f32[batch=${b}, seq=${t}, kv_heads=${kv}, v_dim=${dv}]`,
  `%y = attention(%q, %k, %v) {scale=0.7, causal=${causal}} : f32[batch=${b}, seq=${s}, heads=${h}, v_dim=${dv}]`,
  {},
  causal ? "causal" : "",
];

const written = (
  x: string,
  b: number,
  s: number,
  rest: string,
  numbers: Readonly<Record<string, Numbers>>,
): Row => [
  `%x: f32[b=${b}, ${x}${rest}], %fresh: f32[b=${b}, s=${s}${rest}], %at: i32[b=${b}, s=${s}], %lengths: i32[b=${b}]`,
  `%y = update_rows(%x, %fresh, %at, %lengths) : f32[b=${b}, ${x}${rest}]`,
  numbers,
];

const cached = (
  b: number,
  s: number,
  t: number,
  h: number,
  kv: number,
  d: number,
  dv: number,
  positions: readonly number[],
): Row => [
  `%q: f32[batch=${b}, seq=${s}, heads=${h}, head_dim=${d}], %k: f32[batch=${b}, kv_seq=${t}, kv_heads=${kv}, head_dim=${d}], %v: f32[batch=${b}, kv_seq=${t}, kv_heads=${kv}, v_dim=${dv}], %at: i32[batch=${b}, seq=${s}]`,
  `%y = cached_attention(%q, %k, %v, %at) {scale=0.7} : f32[batch=${b}, seq=${s}, heads=${h}, v_dim=${dv}]`,
  { at: exactly(...positions) },
];

const deltaRule = (
  b: number,
  t: number,
  hk: number,
  hv: number,
  dk: number,
  dv: number,
  chunk: number,
): Row => [
  `%q: f32[b=${b}, t=${t}, hk=${hk}, dk=${dk}], %k: f32[b=${b}, t=${t}, hk=${hk}, dk=${dk}], %v: f32[b=${b}, t=${t}, hv=${hv}, dv=${dv}], %g: f32[b=${b}, t=${t}, hv=${hv}], %beta: f32[b=${b}, t=${t}, hv=${hv}], %state: f32[b=${b}, hv=${hv}, dk=${dk}, dv=${dv}]`,
  `%o, %s = gated_delta_rule(%q, %k, %v, %g, %beta, %state) {chunk_size=${chunk}} : f32[b=${b}, t=${t}, hv=${hv}, dv=${dv}], f32[b=${b}, hv=${hv}, dk=${dk}, dv=${dv}]`,
  { q: within(-0.8, 0.8), k: within(-0.6, 0.6), g: within(-1, -0.05), beta: within(0.1, 0.9) },
  chunk === 0 ? "recurrent" : `chunks of ${chunk}`,
];

const solve = (dims: string, c: number, n: number, transpose: boolean): Row => [
  `%l: f32[${dims}c=${c}, _=${c}], %b: f32[${dims}c=${c}, n=${n}]`,
  `%x = triangular_solve(%l, %b) {transpose=${transpose}} : f32[${dims}c=${c}, n=${n}]`,
  { l: within(-0.6, 0.6) },
  transpose ? "transposed" : "",
];

const adamw = (dims: string, attrs: string, note: string): Row => [
  `%p: f32[${dims}], %g: f32[${dims}], %mu: f32[${dims}], %nu: f32[${dims}], %rate: f32[], %b1t: f32[], %b2t: f32[]`,
  `%p2, %mu2, %nu2 = adamw(%p, %g, %mu, %nu, %rate, %b1t, %b2t) {${attrs}} : f32[${dims}], f32[${dims}], f32[${dims}]`,
  { nu: positive, rate: within(0.01, 0.1), b1t: within(0.5, 0.8), b2t: within(0.6, 0.9) },
  note,
];

/** c' = sin(c·x + k), y = c·k: a carry, a sliced operand and a constant one. */
const scan = (length: number, reverse: boolean): Row => [
  `%c: f32[n=3], %x: f32[t=${length}, n=3], %k: f32[n=3]`,
  `%last, %ys = scan(%c, %x, %k) {length=${length}, carries=1, xs=1, reverse=${reverse}, label="t"} : f32[n=3], f32[t=${length}, n=3]
    (%carry: f32[n=3], %x: f32[n=3], %const: f32[n=3]) {
      %m = multiply(%carry, %x) : f32[n=3]
      %a = add(%m, %const) : f32[n=3]
      %next = sine(%a) : f32[n=3]
      %y = multiply(%carry, %const) : f32[n=3]
      return %next, %y
    }`,
  {},
  reverse ? "from the end" : "",
];

/** y = sin(x)·exp(x·k), z = exp(x·k): two results, of which the second is a value kept by name or computed again. */
const remat = (save: string, offload: string): Row => [
  "%x: f32[a=2, n=3], %k: f32[n=3]",
  `%y, %z = remat(%x, %k) {save="${save}", offload="${offload}"} : f32[a=2, n=3], f32[a=2, n=3]
    (%x: f32[a=2, n=3], %k: f32[n=3]) {
      %m = multiply(%x, %k) : f32[a=2, n=3]
      %w = checkpoint_name(%m) {name="w"} : f32[a=2, n=3]
      %e = exp(%w) : f32[a=2, n=3]
      %h = checkpoint_name(%e) {name="h"} : f32[a=2, n=3]
      %s = sine(%x) : f32[a=2, n=3]
      %y = multiply(%s, %h) : f32[a=2, n=3]
      return %y, %h
    }`,
  {},
  save,
];

/** A norm with its scale, softmax over sums, a transpose and a sum of columns: several phases and spaces in one nest. */
const fused: readonly Row[] = [
  [
    "%x: f32[b=2, t=3, n=4], %w: f32[n=4]",
    `%y, %r = fused(%x, %w) : f32[b=2, t=3, n=4], f32[b=2, t=3, _=1]
    (%x: f32[b=2, t=3, n=4], %w: f32[n=4]) {
      %q = multiply(%x, %x) : f32[b=2, t=3, n=4]
      %s = reduce_sum(%q) {axes=[2]} : f32[b=2, t=3]
      %k = reshape(%s) : f32[b=2, t=3, _=1]
      %e = constant() {value=0.5} : f32[]
      %a = add(%k, %e) : f32[b=2, t=3, _=1]
      %r = rsqrt(%a) : f32[b=2, t=3, _=1]
      %n = multiply(%x, %r) : f32[b=2, t=3, n=4]
      %y = multiply(%n, %w) : f32[b=2, t=3, n=4]
      return %y, %r
    }`,
    {},
    "norm",
  ],
  [
    "%x: f32[t=3, h=2, n=4], %z: f32[h=2, n=4, t=3]",
    `%y, %s, %d = fused(%x, %z) : f32[t=3, _=8], f32[_=8], f32[]
    (%x: f32[t=3, h=2, n=4], %z: f32[h=2, n=4, t=3]) {
      %g = logistic(%z) : f32[h=2, n=4, t=3]
      %u = transpose(%g) {permutation=[2, 0, 1]} : f32[t=3, h=2, n=4]
      %m = multiply(%x, %u) : f32[t=3, h=2, n=4]
      %y = reshape(%m) : f32[t=3, _=8]
      %e = exp(%y) : f32[t=3, _=8]
      %s = reduce_sum(%e) {axes=[0]} : f32[_=8]
      %d = reduce_sum(%m) {axes=[0, 1, 2]} : f32[]
      return %y, %s, %d
    }`,
    {},
    "sums of columns and of all",
  ],
  [
    "%x: f32[a=5, n=4]",
    `%y, %t = fused(%x) : f32[a=2, n=4], f32[n=4, a=2]
    (%x: f32[a=5, n=4]) {
      %w = slice(%x) {starts=[2, 0], limits=[4, 4]} : f32[a=2, n=4]
      %v = slice(%x) {starts=[1, 0], limits=[3, 4]} : f32[a=2, n=4]
      %d = multiply(%w, %v) : f32[a=2, n=4]
      %e = exp(%d) : f32[a=2, n=4]
      %s = reduce_sum(%e) {axes=[1]} : f32[a=2]
      %k = reshape(%s) : f32[a=2, _=1]
      %y = divide(%e, %k) : f32[a=2, n=4]
      %t = transpose(%y) {permutation=[1, 0]} : f32[n=4, a=2]
      return %y, %t
    }`,
    {},
    "slices and a row kept",
  ],
  [
    "%i: i32[m=3, n=1]",
    `%y = fused(%i) : i32[m=3, n=4]
    (%i: i32[m=3, n=1]) {
      %j = iota() {axis=1} : i32[m=3, n=4]
      %c = constant() {value=-7} : i32[]
      %p = multiply(%i, %c) : i32[m=3, n=1]
      %y = add(%p, %j) : i32[m=3, n=4]
      return %y
    }`,
    { i: within(-9, 9) },
    "integers",
  ],
];

const rows: readonly Row[] = [
  ...["negate", "exp", "sine", "cosine", "logistic", "silu"].flatMap((op) => unary(op)),
  ...["log", "sqrt", "rsqrt"].flatMap((op) => unary(op, positive)),
  ...unary("log_plus_one", within(-0.6, 2)),
  ...unary("softplus", apart),
  ...["add", "subtract", "multiply", "maximum", "minimum"].flatMap((op) => binary(op)),
  ...binary("divide", apart, positive),
  [
    "%a: i32[n=6], %b: i32[]",
    "%y = divide(%a, %b) : i32[n=6]",
    { a: exactly(7, -7, 6, -1, 0, 5), b: exactly(3) },
    "integers",
  ],
  [
    "%a: i32[n=4], %b: i32[n=4]",
    "%y = add(%a, %b) : i32[n=4]",
    { a: within(-9, 9), b: within(-9, 9) },
    "integers",
  ],
  [
    "%a: i32[n=4], %b: i32[n=4]",
    "%y = maximum(%a, %b) : i32[n=4]",
    { a: within(-9, 9), b: within(-9, 9) },
    "integers",
  ],
  ...["EQ", "NE", "LT", "LE", "GT", "GE"].map(
    (direction): Row => [
      "%a: i32[m=3, n=1], %b: i32[n=4]",
      `%y = compare(%a, %b) {direction="${direction}"} : bool[m=3, n=4]`,
      { a: within(-1, 1), b: within(-1, 1) },
      direction,
    ],
  ),
  ["%a: f32[m=3], %b: f32[]", `%y = compare(%a, %b) {direction="LT"} : bool[m=3]`, {}, "floats"],
  ["%p: bool[m=3, n=5], %a: f32[m=3, n=5], %b: f32[n=5]", "%y = select(%p, %a, %b) : f32[m=3, n=5]"],
  ["%p: bool[m=3, n=1], %a: f32[], %b: f32[m=1, n=2]", "%y = select(%p, %a, %b) : f32[m=3, n=2]"],
  ["%p: bool[], %a: f32[n=2], %b: f32[n=2]", "%y = select(%p, %a, %b) : f32[n=2]"],
  ["%p: bool[n=2], %a: i32[n=2], %b: i32[]", "%y = select(%p, %a, %b) : i32[n=2]"],
  ["%x: f32[n=4]", "%y = convert(%x) : f32[n=4]"],
  ["%x: f32[n=5]", "%y = convert(%x) : i32[n=5]", { x: exactly(2.7, -2.7, 0, 1, -0.2) }],
  ["%x: i32[n=3]", "%y = convert(%x) : f32[n=3]", { x: within(-100, 100) }],
  ["%x: bool[n=3]", "%y = convert(%x) : f32[n=3]"],
  ["%x: bool[n=3]", "%y = convert(%x) : i32[n=3]"],
  ["%x: f32[n=3]", "%y = convert(%x) : bool[n=3]", { x: exactly(0, -2, 0.5) }],

  ["", "%y = constant() {value=-0.25} : f32[m=2, n=3]"],
  ["", "%y = constant() {value=3} : i32[]"],
  ["", "%y = constant() {value=1} : bool[n=2]"],
  ["", "%y = constant() {value=-inf} : f32[n=2]"],
  ["", "%y = iota() {axis=1} : i32[m=2, n=5]"],
  ["", "%y = iota() {axis=0} : f32[m=3, n=1]"],
  ["%x: f32[m=3, n=4]", "%y = reshape(%x) : f32[a=2, b=6]"],
  ["%x: f32[]", "%y = reshape(%x) : f32[_=1, one=1]"],
  ["%x: i32[m=4]", "%y = reshape(%x) : i32[m=4, _=1]"],
  ["%x: f32[m=1, n=3]", "%y = broadcast(%x) : f32[k=2, m=4, n=3]"],
  ["%x: f32[]", "%y = broadcast(%x) : f32[k=2, m=3]"],
  ["%x: bool[n=1]", "%y = broadcast(%x) : bool[n=3]"],
  ["%x: f32[a=2, b=3, c=5]", "%y = transpose(%x) {permutation=[2, 0, 1]} : f32[c=5, a=2, b=3]"],
  ["%x: f32[a=2, b=1, c=3, d=2]", "%y = transpose(%x) {permutation=[3, 1, 0, 2]} : f32[d=2, b=1, a=2, c=3]"],
  ["%x: i32[a=3]", "%y = transpose(%x) {permutation=[0]} : i32[a=3]"],
  ["%x: f32[]", "%y = transpose(%x) {permutation=[]} : f32[]"],
  ["%x: f32[a=4, b=5]", "%y = slice(%x) {starts=[1, 2], limits=[3, 5]} : f32[a=2, b=3]"],
  ["%x: i32[a=5]", "%y = slice(%x) {starts=[4], limits=[5]} : i32[a=1]"],
  ["%x: f32[a=2, b=3]", "%y = pad(%x) {low=[1, 0], high=[0, 2]} : f32[a=3, b=5]"],
  ["%x: f32[a=1]", "%y = pad(%x) {low=[0], high=[0]} : f32[a=1]"],
  ["%x: i32[a=2]", "%y = pad(%x) {low=[1], high=[1]} : i32[a=4]"],
  [
    "%a: f32[m=2, n=3], %b: f32[m=2, n=1], %c: f32[m=2, n=2]",
    "%y = concatenate(%a, %b, %c) {axis=1} : f32[m=2, n=6]",
  ],
  ["%a: f32[x=2, n=3], %b: f32[y=1, n=3]", "%y = concatenate(%a, %b) {axis=0} : f32[_=3, n=3]"],
  ["%a: i32[x=2]", "%y = concatenate(%a) {axis=0} : i32[x=2]"],
  ["%x: f32[a=3, b=5, c=2]", "%y = reduce_sum(%x) {axes=[0, 2]} : f32[b=5]"],
  ["%x: f32[a=3, b=5, c=2]", "%y = reduce_sum(%x) {axes=[1]} : f32[a=3, c=2]"],
  ["%x: f32[a=7]", "%y = reduce_sum(%x) {axes=[0]} : f32[]"],
  ["%x: f32[a=1, b=1]", "%y = reduce_sum(%x) {axes=[0]} : f32[b=1]"],
  ["%x: f32[a=2, b=3]", "%y = reduce_sum(%x) {axes=[]} : f32[a=2, b=3]"],
  ["%x: i32[a=4]", "%y = reduce_sum(%x) {axes=[0]} : i32[]", { x: within(-9, 9) }],
  ["%x: f32[a=3, b=5]", "%y = reduce_max(%x) {axes=[1]} : f32[a=3]", { x: apart }],
  ["%x: f32[a=3, b=5]", "%y = reduce_max(%x) {axes=[1, 0]} : f32[]", { x: within(-9, -1) }],
  ["%x: i32[a=4]", "%y = reduce_max(%x) {axes=[0]} : i32[]", { x: within(-9, -3) }],
  ["%x: f32[a=3, b=5]", "%y = cumsum(%x) {axis=1, reverse=false} : f32[a=3, b=5]"],
  ["%x: f32[a=3, b=5, c=2]", "%y = cumsum(%x) {axis=1, reverse=true} : f32[a=3, b=5, c=2]"],
  ["%x: f32[a=1]", "%y = cumsum(%x) {axis=0, reverse=false} : f32[a=1]"],

  dotGeneral("m=3, k=5", "k=5, n=2", "m=3, n=2", ["1", "0", "", ""]),
  dotGeneral("k=5, m=3", "n=2, k=5", "m=3, n=2", ["0", "1", "", ""]),
  dotGeneral("b=2, m=3, k=5", "b=2, k=5, n=7", "b=2, m=3, n=7", ["2", "1", "0", "0"]),
  dotGeneral("m=3, b=2, k=5", "k=5, n=7, b=2", "b=2, m=3, n=7", ["2", "0", "1", "2"]),
  dotGeneral("a=2, k=3, b=2, l=4", "l=4, b=2, k=3, c=1", "b=2, a=2, c=1", ["1, 3", "2, 0", "2", "1"]),
  dotGeneral("a=2, k=3, b=2, l=4", "b=2, l=4, a=2, k=3", "a=2, b=2", ["1, 3", "3, 1", "0, 2", "2, 0"]),
  dotGeneral("m=3", "n=4", "m=3, n=4", ["", "", "", ""]),
  dotGeneral("k=4", "k=4", "", ["0", "0", "", ""]),
  dotGeneral("", "n=3", "n=3", ["", "", "", ""]),
  dotGeneral("b=3, m=1", "b=3, n=2", "b=3, m=1, n=2", ["", "", "0", "0"]),
  dotGeneral("b=1, k=1", "b=1, k=1", "b=1", ["1", "1", "0", "0"]),

  [
    "%x: f32[vocab=5, embed=3], %i: i32[batch=2, seq=4]",
    "%y = take(%x, %i) : f32[batch=2, seq=4, embed=3]",
    { i: within(0, 4) },
  ],
  ["%x: f32[vocab=5], %i: i32[]", "%y = take(%x, %i) : f32[]", { i: within(0, 4) }, "one index"],
  ["%x: f32[vocab=3, a=2, b=2], %i: i32[n=1]", "%y = take(%x, %i) : f32[n=1, a=2, b=2]", { i: within(0, 2) }],
  ["%x: i32[vocab=3], %i: i32[n=4]", "%y = take(%x, %i) : i32[n=4]", { x: within(-9, 9), i: within(0, 2) }],
  ["%i: i32[n=6], %u: f32[n=6, d=3]", "%y = scatter_add(%i, %u) : f32[vocab=4, d=3]", { i: within(0, 3) }],
  ["%i: i32[n=2, m=3], %u: f32[n=2, m=3]", "%y = scatter_add(%i, %u) : f32[vocab=4]", { i: within(0, 3) }],
  [
    "%x: f32[rows=3, n=7]",
    `%v, %i = top_k(%x) {k=3, label="top"} : f32[rows=3, top=3], i32[rows=3, top=3]`,
    { x: apart },
  ],
  [
    "%x: f32[a=2, b=2, n=3]",
    `%v, %i = top_k(%x) {k=1, label="top"} : f32[a=2, b=2, top=1], i32[a=2, b=2, top=1]`,
    { x: apart },
  ],
  ["%x: f32[n=4]", `%v, %i = top_k(%x) {k=4, label="n"} : f32[n=4], i32[n=4]`, { x: apart }],
  ["%x: i32[n=9]", "%y = argsort(%x) : i32[n=9]", { x: within(0, 3) }],
  ["%x: i32[n=9]", "%y = bincount(%x) : i32[e=5]", { x: within(0, 4) }],
  ["%x: i32[n=9]", "%y = bincount(%x) : i32[e=3]", { x: within(-2, 4) }, "strangers among them"],
  ...(
    [
      ["b=3, n=7", 4, 0.6],
      ["n=5", 1, 1],
      ["a=2, b=1, n=1", 3, 0.5],
    ] as const
  ).map(
    ([dims, experts, factor]): Row => [
      `%x: i32[${dims}]`,
      `%y = limit_to_capacity(%x) {experts=${experts}, capacity_factor=${factor}} : i32[${dims}]`,
      { x: within(0, experts - 1) },
    ],
  ),
  [
    "%a: f32[m=7, k=3], %b: f32[e=4, k=3, n=2], %s: i32[e=4]",
    "%y = ragged_dot(%a, %b, %s) : f32[m=7, n=2]",
    { s: exactly(2, 0, 4, 1) },
  ],
  [
    "%a: f32[m=5, k=1], %b: f32[e=2, k=1, n=3], %s: i32[e=2]",
    "%y = ragged_dot(%a, %b, %s) : f32[m=5, n=3]",
    { s: exactly(1, 2) },
    "rows left over",
  ],
  [
    "%a: f32[m=3, k=2], %b: f32[e=2, k=2, n=2], %s: i32[e=2]",
    "%y = ragged_dot(%a, %b, %s) : f32[m=3, n=2]",
    { s: exactly(0, 0) },
    "all empty",
  ],
  [
    "%a: f32[m=7, k=3], %b: f32[m=7, n=2], %s: i32[e=4]",
    `%y = ragged_outer(%a, %b, %s) {label="e"} : f32[e=4, k=3, n=2]`,
    { s: exactly(3, 0, 0, 4) },
  ],
  [
    "%a: f32[m=4, k=1], %b: f32[m=4, n=1], %s: i32[e=1]",
    `%y = ragged_outer(%a, %b, %s) {label="e"} : f32[e=1, k=1, n=1]`,
    { s: exactly(3) },
    "rows left over",
  ],

  scan(4, false),
  scan(3, true),
  scan(1, false),
  ...fused,

  ["%x: f32[a=2, b=3]", '%y = checkpoint_name(%x) {name="query_proj"} : f32[a=2, b=3]'],
  ["%x: i32[a=2]", '%y = checkpoint_name(%x) {name=""} : i32[a=2]'],
  ["%x: f32[a=2, b=3]", '%y = device_put(%x) {memory="pinned_host"} : f32[a=2, b=3]'],
  ["%x: f32[]", '%y = device_put(%x) {memory="device"} : f32[]'],
  remat("", ""),
  remat("h", "w"),

  ["%x: f32[a=3, n=5]", "%y = softmax(%x) : f32[a=3, n=5]"],
  ["%x: f32[a=2, b=2, n=1]", "%y = softmax(%x) : f32[a=2, b=2, n=1]"],
  ["%x: f32[n=4]", "%y = softmax(%x) : f32[n=4]"],
  ...[0, 1].map(
    (offset): Row => [
      "%x: f32[a=3, n=5], %w: f32[n=5]",
      `%y = rms_norm(%x, %w) {eps=0.001, offset=${offset}} : f32[a=3, n=5]`,
      {},
      `offset ${offset}`,
    ],
  ),
  ["%x: f32[n=1], %w: f32[n=1]", "%y = rms_norm(%x, %w) {eps=0.1, offset=1} : f32[n=1]"],
  [
    "%x: f32[a=2, b=1, n=3], %w: f32[_=3]",
    "%y = rms_norm(%x, %w) {eps=0.001, offset=0} : f32[a=2, b=1, n=3]",
  ],
  ["%x: f32[a=3, n=5]", "%y = l2_norm(%x) {eps=0.000001} : f32[a=3, n=5]"],
  ["%x: f32[n=1]", "%y = l2_norm(%x) {eps=0.1} : f32[n=1]"],
  ["%a: f32[m=3, n=5], %b: f32[m=3, n=5]", "%y = swiglu(%a, %b) : f32[m=3, n=5]"],
  ["%a: f32[], %b: f32[]", "%y = swiglu(%a, %b) : f32[]"],
  ...[0, 0.1].map(
    (z): Row => [
      "%x: f32[b=2, s=3, v=5], %t: i32[b=2, s=3]",
      `%y = cross_entropy(%x, %t) {z_loss=${z}} : f32[b=2, s=3]`,
      { t: within(0, 4) },
      `z_loss ${z}`,
    ],
  ),
  ["%x: f32[v=4], %t: i32[]", "%y = cross_entropy(%x, %t) {z_loss=0.01} : f32[]", { t: within(0, 3) }],

  attention(2, 5, 5, 4, 2, 3, 3, true),
  attention(1, 3, 7, 2, 1, 4, 2, true),
  attention(2, 4, 3, 3, 3, 1, 5, false),
  attention(1, 1, 1, 1, 1, 2, 1, true),
  written("t=5", 2, 3, ", n=2", { at: exactly(4, 0, 2, 1, 3, 0), lengths: exactly(3, 2) }),
  written("t=3", 2, 1, ", h=1, n=3", { at: exactly(2, 1), lengths: exactly(0, 1) }),
  written("t=2", 1, 4, "", { at: exactly(1, -1, 0, 7), lengths: exactly(4) }),
  cached(2, 3, 5, 4, 2, 3, 2, [2, 3, 4, 0, 1, 1]),
  cached(2, 1, 4, 6, 2, 3, 5, [3, 0]),
  cached(1, 2, 3, 1, 1, 2, 1, [-1, 9]),
  [
    "%x: f32[b=2, s=3, h=2, d=6], %p: i32[b=2, s=3]",
    "%y = rotary_embedding(%x, %p) {theta=10000, rotary_dim=4} : f32[b=2, s=3, h=2, d=6]",
    { p: within(0, 40) },
  ],
  [
    "%x: f32[b=1, s=2, h=1, d=2], %p: i32[b=1, s=2]",
    "%y = rotary_embedding(%x, %p) {theta=100, rotary_dim=2} : f32[b=1, s=2, h=1, d=2]",
    { p: within(0, 40) },
  ],

  ["%x: f32[b=2, t=5, c=3], %w: f32[width=4, c=3]", "%y = causal_conv1d(%x, %w) : f32[b=2, t=5, c=3]"],
  [
    "%x: f32[b=1, t=2, c=1], %w: f32[width=3, c=1]",
    "%y = causal_conv1d(%x, %w) : f32[b=1, t=2, c=1]",
    {},
    "shorter than the kernel",
  ],
  ["%x: f32[b=1, t=4, c=2], %w: f32[width=1, c=2]", "%y = causal_conv1d(%x, %w) : f32[b=1, t=4, c=2]"],
  ["%x: f32[b=2, c=4]", '%y = segment_sum(%x) {label="d"} : f32[b=2, c=4, d=4]'],
  ["%x: f32[c=1]", '%y = segment_sum(%x) {label="d"} : f32[c=1, d=1]'],
  solve("b=2, ", 4, 3, false),
  solve("b=2, h=2, ", 3, 1, true),
  solve("", 1, 2, false),
  solve("", 5, 2, true),
  deltaRule(2, 7, 2, 4, 3, 2, 0),
  deltaRule(2, 7, 2, 4, 3, 2, 3),
  deltaRule(1, 8, 1, 1, 2, 3, 4),
  deltaRule(1, 1, 1, 3, 2, 1, 64),
  deltaRule(1, 5, 1, 1, 1, 2, 1),
  adamw("a=2, b=3", "b1=0.9, b2=0.95, eps=0.001, eps_root=0, weight_decay=0.1", "decay"),
  adamw("n=3", "b1=0.9, b2=0.99, eps=0.01, eps_root=0.01, weight_decay=0", "eps_root"),
];

export const cases: readonly Case[] = rows.map(caseOf);
