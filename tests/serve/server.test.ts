// The server: who gets what when, whatever clients do.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { openQueue } from "../../runtime/serve/queue.ts";
import { alphabet, events, post, raw, started } from "./support.ts";

const greedy = { temperature: 0 };
const request = (body: string, type = "application/json"): string =>
  `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;

test("two clients are answered right while 200 malformed requests come in", async () => {
  const { model, trace } = alphabet();
  const { url } = await started(model);
  const wrong = fc.sample(
    fc.oneof(
      fc.string().map((text) => request(text)),
      fc.json().map((text) => request(text)),
      fc
        .record({ prompt: fc.anything(), max_tokens: fc.anything() })
        .map((body) => request(JSON.stringify(body) ?? "")),
      fc.uint8Array({ maxLength: 300 }),
      fc.constant(request('{"prompt":"a"}', "text/plain")),
      fc.constant(request('{"prompt":"a"').replace("content-length: 13", "content-length: 900")),
      fc.constant(request(`[${"[".repeat(100_000)}`)),
      fc.constantFrom(
        "GET /v1/completions HTTP/1.1\r\n\r\n",
        "POST /etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
        "\r\n\r\n",
        "GET / HTTP/9\r\n\r\n",
      ),
    ),
    { numRuns: 200 },
  );
  const client = async (prompt: string, text: string): Promise<void> => {
    for (let i = 0; i < 20; i++) {
      const { status, body } = await post(url, "/v1/completions", { prompt, max_tokens: 5, ...greedy });
      expect([status, body.choices?.[0].text]).toEqual([200, text]);
    }
  };
  const malformed = async (): Promise<void> => {
    for (let i = 0; i < wrong.length; i += 20)
      await Promise.all(wrong.slice(i, i + 20).map((bytes) => raw(url, bytes, 300)));
  };
  await Promise.all([client("a", "bcdef"), client("m", "nopqr"), malformed()]);
  await client("u", "vwxyz");
  expect(trace.open).toBe(0);
  expect((await fetch(`${url}/health`)).status).toBe(200);
});

test.each([
  [request("{"), 400, /malformed JSON: expected a key in double quotes, found the end/],
  [request("{}", "text/plain"), 415, /application\/json, found text\/plain/],
  [request("{}", "application/jsonp"), 415, /found application\/jsonp/],
  [request(`{"prompt":"${"a".repeat(4 * 2 ** 20)}"}`), 413, /longer than 4194304 bytes/],
  ["GET /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405, /takes POST, not GET/],
  ["PUT /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405, /takes GET, not PUT/],
  ["GET /v2/models?x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404, /nothing at \/v2\/models/],
  ["HELLO\r\n\r\n", 400, /Bad Request/],
])("HTTP that is wrong: %#", async (bytes, status, says) => {
  const { url } = await started(alphabet().model);
  const answer = await raw(url, bytes);
  expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(answer).toMatch(says);
});

test("bytes that are no UTF-8 are refused", async () => {
  const { url } = await started(alphabet().model);
  const body = Buffer.concat([Buffer.from('{"prompt":"'), Buffer.from([0xff]), Buffer.from('"}')]);
  const answer = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringMatching(/not UTF-8/)]);
});

test("requests take turns: a long one holds up no short one", async () => {
  const { model, trace } = alphabet(2000);
  const { url } = await started(model);
  const order: string[] = [];
  const ask = async (name: string, prompt: string, max_tokens: number): Promise<void> => {
    await post(url, "/v1/completions", { prompt, max_tokens, stop: "#", ...greedy });
    order.push(name);
  };
  await Promise.all([ask("long", "#".padStart(1500, "\0"), 400), ask("short", "a", 5)]);
  expect(order).toEqual(["short", "long"]);
  // The short one has five turns of writing; the long one may have one more than that between them.
  const readings = trace.reads.map(({ reading }) => reading);
  const [first, last] = [readings.indexOf(1), readings.lastIndexOf(1)];
  expect(readings.slice(first, last).filter((reading) => reading === 0).length).toBeLessThanOrEqual(6);
});

test.each([1, 2, 9])(
  "as many requests take turns as there is room for texts, and four at most: %d",
  async (mostTexts) => {
    const { model, trace } = alphabet();
    const { url } = await started({ ...model, mostTexts });
    const asked = Array.from({ length: 8 }, () =>
      post(url, "/v1/completions", { prompt: "a", max_tokens: 20, ...greedy }),
    );
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(new Array(8).fill(200));
    expect(trace.mostOpen).toBeLessThanOrEqual(Math.min(4, mostTexts));
  },
);

test("the work for a client that is gone stops, and its state goes", async () => {
  const { model, trace } = alphabet(100_000);
  const { url } = await started(model);
  for (const stream of [true, false]) {
    const control = new AbortController();
    const asked = post(
      url,
      "/v1/completions",
      { prompt: "\0", max_tokens: 90_000, stream, ...greedy },
      control.signal,
    );
    while (trace.open === 0) await new Promise((done) => setTimeout(done, 5));
    control.abort();
    await expect(asked).rejects.toThrow();
    while (trace.open > 0) await new Promise((done) => setTimeout(done, 5));
  }
  const reads = trace.reads.length;
  await post(url, "/v1/completions", { prompt: "a", max_tokens: 1, ...greedy });
  expect(trace.reads.length).toBe(reads + 1);
  expect(reads).toBeLessThan(90_000);
});

test("an error of the model is an error of one request", async () => {
  const { model } = alphabet();
  const errors: unknown[] = [];
  const broken = {
    ...model,
    begin: () => ({
      ...model.begin(),
      read: (): Float32Array => {
        throw new Error("secret");
      },
    }),
  };
  const { url } = await started(broken, { onError: (error) => void errors.push(error) });
  const answer = await post(url, "/v1/completions", { prompt: "a", ...greedy });
  expect([answer.status, answer.body.error.type]).toEqual([500, "server_error"]);
  expect(JSON.stringify(answer.body)).not.toContain("secret");
  expect(errors).toEqual([new Error("secret")]);
  const [event] = await events(url, "/v1/completions", { prompt: "a", ...greedy });
  expect(event.error.type).toBe("server_error");
  const nan = {
    ...model,
    begin: () => ({ ...model.begin(), read: () => new Float32Array(300).fill(Number.NaN) }),
  };
  const other = await started(nan, { onError: () => {} });
  expect((await post(other.url, "/v1/completions", { prompt: "a", ...greedy })).body.error.message).toMatch(
    /logits are not finite/,
  );
});

test("too many waiting requests are turned away", async () => {
  const queue = openQueue({ running: 1, waiting: 1 });
  const { signal } = new AbortController();
  function* count(n: number) {
    for (let i = 0; i < n; i++) yield i;
    return n;
  }
  const seen: number[] = [];
  const first = queue.run(count(3), (i) => void seen.push(i), signal);
  const second = queue.run(count(2), (i) => void seen.push(10 + i), signal);
  await expect(queue.run(count(1), () => {}, signal)).rejects.toMatchObject({ status: 503 });
  expect([await first, await second]).toEqual([3, 2]);
  expect(seen).toEqual([0, 1, 2, 10, 11]);
  await expect(queue.run(count(1), () => {}, AbortSignal.abort(new Error("gone")))).rejects.toThrow("gone");
  expect(await queue.run(count(0), () => {}, signal)).toBe(0);
});

test("a server that is stopped answers what it was asked, and then nobody", async () => {
  const { model, trace } = alphabet(1000);
  const serving = await started(model);
  const asked = post(serving.url, "/v1/completions", { prompt: "\0", max_tokens: 90, ...greedy });
  while (trace.open === 0) await new Promise((done) => setTimeout(done, 1));
  const stopped = serving.stop();
  expect((await asked).body.choices[0].finish_reason).toBe("length");
  await stopped;
  await expect(fetch(`${serving.url}/health`)).rejects.toThrow();
});

test("an address that is taken is said", async () => {
  const { url } = await started(alphabet().model);
  const { serve } = await import("../../runtime/serve/serve.ts");
  const again = serve({
    model: alphabet().model,
    host: "127.0.0.1",
    port: Number(new URL(url).port),
    onError: () => {},
  });
  await expect(again).rejects.toThrow(
    /serve-address: cannot listen on 127\.0\.0\.1 port \d+: .*\nhelp: another program/,
  );
});

test("the model, and its tokenizer", async () => {
  const { url } = await started(alphabet().model);
  const get = async (path: string) => (await fetch(url + path)).json();
  expect(await get("/v1/models")).toMatchObject({
    object: "list",
    data: [{ id: "alphabet", max_model_len: 64 }],
  });
  expect(await get("/tokenizer_info")).toEqual({ eos_token: "{", bos_token: null, pad_token: null });
  expect((await post(url, "/tokenize", { prompt: "é", add_special_tokens: false })).body).toMatchObject({
    tokens: [0xc3, 0xa9],
    count: 2,
  });
  expect((await post(url, "/detokenize", { tokens: [104, 105] })).body).toEqual({ prompt: "hi" });
  expect((await post(url, "/tokenize", {})).body.error.param).toBe("prompt");
  expect((await post(url, "/detokenize", { tokens: "x" })).status).toBe(400);
});
