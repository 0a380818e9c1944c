// POST /v1/chat/completions: the next message of a conversation, worded for the model by its chat template.

import { isRecord, showJson } from "../../compiler/json.ts";
import type { Message } from "../tokenizer/chat-template.ts";
import { continueText, type FinishReason } from "./continue.ts";
import { refuse } from "./errors.ts";
import { countOf, fieldsOf, flagOf, refuseUnless } from "./fields.ts";
import type { ServedModel, TokenScore } from "./model.ts";
import type { Work } from "./queue.ts";
import {
  headOf,
  limitOf,
  type Reply,
  requireModel,
  requireRoom,
  streamOf,
  tokensOf,
  usageOf,
  writing,
} from "./reply.ts";
import { type Choosing, choosingOf, SAMPLING, samplerOf } from "./sampling.ts";

// The last is lm-evaluation-harness's own name, which it sends beside the others.
const LIMITS = ["max_completion_tokens", "max_tokens", "max_gen_toks"];
const KNOWN = [
  "model",
  "messages",
  ...LIMITS,
  "logprobs",
  "top_logprobs",
  "response_format",
  "tools",
  "tool_choice",
  ...SAMPLING,
];
const ROLES = ["system", "developer", "user", "assistant"];
const MOST_TOP = 20;

/** Answers a request's body. */
export function chatCompletions(model: ServedModel, body: unknown): Reply {
  const fields = fieldsOf(body, KNOWN);
  requireModel(model, fields);
  refuseUnless(fields, "tools", []);
  refuseUnless(fields, "tool_choice", ["none", "auto"]);
  refuseUnless(fields, "response_format", []);
  // A chat template begins the text itself.
  const text = model.chat(messagesOf(fields["messages"]));
  const prompt = tokensOf(model, "messages", text, model.tokenizer.encode);
  const maxTokens = limitOf(fields, LIMITS, 1) ?? Math.max(1, model.maxTokens - prompt.length);
  requireRoom(model, "messages", prompt, maxTokens);
  const withScores = flagOf(fields, "logprobs");
  const top = countOf(fields, "top_logprobs", undefined, { least: 0, most: MOST_TOP });
  if (top !== undefined && !withScores) refuse("top_logprobs", "`top_logprobs` is only for `logprobs`");
  const request = {
    prompt,
    maxTokens,
    top: withScores ? (top ?? 0) : undefined,
    ...choosingOf(fields),
    ...streamOf(fields),
  };
  return { kind: "work", isStream: request.isStream, work: answer(model, request) };
}

type Request = Choosing &
  ReturnType<typeof streamOf> & {
    readonly prompt: readonly number[];
    readonly maxTokens: number;
    readonly top: number | undefined;
  };

function* answer(model: ServedModel, request: Request): Work<object | undefined, object> {
  const { prompt, top, isStream, withUsage } = request;
  const head = headOf("chatcmpl", isStream ? "chat.completion.chunk" : "chat.completion", model);
  const partOf = (
    part: object,
    tokens: readonly TokenScore[],
    finish_reason: FinishReason | null,
  ): object => {
    const logprobs = top === undefined ? null : { content: scoresOf(model, tokens) };
    return { index: 0, ...part, logprobs, finish_reason };
  };
  const chunkOf = (delta: object, tokens: readonly TokenScore[], reason: FinishReason | null): object => ({
    ...head,
    choices: [partOf({ delta }, tokens, reason)],
  });
  if (isStream) yield chunkOf({ role: "assistant", content: "" }, [], null);
  const choose = samplerOf(model, request);
  const { text, tokens, reason } = yield* writing(
    continueText(model, prompt, { ...request, echo: false, choose }),
    isStream ? (piece) => chunkOf({ content: piece.text }, piece.tokens, null) : undefined,
  );
  if (isStream) yield chunkOf({}, [], reason);
  const usage = usageOf(prompt.length, tokens.length);
  if (withUsage) yield { ...head, choices: [], usage };
  const message = { role: "assistant", content: text };
  return { ...head, choices: [partOf({ message }, tokens, reason)], usage };
}

/** The conversation: texts with their roles. A content in parts is the text of all of them. */
function messagesOf(value: unknown): readonly Message[] {
  const wrong = (where: string, expected: string, found: unknown): never =>
    refuse("messages", `\`${where}\` must be ${expected}, found ${showJson(found)}`);
  if (!Array.isArray(value) || value.length === 0)
    return wrong("messages", "a list of at least one message", value);
  return value.map((message: unknown, i): Message => {
    const where = `messages[${i}]`;
    if (!isRecord(message)) return wrong(where, "an object with role and content", message);
    const { role, content } = message;
    if (typeof role !== "string" || !ROLES.includes(role))
      return wrong(`${where}.role`, `one of ${ROLES.join(", ")}`, role);
    if (typeof content === "string") return { role, content };
    const texts = Array.isArray(content) ? content.map(textOfPart) : [];
    const isText = (text: string | undefined): text is string => text !== undefined;
    if (texts.length === 0 || !texts.every(isText))
      return wrong(`${where}.content`, "text, or a list of parts of type text", content);
    return { role, content: texts.join("") };
  });
}

function textOfPart(part: unknown): string | undefined {
  if (!isRecord(part) || part["type"] !== "text") return undefined;
  const { text } = part;
  return typeof text === "string" ? text : undefined;
}

/** OpenAI's list of log probabilities, in which the end of the text has no place. */
function scoresOf({ tokenizer, stops }: ServedModel, tokens: readonly TokenScore[]): readonly object[] {
  const one = (id: number, logprob: number): object => {
    const token = tokenizer.decode([id]);
    return { token, logprob, bytes: [...Buffer.from(token)] };
  };
  return tokens
    .filter(({ id }) => !stops.has(id))
    .map(({ id, logProb = 0, top }) => ({
      ...one(id, logProb),
      top_logprobs: top.map((each) => one(each.id, each.score)),
    }));
}
