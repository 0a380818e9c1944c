// The grammar of expressions: text → spanned syntax.

import {
  createToken,
  EmbeddedActionsParser,
  type IToken,
  Lexer,
  type TokenType,
  tokenLabel,
} from "chevrotain";
import { fail, type Source, type Span } from "../diag.ts";
import type { BinaryOperator, CompareOperator, Comparison, Expression, NamedArgument } from "./expression.ts";

const Space = createToken({ name: "Space", pattern: /\s+/, group: Lexer.SKIPPED });
/** A name; the words of a language that extends this one may be names too. */
export const Name = createToken({ name: "Name", pattern: /[A-Za-z_]\w*/, label: "a name" });
const NumberToken = createToken({
  name: "Number",
  pattern: /(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?/,
  label: "a number",
});
export const Text = createToken({
  name: "Text",
  pattern: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/,
  line_breaks: true,
  label: "a text",
});

const word = (name: string, pattern: RegExp): TokenType =>
  createToken({ name, pattern, longer_alt: Name, label: `\`${name.toLowerCase()}\`` });
const If = word("If", /if/);
export const Else = word("Else", /else/);
const And = word("And", /and/);
export const Or = word("Or", /or/);
const Not = word("Not", /not/);
export const In = word("In", /in/);
const True = word("True", /true|True/);
const False = word("False", /false|False/);
const Null = word("Null", /null|None|none/);

const sign = (name: string, text: string): TokenType =>
  createToken({ name, pattern: text, label: `\`${text}\`` });
const Power = sign("Power", "**");
const FloorDivide = sign("FloorDivide", "//");
const Times = sign("Times", "*");
const Divide = sign("Divide", "/");
const Modulo = sign("Modulo", "%");
const Plus = sign("Plus", "+");
const Minus = sign("Minus", "-");
const Comparator = createToken({ name: "Comparator", pattern: /==|!=|<=|>=|<|>/, label: "a comparison" });
export const Open = sign("Open", "(");
export const Close = sign("Close", ")");
export const OpenList = sign("OpenList", "[");
export const CloseList = sign("CloseList", "]");
export const Comma = sign("Comma", ",");
export const Assign = sign("Assign", "=");

// Longer operators stand before their prefixes, words before names: the lexer takes the first that matches.
export const expressionTokens: readonly TokenType[] = [
  ...[Space, NumberToken, Text, If, Else, And, Or, Not, In, True, False, Null, Name],
  ...[Power, FloorDivide, Times, Divide, Modulo, Plus, Minus, Comparator],
  ...[Open, Close, OpenList, CloseList, Comma, Assign],
];
const lexer = new Lexer([...expressionTokens], { positionTracking: "onlyOffset" });

const found = (token: IToken): string => (token.tokenType.name === "EOF" ? "the end" : `\`${token.image}\``);
const first = (seen: readonly IToken[], previous: IToken): IToken => seen[0] ?? previous;

// While chevrotain records the grammar, tokens and rules are placeholders without a place.
const nowhere: Span = { source: { file: "", text: "" }, start: 0, end: 0 };

/** The grammar of expressions, for languages that contain them; the last subclass runs the self-analysis. */
export class ExpressionRules extends EmbeddedActionsParser {
  private source: Source = { file: "", text: "" };
  private base = 0;

  constructor(vocabulary: readonly TokenType[]) {
    super([...vocabulary], {
      errorMessageProvider: {
        buildMismatchTokenMessage: ({ expected, actual }) =>
          `expected ${tokenLabel(expected)}, found ${found(actual)}`,
        buildNotAllInputParsedMessage: ({ firstRedundant }) =>
          `expected an operator or the end, found ${found(firstRedundant)}`,
        buildNoViableAltMessage: ({ actual, previous }) =>
          `expected a value, found ${found(first(actual, previous))}`,
        buildEarlyExitMessage: ({ actual, previous }) =>
          `expected a value, found ${found(first(actual, previous))}`,
      },
    });
  }

  /** Says which text the tokens of the next parse come from. */
  begin(source: Source, base: number, input: IToken[]): void {
    this.source = source;
    this.base = base;
    this.input = input;
  }

  protected at(token: IToken): Span {
    if (this.RECORDING_PHASE) return nowhere;
    const start = this.base + token.startOffset;
    return { source: this.source, start, end: start + token.image.length };
  }

  protected join(from: { readonly at: Span }, to: { readonly at: Span }): Span {
    if (this.RECORDING_PHASE) return nowhere;
    return { source: this.source, start: from.at.start, end: to.at.end };
  }

  readonly conditional = this.RULE("conditional", (): Expression => {
    let value = this.SUBRULE(this.disjunction);
    this.OPTION(() => {
      this.CONSUME(If);
      const condition = this.SUBRULE1(this.disjunction);
      this.CONSUME(Else);
      const otherwise = this.SUBRULE2(this.conditional);
      value = { kind: "conditional", condition, value, otherwise, at: this.join(value, otherwise) };
    });
    return value;
  });

  private readonly disjunction = this.RULE("disjunction", (): Expression => {
    let left = this.SUBRULE(this.conjunction);
    this.MANY(() => {
      this.CONSUME(Or);
      const right = this.SUBRULE1(this.conjunction);
      left = { kind: "logic", op: "or", left, right, at: this.join(left, right) };
    });
    return left;
  });

  private readonly conjunction = this.RULE("conjunction", (): Expression => {
    let left = this.SUBRULE(this.negation);
    this.MANY(() => {
      this.CONSUME(And);
      const right = this.SUBRULE1(this.negation);
      left = { kind: "logic", op: "and", left, right, at: this.join(left, right) };
    });
    return left;
  });

  private readonly negation = this.RULE(
    "negation",
    (): Expression =>
      this.OR([
        {
          ALT: () => {
            const at = this.at(this.CONSUME(Not));
            const operand = this.SUBRULE(this.negation);
            return { kind: "unary", op: "not", operand, at: this.join({ at }, operand) };
          },
        },
        { ALT: () => this.SUBRULE(this.comparison) },
      ]),
  );

  private readonly comparison = this.RULE("comparison", (): Expression => {
    const head = this.SUBRULE(this.sum);
    const rest: Comparison[] = [];
    this.MANY(() => {
      const { op, opAt } = this.SUBRULE(this.comparator);
      rest.push({ op, opAt, operand: this.SUBRULE1(this.sum) });
    });
    const last = rest.at(-1);
    return last ? { kind: "compare", first: head, rest, at: this.join(head, last.operand) } : head;
  });

  private readonly comparator = this.RULE("comparator", (): { op: CompareOperator; opAt: Span } =>
    this.OR([
      {
        ALT: () => {
          const token = this.CONSUME(Comparator);
          return { op: token.image as CompareOperator, opAt: this.at(token) };
        },
      },
      { ALT: () => ({ op: "in", opAt: this.at(this.CONSUME(In)) }) },
      {
        ALT: () => {
          const not = this.CONSUME(Not);
          const end = this.CONSUME1(In);
          return { op: "not in", opAt: this.join({ at: this.at(not) }, { at: this.at(end) }) };
        },
      },
    ]),
  );

  private binary(left: Expression, token: IToken, right: Expression): Expression {
    const op = token.image as BinaryOperator;
    return { kind: "binary", op, left, right, at: this.join(left, right), opAt: this.at(token) };
  }

  private readonly sum = this.RULE("sum", (): Expression => {
    let left = this.SUBRULE(this.product);
    this.MANY(() => {
      const op = this.OR([{ ALT: () => this.CONSUME(Plus) }, { ALT: () => this.CONSUME(Minus) }]);
      left = this.binary(left, op, this.SUBRULE1(this.product));
    });
    return left;
  });

  private readonly product = this.RULE("product", (): Expression => {
    let left = this.SUBRULE(this.unary);
    this.MANY(() => {
      const op = this.OR([
        { ALT: () => this.CONSUME(Times) },
        { ALT: () => this.CONSUME(FloorDivide) },
        { ALT: () => this.CONSUME(Divide) },
        { ALT: () => this.CONSUME(Modulo) },
      ]);
      left = this.binary(left, op, this.SUBRULE1(this.unary));
    });
    return left;
  });

  private readonly unary = this.RULE(
    "unary",
    (): Expression =>
      this.OR([
        { ALT: () => this.signed(this.CONSUME(Minus), "-", () => this.SUBRULE(this.unary)) },
        { ALT: () => this.signed(this.CONSUME(Plus), "+", () => this.SUBRULE1(this.unary)) },
        { ALT: () => this.SUBRULE(this.power) },
      ]),
  );

  private signed(token: IToken, op: "-" | "+", parse: () => Expression): Expression {
    const operand = parse();
    return { kind: "unary", op, operand, at: this.join({ at: this.at(token) }, operand) };
  }

  // Python's: `**` binds tighter than the sign before it and looser than the one after, and groups to the right.
  private readonly power = this.RULE("power", (): Expression => {
    let base = this.SUBRULE(this.postfix);
    this.OPTION(() => {
      const op = this.CONSUME(Power);
      base = this.binary(base, op, this.SUBRULE(this.unary));
    });
    return base;
  });

  private readonly postfix = this.RULE("postfix", (): Expression => {
    let target = this.SUBRULE(this.primary);
    this.MANY(() => {
      this.CONSUME(OpenList);
      const index = this.SUBRULE(this.conditional);
      const end = this.at(this.CONSUME(CloseList));
      target = { kind: "index", target, index, at: this.join(target, { at: end }) };
    });
    return target;
  });

  private literal(token: IToken, read: (text: string) => number | string | boolean | null): Expression {
    return { kind: "literal", value: read(token.image), at: this.at(token) };
  }

  private readonly primary = this.RULE(
    "primary",
    (): Expression =>
      this.OR([
        { ALT: () => this.literal(this.CONSUME(NumberToken), (text) => Number(text.replaceAll("_", ""))) },
        { ALT: () => this.literal(this.CONSUME(Text), (text) => text.slice(1, -1).replace(/\\(.)/gs, "$1")) },
        { ALT: () => this.literal(this.CONSUME(True), () => true) },
        { ALT: () => this.literal(this.CONSUME(False), () => false) },
        { ALT: () => this.literal(this.CONSUME(Null), () => null) },
        { ALT: () => this.SUBRULE(this.nameOrCall) },
        { ALT: () => this.SUBRULE(this.parenthesis) },
        { ALT: () => this.SUBRULE(this.list) },
      ]),
  );

  private readonly nameOrCall = this.RULE("nameOrCall", (): Expression => {
    const token = this.CONSUME(Name);
    const calleeAt = this.at(token);
    let result: Expression = { kind: "name", name: token.image, at: calleeAt };
    this.OPTION(() => {
      this.CONSUME(Open);
      const args: Expression[] = [];
      const named: NamedArgument[] = [];
      this.MANY_SEP({
        SEP: Comma,
        DEF: () =>
          this.OR([
            { ALT: () => named.push(this.SUBRULE(this.namedArgument)) },
            { ALT: () => args.push(this.SUBRULE(this.conditional)) },
          ]),
      });
      const end = this.at(this.CONSUME(Close));
      result = {
        kind: "call",
        callee: token.image,
        calleeAt,
        args,
        named,
        at: this.join({ at: calleeAt }, { at: end }),
      };
    });
    return result;
  });

  private readonly namedArgument = this.RULE("namedArgument", (): NamedArgument => {
    const name = this.CONSUME(Name);
    this.CONSUME(Assign);
    return { name: name.image, nameAt: this.at(name), value: this.SUBRULE(this.conditional) };
  });

  private readonly parenthesis = this.RULE("parenthesis", (): Expression => {
    this.CONSUME(Open);
    const inner = this.SUBRULE(this.conditional);
    this.CONSUME(Close);
    return inner;
  });

  private readonly list = this.RULE("list", (): Expression => {
    const open = this.at(this.CONSUME(OpenList));
    const items: Expression[] = [];
    this.MANY_SEP({ SEP: Comma, DEF: () => items.push(this.SUBRULE(this.conditional)) });
    const end = this.at(this.CONSUME(CloseList));
    return { kind: "list", items, at: this.join({ at: open }, { at: end }) };
  });
}

class ExpressionParser extends ExpressionRules {
  constructor() {
    super(expressionTokens);
    this.performSelfAnalysis();
  }
}

let parser: ExpressionParser | undefined;

/** Parses the text of `source` between two offsets as one expression; a mistake underlines its place in `source`. */
export function parseExpression(source: Source, start = 0, end: number = source.text.length): Expression {
  const syntaxError = (message: string, from: number, to: number): never =>
    fail({ code: "expression-syntax", message, at: { source, start: from, end: Math.max(to, from + 1) } });
  const { tokens: input, errors } = lexer.tokenize(source.text.slice(start, end));
  const stray = errors[0];
  if (stray) {
    const character = source.text[start + stray.offset] ?? "";
    const message = /["']/.test(character)
      ? "this text is not closed"
      : `unexpected character \`${character}\``;
    syntaxError(message, start + stray.offset, start + stray.offset + 1);
  }
  if (input.length === 0) syntaxError("expected an expression, found nothing", start, end);
  parser ??= new ExpressionParser();
  parser.begin(source, start, input);
  const expression = parser.conditional();
  const problem = parser.errors[0];
  if (!problem) return expression;
  const { token } = problem;
  const atEnd = token.tokenType.name === "EOF";
  const from = atEnd ? start + source.text.slice(start, end).trimEnd().length : start + token.startOffset;
  return syntaxError(problem.message, from, atEnd ? from + 1 : from + token.image.length);
}
