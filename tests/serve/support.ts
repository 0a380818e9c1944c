// A served model whose answers follow from the alphabet, and talking to a server.
import { Socket } from "node:net";
import { afterAll } from "@jest/globals";
import type { Reading } from "../../runtime/eval/reading.ts";
import type { ServedModel } from "../../runtime/serve/model.ts";
import { type Serving, serve } from "../../runtime/serve/serve.ts";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import type { Message } from "../../runtime/tokenizer/chat-template.ts";

const VOCAB = 300;
const END = "{".charCodeAt(0);

// biome-ignore lint/suspicious/noExplicitAny: what a client gets is whatever the server sends
type Json = any;

/** What was done with readings, in order. */
export type Trace = {
  readonly reads: { readonly reading: number; readonly count: number }[];
  open: number;
  mostOpen: number;
};

/** After each letter the next one is likeliest, after `z` the end; a token's logit falls with its distance to that. */
export function alphabet(maxTokens = 64): { readonly model: ServedModel; readonly trace: Trace } {
  const trace: Trace = { reads: [], open: 0, mostOpen: 0 };
  let begun = 0;
  const begin = (): Reading => {
    const number = begun++;
    trace.mostOpen = Math.max(trace.mostOpen, ++trace.open);
    const read = (tokens: readonly number[], wanted = 1): Float32Array => {
      trace.reads.push({ reading: number, count: tokens.length });
      return Float32Array.from(tokens.slice(-wanted).flatMap(logitsAfter));
    };
    return { read, peek: read, close: () => void trace.open-- };
  };
  const tokenizer = { ...byteTokenizer, eosIds: [END] };
  const stops = new Set([END]);
  const allowed = Uint8Array.from({ length: VOCAB }, (_, id) => (id < 256 ? 1 : 0));
  const chat = (messages: readonly Message[]): string =>
    messages.map(({ role, content }) => `${role[0]}:${content};`).join("");
  const model = {
    begin,
    chat,
    tokenizer,
    stops,
    allowed,
    encode: tokenizer.encode,
    vocab: VOCAB,
    maxTokens,
    chunk: 256,
    canCut: true,
    mostTexts: 9,
    name: "alphabet",
  };
  return { model, trace };
}

export const logitsAfter = (token: number): number[] =>
  Array.from({ length: VOCAB }, (_, id) => -Math.abs(id - token - 1));

const servers: Serving[] = [];
afterAll(() => Promise.all(servers.map((one) => one.stop())));

/** A server on a free port; errors that are not the client's go to `onError`. */
export async function started(
  model: ServedModel,
  {
    onError = (error: unknown): void => {
      throw error;
    },
  } = {},
): Promise<Serving> {
  const serving = await serve({ model, host: "127.0.0.1", port: 0, onError });
  servers.push(serving);
  return serving;
}

export type Answer = { readonly status: number; readonly body: Json };

/** Sends a JSON value, or a text as it is. */
export async function post(url: string, path: string, body: unknown, signal?: AbortSignal): Promise<Answer> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...(signal && { signal }),
  });
  return { status: response.status, body: await response.json() };
}

/** The events of a stream, the last being `[DONE]` or an error. */
export async function events(url: string, path: string, body: object): Promise<readonly Json[]> {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
  });
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^data: /, ""))
    .map((data) => (data === "[DONE]" ? data : JSON.parse(data)));
}

/** Sends raw bytes on a connection of its own, and gives what comes back until the server or this side closes. */
export function raw(url: string, bytes: string | Uint8Array, closeAfter = 2000): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    let answer = "";
    const socket = new Socket().connect(Number(port), hostname);
    const timer = setTimeout(() => socket.destroy(), closeAfter);
    socket.on("data", (data) => {
      answer += data;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(answer);
    });
    socket.end(bytes);
  });
}
