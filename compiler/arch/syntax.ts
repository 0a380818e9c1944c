// The architecture language's grammar: text → spanned syntax, nothing resolved. Expressions are the configuration's.
import { createToken, type IToken, Lexer, type TokenType } from "chevrotain";
import type { Expression } from "../config/expression.ts";
import {
  Assign,
  Close,
  CloseList,
  Comma,
  Else,
  ExpressionRules,
  expressionTokens,
  In,
  Name,
  Open,
  OpenList,
  Or,
  Text,
} from "../config/expression-syntax.ts";
import { fail, type Source, type Span } from "../diag.ts";

export type Word = { readonly text: string; readonly at: Span };
/** Dims as written: each item is a product of names, integers and `part(i, n)`. */
export type DimList = { readonly items: readonly Expression[]; readonly at: Span };

/** Where else the numbers lie: a name with `{…}` templates and, when it differs, the layout there. */
export type OriginSyntax = { readonly name: Word; readonly dims: DimList | undefined };

export type ParamSyntax = {
  readonly kind: "param";
  readonly name: Word;
  readonly isStored: boolean;
  readonly isFloat32: boolean;
  readonly dims: DimList;
  readonly path: Word;
  readonly origins: readonly OriginSyntax[];
  readonly init: Expression;
};

/** What a program that goes on from earlier tokens keeps of them; in the activation dtype if none is named. */
export type StateSyntax = {
  readonly kind: "state";
  readonly name: Word;
  readonly dims: DimList;
  readonly path: Word;
  readonly dtype: Word | undefined;
};

export type Statement =
  | ParamSyntax
  | StateSyntax
  | { readonly kind: "let"; readonly names: readonly Word[]; readonly value: Expression }
  | { readonly kind: "sow"; readonly name: Word; readonly value: Expression }
  | { readonly kind: "return"; readonly at: Span; readonly values: readonly Expression[] }
  | {
      readonly kind: "when";
      readonly condition: Expression;
      readonly then: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly kind: "repeat";
      readonly variable: Word;
      readonly count: Expression;
      readonly body: readonly Statement[];
    };

/** A parameter of a block: a tensor when it has dims, else a number known when elaborating. */
export type Formal = { readonly name: Word; readonly dims: DimList | undefined };
export type BlockDef = {
  readonly name: Word;
  readonly formals: readonly Formal[];
  readonly body: readonly Statement[];
};
export type Architecture = {
  readonly name: Word;
  readonly dims: readonly { readonly name: Word; readonly size: Expression }[];
  readonly blocks: readonly BlockDef[];
  readonly model: BlockDef;
  /** A head that drafts the token after next from the model's hidden states, for speculative decoding. */
  readonly draft: BlockDef | undefined;
  readonly source: Source;
};

const word = (name: string, isNameToo = false): TokenType =>
  createToken({
    name: name[0]?.toUpperCase() + name.slice(1),
    pattern: new RegExp(name),
    longer_alt: Name,
    label: `\`${name}\``,
    ...(isNameToo ? { categories: [Name] } : {}),
  });
const keywords = [
  word("arch"),
  word("dim"),
  word("block"),
  word("model"),
  word("draft"),
  word("param"),
  word("stored"),
  word("float32"),
  word("state"),
  word("when"),
  word("repeat"),
  word("sow"),
  word("return"),
] as const;
const [Arch, DimWord, Block, Model, Draft, Param, Stored, Float32, State, When, Repeat, Sow, Return] =
  keywords;
