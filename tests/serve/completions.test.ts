// /v1/completions as OpenAI's clients use it.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { stopWatch } from "../../runtime/serve/continue.ts";
import { type Answer, alphabet, events, logitsAfter, post, started } from "./support.ts";

const { model, trace } = alphabet();
const server = started(model);
const complete = async (body: object): Promise<Answer> => post((await server).url, "/v1/completions", body);
const greedy = { temperature: 0 };

const logProb = (before: string, token: string): number => {
  const logits = logitsAfter(before.charCodeAt(0));
  const total = Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0));
  return logits[token.charCodeAt(0)]! - total;
};

test("a prompt goes on, until there are enough tokens or the text ends", async () => {
  expect(await complete({ model: "alphabet", prompt: "ab", max_tokens: 3, ...greedy })).toEqual({
    status: 200,
    body: {
      id: expect.stringMatching(/^cmpl-/),
      object: "text_completion",
      created: expect.any(Number),
      model: "alphabet",
      choices: [{ index: 0, text: "cde", logprobs: null, finish_reason: "length" }],
      usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
    },
  });
  const { body } = await complete({ prompt: "w", ...greedy });
  expect(body.choices).toEqual([{ index: 0, text: "xyz", logprobs: null, finish_reason: "stop" }]);
  expect(trace.open).toBe(0);
});

test("texts and lists of tokens are answered in order", async () => {
  for (const prompt of [
    ["a", "m"],
    [[97], [109]],
  ]) {
    const { body } = await complete({ prompt, max_tokens: 2, ...greedy });
    expect(body.choices.map(({ index, text }: { index: number; text: string }) => [index, text])).toEqual([
      [0, "bc"],
      [1, "no"],
    ]);
  }
  const { body } = await complete({ prompt: [97, 98], max_tokens: 1, ...greedy });
  expect([body.choices[0].text, body.usage.total_tokens]).toEqual(["c", 3]);
});

test("echo gives the prompt with its log probabilities, as lm-evaluation-harness reads them", async () => {
  const asked = { prompt: "abx", max_tokens: 1, echo: true, logprobs: 1, ...greedy };
  const { text, logprobs } = (await complete(asked)).body.choices[0];
  expect(text).toBe("abxy");
  expect(logprobs.tokens).toEqual(["a", "b", "x", "y"]);
  expect(logprobs.text_offset).toEqual([0, 1, 2, 3]);
  const values = [null, logProb("a", "b"), logProb("b", "x"), logProb("x", "y")];
  expect(logprobs.token_logprobs[0]).toBeNull();
  for (const [i, value] of values.slice(1).entries())
    expect(logprobs.token_logprobs[i + 1]).toBeCloseTo(value!, 5);
  expect(logprobs.top_logprobs[0]).toBeNull();
  // The likeliest, and the token itself where that is another one.
  expect(logprobs.top_logprobs.slice(1).map(Object.keys)).toEqual([["b"], ["c", "x"], ["y"]]);
  expect(logprobs.top_logprobs[2].x).toBe(logprobs.token_logprobs[2]);
});

test("the token that ends the text has its log probability too, but no text: lm-evaluation-harness skips a last token", async () => {
  const { body } = await complete({ prompt: "yz", max_tokens: 3, echo: true, logprobs: 0, ...greedy });
  const [{ text, logprobs, finish_reason }] = body.choices;
  expect([text, logprobs.tokens, finish_reason]).toEqual(["yz", ["y", "z", "{"], "stop"]);
  expect(logprobs.token_logprobs[2]).toBeCloseTo(logProb("z", "{"), 5);
  expect(body.usage.completion_tokens).toBe(1);
});

test("echo alone, with nothing written; and a prompt longer than a unit of work", async () => {
  const { body } = await complete({ prompt: "héllo", max_tokens: 0, echo: true });
  expect(body.choices[0]).toMatchObject({ text: "héllo", finish_reason: "length" });
  expect(body.usage).toEqual({ prompt_tokens: 6, completion_tokens: 0, total_tokens: 6 });
  const long = alphabet(1000);
  const { url } = await started(long.model);
  const prompt = "abcdefghij".repeat(60);
  const asked = { prompt, max_tokens: 1, echo: true, logprobs: 0, ...greedy };
  const [choice] = (await post(url, "/v1/completions", asked)).body.choices;
  expect(long.trace.reads.map(({ count }) => count)).toEqual([256, 256, 88]);
  expect(choice.text).toBe(`${prompt}k`);
  for (const at of [1, 255, 256, 257, 512, 599])
    expect(choice.logprobs.token_logprobs[at]).toBeCloseTo(logProb(prompt[at - 1]!, prompt[at]!), 5);
});

test("a stop ends the answer and is not part of it", async () => {
  const { body } = await complete({ prompt: "a", stop: ["xyz", "fg"], max_tokens: 20, ...greedy });
  expect(body.choices[0]).toMatchObject({ text: "bcde", finish_reason: "stop" });
  const one = await complete({ prompt: "x", stop: "z!", max_tokens: 20, ...greedy });
  expect(one.body.choices[0]).toMatchObject({ text: "yz", finish_reason: "stop" });
});

test("a stop is found however the text is cut, and nothing after it is shown", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters), fc.array(letters, { minLength: 1, maxLength: 3 }), (pieces, stops) => {
      const watch = stopWatch(stops);
      let shown = "";
      let isStopped = false;
      for (const piece of pieces) {
        const seen = watch.push(piece);
        shown += seen.text;
        isStopped = seen.isStopped;
        if (isStopped) break;
      }
      if (!isStopped) shown += watch.rest();
      // The first stop to be complete ends the text, so cuts may decide between stops that overlap.
      const text = pieces.join("");
      const ends = stops.flatMap((stop) => (text.includes(stop) ? [text.indexOf(stop)] : []));
      expect(isStopped).toBe(ends.length > 0);
      expect(text.startsWith(shown)).toBe(true);
      expect(stops.some((stop) => shown.includes(stop))).toBe(false);
      if (!isStopped) expect(shown).toBe(text);
      else expect(stops.some((stop) => text.startsWith(stop, shown.length))).toBe(true);
    }),
  );
});

