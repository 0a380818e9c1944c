// HTTP between clients and endpoints: bodies in, JSON or events out, errors as JSON, work that stops when nobody waits.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { parseJson } from "../../compiler/json.ts";
import { decodeUtf8 } from "../utf8.ts";
import { ApiError, asRequestError, errorReply } from "./errors.ts";
import type { Queue } from "./queue.ts";
import type { Reply } from "./reply.ts";

/** What answers requests to one path; `body` is the JSON value sent, if the method sends one. */
export type Endpoint = {
  readonly method: "GET" | "POST";
  readonly path: string;
  answer(body: unknown): Reply;
};

export type HttpOptions = {
  readonly endpoints: readonly Endpoint[];
  readonly queue: Queue;
  /** Hears of errors that are not the client's. */
  readonly onError: (error: unknown) => void;
};

/** Most bytes of a body: a thousand prompts of a thousand tokens, or nearly. */
const BODY_LIMIT = 4 * 2 ** 20;
// A client that takes longer to send a request is cut off with 408.
const REQUEST_TIMEOUT = 30_000;
const HEADERS_TIMEOUT = 10_000;

/** A server that does not listen yet. */
export function httpServer(options: HttpOptions): Server {
  const server = createServer((request, response) => {
    void respond(request, response, options);
  });
  server.requestTimeout = REQUEST_TIMEOUT;
  server.headersTimeout = HEADERS_TIMEOUT;
  return server;
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpOptions,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort(new Error("the client is gone")));
  try {
    const endpoint = endpointOf(request, options.endpoints);
    const body = endpoint.method === "POST" ? await readBody(request) : undefined;
    await send(response, answered(endpoint, body), options.queue, gone.signal);
  } catch (error) {
    if (gone.signal.aborted || request.errored) return;
    if (!(error instanceof ApiError)) options.onError(error);
    sendError(response, error);
  }
}

function answered(endpoint: Endpoint, body: unknown): Reply {
  try {
    return endpoint.answer(body);
  } catch (error) {
    throw asRequestError(error);
  }
}

function endpointOf({ method, url = "/" }: IncomingMessage, endpoints: readonly Endpoint[]): Endpoint {
  const [path = "/"] = url.split("?");
  const here = endpoints.filter((one) => one.path === path);
  const found = here.find((one) => one.method === method);
  if (found) return found;
  if (here.length > 0)
    throw new ApiError(405, `${path} takes ${here.map((one) => one.method).join(" and ")}, not ${method}`);
  const known = endpoints.map((one) => one.path).join(", ");
  throw new ApiError(404, `there is nothing at ${path}; there is ${known}`, { code: "unknown_url" });
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  // A web page may send JSON to other servers only with their leave, but any other kind of text without.
  const type = request.headers["content-type"] ?? "none";
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new ApiError(415, `expected content-type application/json, found ${type}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  // A body that is too long is left unread, and the connection is needed to say so.
  const parts: AsyncIterable<Uint8Array> = request.iterator({ destroyOnReturn: false });
  for await (const chunk of parts) {
    size += chunk.length;
    if (size > BODY_LIMIT) throw new ApiError(413, `the body is longer than ${BODY_LIMIT} bytes`);
    chunks.push(chunk);
  }
  try {
    const file = "body";
    return parseJson({ file, text: decodeUtf8({ file }, Buffer.concat(chunks)) });
  } catch (error) {
    throw asRequestError(error);
  }
}

async function send(
  response: ServerResponse,
  reply: Reply,
  queue: Queue,
  signal: AbortSignal,
): Promise<void> {
  if (reply.kind === "now") return sendJson(response, 200, reply.value);
  if (!reply.isStream) return sendJson(response, 200, await queue.run(reply.work, () => {}, signal));
  const event = (data: string): void => void response.write(`data: ${data}\n\n`);
  await queue.run(
    reply.work,
    (value) => {
      if (!response.headersSent) {
        response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
      }
      if (value) event(JSON.stringify(value));
    },
    signal,
  );
  event("[DONE]");
  response.end();
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  const text = JSON.stringify(value);
  const { method, complete } = response.req;
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    // What is left of a body that was not read must not be taken for the next request.
    ...(method !== "GET" && !complete && { connection: "close" }),
  });
  response.end(text);
}

function sendError(response: ServerResponse, error: unknown): void {
  const { status, body } = errorReply(error);
  if (!response.headersSent) sendJson(response, status, body);
  // A stream has begun: the error is its last event.
  else response.end(`data: ${JSON.stringify(body)}\n\n`);
}
