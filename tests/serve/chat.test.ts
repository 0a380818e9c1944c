// /v1/chat/completions as OpenAI's clients use it.
import { expect, test } from "@jest/globals";
import { Q3Error } from "../../compiler/diag.ts";
import { type Answer, alphabet, events, post, started } from "./support.ts";

// The template ends in `;`, after which the alphabet is still at `<`.
const { model } = alphabet();
const server = started(model);
const chat = async (body: object): Promise<Answer> => post((await server).url, "/v1/chat/completions", body);
const messages = [
  { role: "system", content: "x" },
  {
    role: "user",
    content: [
      { type: "text", text: "y" },
      { type: "text", text: "z" },
    ],
  },
];
const greedy = { temperature: 0 };

test("a conversation is worded by the template and goes on", async () => {
  expect(await chat({ model: "alphabet", messages, max_tokens: 3, ...greedy })).toEqual({
    status: 200,
    body: {
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      created: expect.any(Number),
      model: "alphabet",
      choices: [
        { index: 0, message: { role: "assistant", content: "<=>" }, logprobs: null, finish_reason: "length" },
      ],
      usage: { prompt_tokens: "s:x;u:yz;".length, completion_tokens: 3, total_tokens: 12 },
    },
  });
});

test("without a limit the answer takes what room there is", async () => {
  const { body } = await chat({ messages, ...greedy });
  expect(body.usage.total_tokens).toBe(64);
  const stopped = await chat({ messages, stop: "?", max_completion_tokens: 20, ...greedy });
  expect(stopped.body.choices[0]).toMatchObject({ message: { content: "<=>" }, finish_reason: "stop" });
});

test("log probabilities of the answer's tokens", async () => {
  const { body } = await chat({ messages, logprobs: true, top_logprobs: 2, max_tokens: 1, ...greedy });
  const [score] = body.choices[0].logprobs.content;
  expect(score).toMatchObject({ token: "<", bytes: [60] });
  expect(score.top_logprobs.map(({ token }: { token: string }) => token)).toEqual(["<", ";"]);
  expect(score.top_logprobs[0].logprob).toBe(score.logprob);
});

test("the end has no place among the answer's tokens", async () => {
  const ended = { model: { ...model, chat: () => "y" } };
  const { url } = await started(ended.model);
  const { body } = await post(url, "/v1/chat/completions", { messages, logprobs: true, ...greedy });
  const [{ message, logprobs, finish_reason }] = body.choices;
  expect([message.content, finish_reason]).toEqual(["z", "stop"]);
  expect(logprobs.content.map(({ token }: { token: string }) => token)).toEqual(["z"]);
});

test("a stream: the role, the text, the reason, the end", async () => {
  const { url } = await server;
  const all = await events(url, "/v1/chat/completions", { messages, max_tokens: 2, ...greedy });
  expect(all.at(-1)).toBe("[DONE]");
  const choices = all.slice(0, -1).flatMap((event) => event.choices);
  expect(choices.map(({ delta }) => delta)).toEqual([
    { role: "assistant", content: "" },
    { content: "<" },
    { content: "=" },
    {},
  ]);
  expect(choices.at(-1).finish_reason).toBe("length");
  expect(new Set(all.slice(0, -1).map(({ object }) => object))).toEqual(new Set(["chat.completion.chunk"]));
});

test.each([
  [{}, "messages", /list of at least one message, found nothing/],
  [{ messages: [] }, "messages", /at least one/],
  [{ messages: ["hi"] }, "messages", /messages\[0\]` must be an object/],
  [
    { messages: [{ role: "king", content: "x" }] },
    "messages",
    /messages\[0\]\.role` must be one of system, /,
  ],
  [{ messages: [{ role: "user" }] }, "messages", /messages\[0\]\.content` must be text/],
  [{ messages: [{ role: "user", content: [{ type: "image_url" }] }] }, "messages", /parts of type text/],
  [{ messages, max_tokens: 60 }, "messages", /takes 64 tokens; 9 of the prompt and 60/],
  [{ messages, max_tokens: 0 }, "max_tokens", /whole number from 1/],
  [{ messages, top_logprobs: 2 }, "top_logprobs", /only for `logprobs`/],
  [{ messages, tools: [{}] }, "tools", /not supported/],
  [{ messages, prompt: "x" }, "prompt", /no parameter `prompt`/],
])("what is wrong in a request is said: %#", async (body, param, says) => {
  const answer = await chat(body);
  expect([answer.status, answer.body.error.param]).toEqual([400, param]);
  expect(answer.body.error.message).toMatch(says);
});

test("a model without a template says so", async () => {
  const chatless = () => {
    throw new Q3Error({ code: "chat-template", message: "the byte tokenizer has no chat template" });
  };
  const { url } = await started({ ...model, chat: chatless });
  const { status, body } = await post(url, "/v1/chat/completions", { messages });
  expect([status, body.error.code, body.error.message]).toEqual([
    400,
    "chat-template",
    "the byte tokenizer has no chat template",
  ]);
});
