// Errors as OpenAI's API words them.

import { messageAt, Q3Error } from "../../compiler/diag.ts";

/** An error that the client is told, with an HTTP status. */
export class ApiError extends Error {
  readonly status: number;
  /** OpenAI's short word for it, or null. */
  readonly code: string | null;
  /** The parameter at fault, or null. */
  readonly param: string | null;
  constructor(
    status: number,
    message: string,
    about: { readonly code?: string; readonly param?: string } = {},
  ) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = about.code ?? null;
    this.param = about.param ?? null;
  }
}

/** Refuses a request because of one of its parameters. */
export function refuse(param: string, message: string, code?: string): never {
  throw new ApiError(400, message, { param, ...(code !== undefined && { code }) });
}

const wordsOf = ({ diagnostics }: Q3Error): string => diagnostics.map(messageAt).join("; ");

/** An error of the request itself: what a reader of its content complains about is the client's to mend. */
export function asRequestError(error: unknown): unknown {
  if (!(error instanceof Q3Error)) return error;
  const [first] = error.diagnostics;
  return new ApiError(400, wordsOf(error), first ? { code: first.code } : {});
}

/** The status and the body that tell a client about an error; of a bug of ours they say no more than that. */
export function errorReply(error: unknown): { readonly status: number; readonly body: object } {
  if (!(error instanceof ApiError)) {
    const message = error instanceof Q3Error ? wordsOf(error) : "the server failed on this request";
    return errorReply(new ApiError(500, message));
  }
  const { status, message, param, code } = error;
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  return { status, body: { error: { message, type, param, code } } };
}
