// An OpenAI-compatible server over one model.

import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fail } from "../../compiler/diag.ts";
import { chatCompletions } from "./chat.ts";
import { completions } from "./completions.ts";
import { type Endpoint, httpServer } from "./http.ts";
import type { ServedModel } from "./model.ts";
import { openQueue } from "./queue.ts";
import { detokenize, tokenize, tokenizerInfo } from "./tokenize.ts";

export type ServeOptions = {
  readonly model: ServedModel;
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly onError: (error: unknown) => void;
};

/** A server that listens. */
export type Serving = {
  readonly url: string;
  /** Takes no more requests, answers those it has, and resolves when all connections are closed. */
  stop(): Promise<void>;
};

// Milliseconds between looks for connections to close.
const SWEEP = 50;
const MOST_RUNNING = 4;
const MOST_WAITING = 1000;

/** What is served, in the order that errors list it. */
function endpointsOf(model: ServedModel): readonly Endpoint[] {
  const created = Math.floor(Date.now() / 1000);
  const listed = {
    id: model.name,
    object: "model",
    created,
    owned_by: "q3c",
    max_model_len: model.maxTokens,
  };
  return [
    { method: "POST", path: "/v1/completions", answer: (body) => completions(model, body) },
    { method: "POST", path: "/v1/chat/completions", answer: (body) => chatCompletions(model, body) },
    {
      method: "GET",
      path: "/v1/models",
      answer: () => ({ kind: "now", value: { object: "list", data: [listed] } }),
    },
    { method: "POST", path: "/tokenize", answer: (body) => tokenize(model, body) },
    { method: "POST", path: "/detokenize", answer: (body) => detokenize(model, body) },
    { method: "GET", path: "/tokenizer_info", answer: () => tokenizerInfo(model) },
    { method: "GET", path: "/health", answer: () => ({ kind: "now", value: { status: "ok" } }) },
  ];
}

/** Starts to listen. */
export async function serve({ model, host, port, onError }: ServeOptions): Promise<Serving> {
  const running = Math.min(MOST_RUNNING, model.mostTexts);
  const queue = openQueue({ running, waiting: MOST_WAITING });
  const server = httpServer({ endpoints: endpointsOf(model), queue, onError });
  await listen(server, host, port);
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    stop: () =>
      new Promise((resolve) => {
        // Connections that clients keep open go as soon as what was asked on them is answered.
        const sweep = setInterval(() => server.closeIdleConnections(), SWEEP);
        server.close(() => {
          clearInterval(sweep);
          resolve();
        });
      }),
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, "listening");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    fail({
      code: "serve-address",
      message: `cannot listen on ${host} port ${port}: ${message}`,
      help: code === "EADDRINUSE" ? "another program listens there; pass another --port" : undefined,
    });
  }
}
