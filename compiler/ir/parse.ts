// Text → Module. The grammar builds a spanned tree; names, ops and types are resolved in a second step.
import { createToken, EmbeddedActionsParser, type IToken, Lexer, tokenLabel } from "chevrotain";
import { counted, didYouMean, fail, invariant, type Source, type Span } from "../diag.ts";
import { findDType } from "../dtype.ts";
import { findOp, opNames } from "../ops/index.ts";
import { node, value } from "./build.ts";
import { formatType, sameType } from "./shape.ts";
import type { Attr, Attrs, Block, Module, Role, TensorType, Value } from "./types.ts";

const Comment = createToken({ name: "Comment", pattern: /#[^\n]*/, group: Lexer.SKIPPED });
const Space = createToken({ name: "Space", pattern: /\s+/, group: Lexer.SKIPPED, line_breaks: true });
const Ref = createToken({ name: "Ref", pattern: /%[\w.]+/, label: "a value (%name)" });
const Label = createToken({ name: "Label", pattern: /[\w*]+=(?=-?\d+[\],])/, label: "a dim (name=size)" });
const Key = createToken({ name: "Key", pattern: /[A-Za-z_]\w*=/, label: "an attribute (name=value)" });
const Num = createToken({
  name: "Num",
  pattern: /-?(\d+(\.\d+)?([eE][+-]?\d+)?|inf|nan)(?!\w)/,
  label: "a number",
});
const Str = createToken({
  name: "Str",
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings hold none, and JSON.parse reads these.
  pattern: /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/,
  label: "a string",
});
const Word = createToken({ name: "Word", pattern: /[A-Za-z_][\w-]*/, label: "a word" });
const ModuleWord = createToken({
  name: "ModuleWord",
  pattern: /module/,
  longer_alt: Word,
  label: "`module`",
});
const Return = createToken({ name: "Return", pattern: /return/, longer_alt: Word, label: "`return`" });
const True = createToken({ name: "True", pattern: /true/, longer_alt: Word });
const False = createToken({ name: "False", pattern: /false/, longer_alt: Word });
const punctuation = (name: string, text: string) =>
  createToken({ name, pattern: text, label: `\`${text}\`` });
const [LParen, RParen, LBrace, RBrace, LSquare, RSquare, Comma, Colon, Equals] = [
  punctuation("LParen", "("),
  punctuation("RParen", ")"),
  punctuation("LBrace", "{"),
  punctuation("RBrace", "}"),
  punctuation("LSquare", "["),
  punctuation("RSquare", "]"),
  punctuation("Comma", ","),
  punctuation("Colon", ":"),
  punctuation("Equals", "="),
] as const;
const tokens = [
  Comment,
  Space,
  Ref,
  Label,
  Key,
  Num,
  Str,
  ModuleWord,
  Return,
  True,
  False,
  Word,
  LParen,
  RParen,
  LBrace,
  RBrace,
  LSquare,
  RSquare,
  Comma,
  Colon,
  Equals,
];
const lexer = new Lexer(tokens, { positionTracking: "onlyOffset" });

type Literal = { readonly kind: "literal"; readonly value: number | string | boolean | readonly number[] };
type TypeSyntax = {
  readonly dtype: IToken;
  readonly dims: readonly { readonly label: IToken; readonly size: IToken }[];
};
type ParamSyntax = { readonly role: IToken | undefined; readonly name: IToken; readonly type: TypeSyntax };
type NodeSyntax = {
  readonly outs: readonly IToken[];
  readonly op: IToken;
  readonly ins: readonly IToken[];
  readonly attrs: readonly { readonly key: IToken; readonly value: Literal }[];
  readonly types: readonly TypeSyntax[];
  readonly regions: readonly BlockSyntax[];
};
type BlockSyntax = {
  readonly params: readonly ParamSyntax[];
  readonly nodes: readonly NodeSyntax[];
  readonly results: readonly IToken[];
};
type ModuleSyntax = { readonly name: IToken; readonly block: BlockSyntax };

const shown = (token: IToken): string => (token.tokenType.name === "EOF" ? "the end" : `\`${token.image}\``);

class ModuleParser extends EmbeddedActionsParser {
  constructor() {
    super(tokens, {
      recoveryEnabled: false,
      errorMessageProvider: {
        buildMismatchTokenMessage: ({ expected, actual }) =>
          `expected ${tokenLabel(expected)}, found ${shown(actual)}`,
        buildNotAllInputParsedMessage: ({ firstRedundant }) =>
          `expected the end, found ${shown(firstRedundant)}`,
        buildNoViableAltMessage: ({ actual: [first], previous }) =>
          `expected a value of an attribute, found ${shown(first ?? previous)}`,
        buildEarlyExitMessage: ({ actual: [first], previous }) =>
          `expected an attribute (name=value) or a type, found ${shown(first ?? previous)}`,
      },
    });
    this.performSelfAnalysis();
  }
  module = this.RULE("module", (): ModuleSyntax => {
    this.CONSUME(ModuleWord);
    const name = this.CONSUME(Word);
    return { name, block: this.SUBRULE(this.block) };
  });
  private block = this.RULE("block", (): BlockSyntax => {
    const params: ParamSyntax[] = [];
    const nodes: NodeSyntax[] = [];
    this.CONSUME(LParen);
    this.MANY_SEP({ SEP: Comma, DEF: () => params.push(this.SUBRULE(this.param)) });
    this.CONSUME(RParen);
    this.CONSUME(LBrace);
    this.MANY(() => nodes.push(this.SUBRULE(this.node)));
    this.CONSUME(Return);
    const results = this.SUBRULE(this.refs);
    this.CONSUME(RBrace);
    return { params, nodes, results };
  });
  private param = this.RULE("param", (): ParamSyntax => {
    const role = this.OPTION(() => this.CONSUME(Word));
    const name = this.CONSUME(Ref);
    this.CONSUME(Colon);
    return { role, name, type: this.SUBRULE(this.type) };
  });
  private refs = this.RULE("refs", (): IToken[] => {
    const refs: IToken[] = [];
    this.MANY_SEP({ SEP: Comma, DEF: () => refs.push(this.CONSUME(Ref)) });
    return refs;
  });
  private node = this.RULE("node", (): NodeSyntax => {
    const outs = [this.CONSUME(Ref)];
    const [attrs, types, regions]: [{ key: IToken; value: Literal }[], TypeSyntax[], BlockSyntax[]] = [
      [],
      [],
      [],
    ];
    this.MANY(() => {
      this.CONSUME(Comma);
      outs.push(this.CONSUME2(Ref));
    });
    this.CONSUME(Equals);
    const op = this.CONSUME(Word);
    this.CONSUME(LParen);
    const ins = this.SUBRULE(this.refs);
    this.CONSUME(RParen);
    this.OPTION(() => {
      this.CONSUME(LBrace);
      this.AT_LEAST_ONE_SEP({
        SEP: Comma,
        DEF: () => {
          const key = this.OR([{ ALT: () => this.CONSUME(Key) }, { ALT: () => this.CONSUME(Label) }]);
          attrs.push({ key, value: this.SUBRULE(this.literal) });
        },
      });
      this.CONSUME(RBrace);
    });
    this.CONSUME(Colon);
    this.AT_LEAST_ONE_SEP2({ SEP: Comma, DEF: () => types.push(this.SUBRULE(this.type)) });
    this.MANY2(() => regions.push(this.SUBRULE(this.block)));
    return { outs, op, ins, attrs, types, regions };
  });
  private type = this.RULE("type", (): TypeSyntax => {
    const dtype = this.CONSUME(Word);
    const dims: { label: IToken; size: IToken }[] = [];
    this.CONSUME(LSquare);
    this.MANY_SEP({
      SEP: Comma,
      DEF: () => dims.push({ label: this.CONSUME(Label), size: this.CONSUME(Num) }),
    });
    this.CONSUME(RSquare);
    return { dtype, dims };
  });
  private literal = this.RULE("literal", (): Literal => {
    const value = this.OR<Literal["value"]>([
      { ALT: () => readNumber(this.CONSUME(Num).image) },
      { ALT: () => readString(this.CONSUME(Str).image) },
      { ALT: () => this.CONSUME(True) !== undefined },
      { ALT: () => this.CONSUME(False) === undefined },
      {
        ALT: () => {
          const items: number[] = [];
          this.CONSUME(LSquare);
          this.MANY_SEP({ SEP: Comma, DEF: () => items.push(readNumber(this.CONSUME2(Num).image)) });
          this.CONSUME(RSquare);
          return items;
        },
      },
    ]);
    return { kind: "literal", value };
  });
}

function readNumber(image: string): number {
  const isNegative = image.startsWith("-");
  const body = isNegative ? image.slice(1) : image;
  const size = body === "inf" ? Number.POSITIVE_INFINITY : body === "nan" ? Number.NaN : Number(body);
  return isNegative ? -size : size;
}
/** During chevrotain's self-analysis images are made up, so a string that is none must not throw. */
const readString = (image: string): string => (image.startsWith('"') ? (JSON.parse(image) as string) : image);

const parser = new ModuleParser();

const spanOf = (source: Source, token: IToken): Span => {
  const start = Number.isFinite(token.startOffset) ? token.startOffset : source.text.length;
  return { source, start, end: start + Math.max(1, token.image.length) };
};

/** Reads a module; the first error is thrown with its place. */
export function parseModule(text: string, file = "<ir>"): Module {
  const source: Source = { file, text };
  const { tokens: found, errors } = lexer.tokenize(text);
  const [lexError] = errors;
  if (lexError) {
    const start = lexError.offset;
    fail({
      code: "ir-syntax",
      message: `unexpected character ${JSON.stringify(text[start])}`,
      at: { source, start, end: start + 1 },
    });
  }
  parser.input = found;
  const syntax = parser.module();
  const [error] = parser.errors;
  if (error)
    fail({
      code: "ir-syntax",
      message: error.message,
      at: spanOf(source, error.token),
    });
  return resolveModule(source, syntax);
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
      syntax.attrs.map(({ key, value: literal }): [string, Attr] => [key.image.slice(0, -1), literal.value]),
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
