// The verifier names each way in which a pass can break a module.
import { expect, test } from "@jest/globals";
import { opNamed, value } from "../../compiler/ir/build.ts";
import { parseModule } from "../../compiler/ir/parse.ts";
import { dim, tensor } from "../../compiler/ir/shape.ts";
import type { Block, Module, Node } from "../../compiler/ir/types.ts";
import { verifyModule } from "../../compiler/ir/verify.ts";

const whole = parseModule(`module m(input %x: f32[n=2], input %w: f32[t=2, n=2]) {
  %a = exp(%x) : f32[n=2]
  %b = add(%a, %x) : f32[n=2]
  %last = scan(%b, %w) {length=2, carries=1, xs=1, reverse=false, label="t"} : f32[n=2]
    (%c: f32[n=2], %r: f32[n=2]) {
      %d = multiply(%c, %r) : f32[n=2]
      return %d
    }
  return %last
}`);
const [first, second, loop] = whole.body.nodes as [Node, Node, Node];
const [region] = loop.regions as [Block];
const other = value("other", tensor("f32", [dim("n", 2)]));

const withBody = (body: Partial<Block>): Module => ({ ...whole, body: { ...whole.body, ...body } });
const withSecond = (changed: Partial<Node>): Module =>
  withBody({ nodes: [first, { ...second, ...changed }, loop] });
const withRegion = (changed: Partial<Block>): Module =>
  withBody({ nodes: [first, second, { ...loop, regions: [{ ...region, ...changed }] }] });

test("a whole module holds", () => {
  expect(() => verifyModule(whole)).not.toThrow();
});

const broken: readonly (readonly [string, Module, string])[] = [
  ["a role too few", { ...whole, roles: ["input"] }, "1 roles for 2 parameters"],
  [
    "an operand nobody defines",
    withSecond({ ins: [first.outs[0]!, other] }),
    "%b = add reads %other before it is defined",
  ],
  [
    "an operand defined later",
    withBody({ nodes: [second, first, loop] }),
    "%b = add reads %a before it is defined",
  ],
  [
    "a type the op does not give",
    withSecond({ outs: [value("b", tensor("bf16", [dim("n", 2)]))] }),
    "%b = add is bf16[n=2], the op infers f32[n=2]",
  ],
  [
    "a dim's name the op does not give",
    withSecond({ outs: [value("b", tensor("f32", [dim("m", 2)]))] }),
    "%b = add is f32[m=2], the op infers f32[n=2]",
  ],
  [
    "a result too many",
    withSecond({ outs: [...second.outs, other] }),
    "%b = add has 2 results, the op infers 1",
  ],
  [
    "a value defined twice",
    withBody({ nodes: [first, first, second, loop] }),
    "%a = exp defines a value twice",
  ],
  ["a parameter defined again", withSecond({ outs: [whole.body.params[0]!] }), "defines a value twice"],
  [
    "a parameter that comes twice",
    withBody({ params: [whole.body.params[0]!, whole.body.params[0]!] }),
    "the parameter %x comes twice",
  ],
  ["a result nobody defines", withBody({ results: [other] }), "a result %other is not defined"],
  [
    "a region that reads from outside",
    withRegion({ nodes: [{ ...region.nodes[0]!, ins: [region.params[0]!, first.outs[0]!] }] }),
    "%d = multiply reads %a before it is defined",
  ],
  [
    "a region whose result nobody defines",
    withRegion({ results: [other] }),
    "a result %other is not defined",
  ],
  [
    "an attribute missing",
    withBody({ nodes: [first, second, { ...loop, attrs: {} }] }),
    "`scan` takes length, an integer; got nothing",
  ],
  ["operands that do not fit", withSecond({ op: opNamed("take") }), "`take`: indices are i32, got f32"],
];

test.each(broken)("%s", (_name, module, message) => {
  expect(() => verifyModule(module, "some-pass")).toThrow(message);
});

test("says after which pass", () => {
  expect(() => verifyModule(withBody({ results: [other] }), "some-pass")).toThrow(
    "internal: after some-pass: ",
  );
});
