// Text → Module: what syntax.ts parsed with its names, ops and types resolved.
import type { IToken } from "chevrotain";
import { counted, didYouMean, fail, invariant, type Source } from "../diag.ts";
import { findDType } from "../dtype.ts";
import { findOp, opNames } from "../ops/index.ts";
import { node, value } from "./build.ts";
import { formatType, sameType } from "./shape.ts";
import {
  type BlockSyntax,
  type ModuleSyntax,
  type NodeSyntax,
  parseSyntax,
  spanOf,
  type TypeSyntax,
} from "./syntax.ts";
import type { Attr, Attrs, Block, Module, Role, TensorType, Value } from "./types.ts";

/** Reads a module; the first error is thrown with its place. */
export function parseModule(text: string, file = "<ir>"): Module {
  const source: Source = { file, text };
  return resolveModule(source, parseSyntax(source));
}

const ROLES: readonly Role[] = ["input", "param", "state"];

function resolveModule(source: Source, { name, block }: ModuleSyntax): Module {
  const roles = block.params.map(({ role, name: param }): Role => {
    const found = ROLES.find((each) => each === (role?.image ?? "input"));
    return (
      found ??
      fail({
        code: "ir-role",
        message: `a parameter is input, param or state, got ${role?.image}`,
        at: spanOf(source, role ?? param),
      })
    );
  });
  return { name: name.image, roles, body: resolveBlock(source, block) };
}

function resolveType(source: Source, { dtype, dims }: TypeSyntax): TensorType {
  const found = findDType(dtype.image);
  if (!found) fail({ code: "ir-type", message: `unknown dtype ${dtype.image}`, at: spanOf(source, dtype) });
  const sizeOf = (token: IToken): number => {
    const size = Number(token.image);
    if (size > 0 && Number.isSafeInteger(size)) return size;
    return fail({
      code: "ir-type",
      message: `the size of a dim is a positive integer, got ${token.image}`,
      at: spanOf(source, token),
    });
  };
  return {
    dtype: found,
    dims: dims.map(({ label, size }) => ({ label: label.image.slice(0, -1), size: sizeOf(size) })),
  };
}

function resolveBlock(source: Source, { params, nodes, results }: BlockSyntax): Block {
  const scope = new Map<string, { value: Value; at: IToken }>();
  const define = (token: IToken, made: Value): Value => {
    const earlier = scope.get(token.image);
    if (earlier)
      fail({
        code: "ir-name",
        message: `${token.image} is defined twice`,
        at: spanOf(source, token),
        notes: [{ message: "first here", at: spanOf(source, earlier.at) }],
      });
    scope.set(token.image, { value: made, at: token });
    return made;
  };
  const read = (token: IToken): Value =>
    scope.get(token.image)?.value ??
    fail({
      code: "ir-name",
      message: `${token.image} is not defined here`,
      at: spanOf(source, token),
      help: didYouMean(token.image, scope.keys()),
    });
  const values = params.map(({ name, type }) =>
    define(name, value(name.image.slice(1), resolveType(source, type))),
  );
  const made = nodes.map((syntax) => {
    const op = findOp(syntax.op.image);
    if (!op)
      fail({
        code: "ir-op",
        message: `there is no op ${syntax.op.image}`,
        at: spanOf(source, syntax.op),
        help: didYouMean(syntax.op.image, opNames),
      });
    const types = syntax.types.map((type) => resolveType(source, type));
    const typed: Attrs = Object.fromEntries(
      Object.entries(op.attrs).flatMap(([name, kind]) =>
        kind === "type" && types[0] ? [[name, types[0]]] : [],
      ),
    );
    const given = Object.fromEntries(
      syntax.attrs.map(({ key, value: literal }): [string, Attr] => [key.image.slice(0, -1), literal]),
    );
    const at = spanOf(source, syntax.op);
    const result = node(op, syntax.ins.map(read), {
      attrs: { ...typed, ...given },
      regions: syntax.regions.map((region) => resolveBlock(source, region)),
      hints: syntax.outs.map((out) => out.image.slice(1)),
      loc: { kind: "source", span: at },
    });
    checkAnnotation(source, syntax, types, result.outs);
    result.outs.forEach((out, i) => {
      const token = syntax.outs[i];
      invariant(token, "outs were counted");
      define(token, out);
    });
    return result;
  });
  return { params: values, nodes: made, results: results.map(read) };
}

function checkAnnotation(
  source: Source,
  syntax: NodeSyntax,
  types: readonly TensorType[],
  outs: readonly Value[],
): void {
  const at = spanOf(source, syntax.op);
  if (outs.length !== syntax.outs.length || outs.length !== types.length)
    fail({
      code: "ir-type",
      message: `\`${syntax.op.image}\` has ${counted(outs.length, "result")}; ${syntax.outs.length} are named and ${types.length} typed`,
      at,
    });
  outs.forEach((out, i) => {
    const said = types[i];
    if (said && !sameType(said, out.type))
      fail({
        code: "ir-type",
        message: `\`${syntax.op.image}\` gives ${formatType(out.type)}, the annotation says ${formatType(said)}`,
        at,
      });
  });
}