test("a stream: pieces, the reason, usage, and the end", async () => {
  const { url } = await server;
  const asked = {
    prompt: ["a", "y"],
    max_tokens: 3,
    logprobs: 0,
    stream_options: { include_usage: true },
    ...greedy,
  };
  const all = await events(url, "/v1/completions", asked);
  expect(all.at(-1)).toBe("[DONE]");
  expect(all.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 2, completion_tokens: 5 } });
  const choices = all.slice(0, -2).flatMap((event) => event.choices);
  const textOf = (wanted: number) =>
    choices
      .filter(({ index }) => index === wanted)
      .map(({ text }) => text)
      .join("");
  expect([textOf(0), textOf(1)]).toEqual(["bcd", "z"]);
  expect(choices.map(({ finish_reason }) => finish_reason).filter((reason) => reason !== null)).toEqual([
    "length",
    "stop",
  ]);
  expect(choices.flatMap(({ logprobs }) => logprobs.tokens)).toEqual(["b", "c", "d", "z", "{"]);
  expect(new Set(all.slice(0, -1).map(({ id }) => id)).size).toBe(1);
});

test.each([
  [{ prompt: "a", foo: 1 }, 400, "foo", /no parameter `foo`/],
  [{ prompt: "a", max_token: 1 }, 400, "max_token", /did you mean `max_tokens`/],
  [{ prompt: "a", model: "gpt-5" }, 404, "model", /only one is `alphabet`/],
  [{ prompt: "a", model: 5 }, 400, "model", /must be text, found 5/],
  [{}, 400, "prompt", /must be a text, a list/],
  [{ prompt: [] }, 400, "prompt", /found \[\]/],
  [{ prompt: [[]] }, 400, "prompt", /found \[\[\]\]/],
  [{ prompt: ["a", 5] }, 400, "prompt", /token ids below 300/],
  [{ prompt: [300] }, 400, "prompt", /below 300/],
  [{ prompt: [-1] }, 400, "prompt", /below 300/],
  [{ prompt: [1.5] }, 400, "prompt", /below 300/],
  [{ prompt: "" }, 400, "prompt", /no tokens/],
  [{ prompt: "a".repeat(60) }, 400, "prompt", /takes 64 tokens; 60 of the prompt and 16/],
  [{ prompt: "a".repeat(64 * 256 + 1) }, 400, "prompt", /16385 characters is more/],
  [{ prompt: "a", max_tokens: -1 }, 400, "max_tokens", /whole number from 0, found -1/],
  [{ prompt: "a", max_tokens: 1.5 }, 400, "max_tokens", /whole number/],
  [{ prompt: "a", max_tokens: "9" }, 400, "max_tokens", /found "9"/],
  [{ prompt: "a", temperature: 3 }, 400, "temperature", /from 0 up to 2, found 3/],
  [{ prompt: "a", top_p: -0.1 }, 400, "top_p", /from 0 up to 1/],
  [{ prompt: "a", seed: "x" }, 400, "seed", /number/],
  [{ prompt: "a", stop: [""] }, 400, "stop", /none of them empty/],
  [{ prompt: "a", stop: 5 }, 400, "stop", /found 5/],
  [{ prompt: "a", echo: "yes" }, 400, "echo", /true or false, found "yes"/],
  [{ prompt: "a", logprobs: 21 }, 400, "logprobs", /up to 20/],
  [{ prompt: "a", n: 2 }, 400, "n", /not supported/],
  [{ prompt: "a", best_of: 2 }, 400, "best_of", /not supported/],
  [{ prompt: "a", suffix: "b" }, 400, "suffix", /not supported/],
  [{ prompt: "a", presence_penalty: 1 }, 400, "presence_penalty", /not supported/],
  [{ prompt: "a", logit_bias: { "5": 1 } }, 400, "logit_bias", /not supported/],
  [{ prompt: "a", stream_options: {} }, 400, "stream_options", /only for `stream`/],
  [{ prompt: "a", stream: true, stream_options: 1 }, 400, "stream_options", /must be an object/],
  [[1], 400, null, /expected a JSON object, found \[1\]/],
])("what is wrong in a request is said: %#", async (body, status, param, says) => {
  const answer = await complete(body);
  expect(answer.status).toBe(status);
  expect(answer.body.error).toMatchObject({ message: expect.stringMatching(says), param });
  expect(trace.open).toBe(0);
});

test("lm-evaluation-harness's own name for the limit counts where there is no other", async () => {
  const limited = (body: object) => complete({ prompt: "a", ...body, ...greedy });
  expect((await limited({ max_gen_toks: 2 })).body.choices[0].text).toBe("bc");
  expect((await limited({ max_gen_toks: 2, max_tokens: 1 })).body.choices[0].text).toBe("b");
  expect((await limited({ max_gen_toks: -2 })).body.error.param).toBe("max_gen_toks");
});

test("what changes nothing is let through", async () => {
  const neutral = {
    n: 1,
    best_of: 1,
    suffix: null,
    presence_penalty: 0,
    frequency_penalty: 0,
    logit_bias: {},
    user: "x",
  };
  const { body } = await complete({ prompt: "a", max_tokens: 1, stop: null, seed: 1, ...neutral, ...greedy });
  expect(body.choices[0].text).toBe("b");
});