// These are also names of a call's arguments.
const argumentNames = [word("at", true), word("from", true), word("init", true)] as const;
const [At, From, Init] = argumentNames;
const OpenBody = createToken({ name: "OpenBody", pattern: "{", label: "`{`" });
const CloseBody = createToken({ name: "CloseBody", pattern: "}", label: "`}`" });
const Comment = createToken({ name: "Comment", pattern: /#[^\n]*/, group: Lexer.SKIPPED });

const vocabulary = [Comment, ...keywords, ...argumentNames, ...expressionTokens, OpenBody, CloseBody];
const lexer = new Lexer(vocabulary, { positionTracking: "onlyOffset" });

class ArchParser extends ExpressionRules {
  constructor() {
    super(vocabulary);
    this.performSelfAnalysis();
  }

  private name(token: IToken): Word {
    return { text: token.image, at: this.at(token) };
  }
  private quoted(token: IToken): Word {
    return { text: token.image.slice(1, -1), at: this.at(token) };
  }

  readonly architecture = this.RULE("architecture", (): Omit<Architecture, "source"> => {
    const dims: { name: Word; size: Expression }[] = [];
    const blocks: BlockDef[] = [];
    this.CONSUME(Arch);
    const name = this.name(this.CONSUME(Name));
    this.MANY(() => {
      this.CONSUME(DimWord);
      const dim = this.name(this.CONSUME1(Name));
      this.CONSUME(Assign);
      dims.push({ name: dim, size: this.SUBRULE(this.conditional) });
    });
    this.MANY1(() => {
      this.CONSUME(Block);
      blocks.push(this.SUBRULE(this.definition));
    });
    this.CONSUME(Model);
    const model = this.SUBRULE1(this.definition);
    const draft = this.OPTION(() => {
      this.CONSUME(Draft);
      return this.SUBRULE2(this.definition);
    });
    return { name, dims, blocks, model, draft };
  });

  private readonly definition = this.RULE("definition", (): BlockDef => {
    const formals: Formal[] = [];
    const name = this.name(this.CONSUME(Name));
    this.CONSUME(Open);
    this.MANY_SEP({
      SEP: Comma,
      DEF: () => {
        const formal = this.name(this.CONSUME1(Name));
        formals.push({ name: formal, dims: this.OPTION(() => this.SUBRULE(this.dimList)) });
      },
    });
    this.CONSUME(Close);
    return { name, formals, body: this.SUBRULE(this.body) };
  });

  private readonly dimList = this.RULE("dimList", (): DimList => {
    const open = this.at(this.CONSUME(OpenList));
    const items: Expression[] = [];
    this.MANY_SEP({ SEP: Comma, DEF: () => items.push(this.SUBRULE(this.conditional)) });
    const close = this.at(this.CONSUME(CloseList));
    return { items, at: this.join({ at: open }, { at: close }) };
  });

  private readonly body = this.RULE("body", (): readonly Statement[] => {
    const statements: Statement[] = [];
    this.CONSUME(OpenBody);
    this.MANY(() => statements.push(this.SUBRULE(this.statement)));
    this.CONSUME(CloseBody);
    return statements;
  });

  private readonly statement = this.RULE(
    "statement",
    (): Statement =>
      this.OR([
        { ALT: () => this.SUBRULE(this.param) },
        { ALT: () => this.SUBRULE(this.state) },
        { ALT: () => this.SUBRULE(this.when) },
        { ALT: () => this.SUBRULE(this.repeat) },
        { ALT: () => this.SUBRULE(this.sow) },
        { ALT: () => this.SUBRULE(this.returned) },
        { ALT: () => this.SUBRULE(this.assignment) },
      ]),
  );

  private readonly param = this.RULE("param", (): Statement => {
    const origins: OriginSyntax[] = [];
    const float32 = this.OPTION(() => this.CONSUME(Float32));
    const stored = this.OPTION1(() => this.CONSUME(Stored));
    this.CONSUME(Param);
    const name = this.name(this.CONSUME(Name));
    const dims = this.SUBRULE(this.dimList);
    this.CONSUME(At);
    const path = this.quoted(this.CONSUME(Text));
    this.CONSUME(From);
    this.AT_LEAST_ONE_SEP({ SEP: Or, DEF: () => origins.push(this.SUBRULE(this.origin)) });
    this.CONSUME(Init);
    return {
      kind: "param",
      name,
      isStored: stored !== undefined,
      isFloat32: float32 !== undefined,
      dims,
      path,
      origins,
      init: this.SUBRULE(this.conditional),
    };
  });

  private readonly state = this.RULE("state", (): Statement => {
    this.CONSUME(State);
    const name = this.name(this.CONSUME(Name));
    const dims = this.SUBRULE(this.dimList);
    this.CONSUME(At);
    const path = this.quoted(this.CONSUME(Text));
    const dtype = this.OPTION(() => {
      this.CONSUME(In);
      return this.name(this.CONSUME1(Name));
    });
    return { kind: "state", name, dims, path, dtype };
  });

  private readonly origin = this.RULE("origin", (): OriginSyntax => {
    const name = this.quoted(this.CONSUME(Text));
    return { name, dims: this.OPTION(() => this.SUBRULE(this.dimList)) };
  });

  private readonly when = this.RULE("when", (): Statement => {
    this.CONSUME(When);
    const condition = this.SUBRULE(this.conditional);
    const then = this.SUBRULE(this.body);
    const otherwise = this.OPTION(() => {
      this.CONSUME(Else);
      return this.SUBRULE1(this.body);
    });
    return { kind: "when", condition, then, otherwise: otherwise ?? [] };
  });

  private readonly repeat = this.RULE("repeat", (): Statement => {
    this.CONSUME(Repeat);
    const variable = this.name(this.CONSUME(Name));
    this.CONSUME(In);
    const count = this.SUBRULE(this.conditional);
    return { kind: "repeat", variable, count, body: this.SUBRULE(this.body) };
  });

  private readonly sow = this.RULE("sow", (): Statement => {
    this.CONSUME(Sow);
    const name = this.name(this.CONSUME(Name));
    this.CONSUME(Assign);
    return { kind: "sow", name, value: this.SUBRULE(this.conditional) };
  });

  private readonly returned = this.RULE("returned", (): Statement => {
    const at = this.at(this.CONSUME(Return));
    const values: Expression[] = [];
    this.AT_LEAST_ONE_SEP({ SEP: Comma, DEF: () => values.push(this.SUBRULE(this.conditional)) });
    return { kind: "return", at, values };
  });

  private readonly assignment = this.RULE("assignment", (): Statement => {
    const names: Word[] = [];
    this.AT_LEAST_ONE_SEP({ SEP: Comma, DEF: () => names.push(this.name(this.CONSUME(Name))) });
    this.CONSUME(Assign);
    return { kind: "let", names, value: this.SUBRULE(this.conditional) };
  });
}

let parser: ArchParser | undefined;

/** Parses a whole `.arch` file; a mistake underlines its place. */
export function parseArchitecture(source: Source): Architecture {
  const { tokens: input, errors } = lexer.tokenize(source.text);
  const [stray] = errors;
  if (stray) {
    const start = stray.offset;
    fail({
      code: "arch-syntax",
      message: `unexpected character ${JSON.stringify(source.text[start] ?? "")}`,
      at: { source, start, end: start + 1 },
    });
  }
  parser ??= new ArchParser();
  parser.begin(source, 0, input);
  const architecture = parser.architecture();
  const [problem] = parser.errors;
  if (!problem) return { ...architecture, source };
  const { token } = problem;
  const end = source.text.trimEnd().length;
  const start = token.tokenType.name === "EOF" ? Math.max(0, end - 1) : token.startOffset;
  return fail({
    code: "arch-syntax",
    message: problem.message,
    at: { source, start, end: start + Math.max(1, token.image.length) },
  });
}
