// The grammar of IR text: text → spanned syntax, nothing resolved.
import { createToken, EmbeddedActionsParser, type IToken, Lexer, tokenLabel } from "chevrotain";
import { fail, type Source, type Span } from "../diag.ts";

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
const marks = [
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
const [LParen, RParen, LBrace, RBrace, LSquare, RSquare, Comma, Colon, Equals] = marks;
// The lexer takes the first that matches: words of the grammar before others.
const tokens = [Comment, Space, Ref, Label, Key, Num, Str, ModuleWord, Return, True, False, Word, ...marks];
const lexer = new Lexer(tokens, { positionTracking: "onlyOffset" });

type Literal = number | string | boolean | readonly number[];
export type TypeSyntax = {
  readonly dtype: IToken;
  readonly dims: readonly { readonly label: IToken; readonly size: IToken }[];
};
type ParamSyntax = { readonly role: IToken | undefined; readonly name: IToken; readonly type: TypeSyntax };
export type NodeSyntax = {
  readonly outs: readonly IToken[];
  readonly op: IToken;
  readonly ins: readonly IToken[];
  readonly attrs: readonly { readonly key: IToken; readonly value: Literal }[];
  readonly types: readonly TypeSyntax[];
  readonly regions: readonly BlockSyntax[];
};
export type BlockSyntax = {
  readonly params: readonly ParamSyntax[];
  readonly nodes: readonly NodeSyntax[];
  readonly results: readonly IToken[];
};
export type ModuleSyntax = { readonly name: IToken; readonly block: BlockSyntax };

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

  readonly module = this.RULE("module", (): ModuleSyntax => {
    this.CONSUME(ModuleWord);
    const name = this.CONSUME(Word);
    return { name, block: this.SUBRULE(this.block) };
  });
  private readonly block = this.RULE("block", (): BlockSyntax => {
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
  private readonly param = this.RULE("param", (): ParamSyntax => {
    const role = this.OPTION(() => this.CONSUME(Word));
    const name = this.CONSUME(Ref);
    this.CONSUME(Colon);
    return { role, name, type: this.SUBRULE(this.type) };
  });
  private readonly refs = this.RULE("refs", (): IToken[] => {
    const refs: IToken[] = [];
    this.MANY_SEP({ SEP: Comma, DEF: () => refs.push(this.CONSUME(Ref)) });
    return refs;
  });
  private readonly node = this.RULE("node", (): NodeSyntax => {
    const outs = [this.CONSUME(Ref)];
    const attrs: { key: IToken; value: Literal }[] = [];
    const types: TypeSyntax[] = [];
    const regions: BlockSyntax[] = [];
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
  private readonly type = this.RULE("type", (): TypeSyntax => {
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
  private readonly literal = this.RULE(
    "literal",
    (): Literal =>
      this.OR<Literal>([
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
      ]),
  );
}

function readNumber(image: string): number {
  const isNegative = image.startsWith("-");
  const body = isNegative ? image.slice(1) : image;
  const size = body === "inf" ? Number.POSITIVE_INFINITY : body === "nan" ? Number.NaN : Number(body);
  return isNegative ? -size : size;
}
/** During chevrotain's self-analysis images are made up, so a string that is none must not throw. */
const readString = (image: string): string => (image.startsWith('"') ? (JSON.parse(image) as string) : image);

let parser: ModuleParser | undefined;

/** The place of a token; at the end of the text, the place after it. */
export const spanOf = (source: Source, token: IToken): Span => {
  const start = Number.isFinite(token.startOffset) ? token.startOffset : source.text.length;
  return { source, start, end: start + Math.max(1, token.image.length) };
};

/** Parses a module; the first error is thrown with its place. */
export function parseSyntax(source: Source): ModuleSyntax {
  const { tokens: found, errors } = lexer.tokenize(source.text);
  const [stray] = errors;
  if (stray)
    fail({
      code: "ir-syntax",
      message: `unexpected character ${JSON.stringify(source.text[stray.offset])}`,
      at: { source, start: stray.offset, end: stray.offset + 1 },
    });
  parser ??= new ModuleParser();
  parser.input = found;
  const syntax = parser.module();
  const [error] = parser.errors;
  if (error) fail({ code: "ir-syntax", message: error.message, at: spanOf(source, error.token) });
  return syntax;
}
