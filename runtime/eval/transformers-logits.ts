// Logits of a Hugging Face model, computed by transformers in a Python of the user's.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fail } from "../../compiler/diag.ts";
import { errno, reason } from "../files.ts";
import type { GoldenRecord, PromptLogits } from "./golden-record.ts";

/** What `transformers_logits.py` is asked for. `model` and `tokenizer` are folders or names of the Hugging Face Hub. */
export type TransformersRequest = {
  readonly model: string;
  readonly tokenizer: string;
  readonly prompts: readonly string[];
  readonly dtype: string;
  readonly trust_remote_code: boolean;
  readonly apply_chat_template: boolean;
};

/** The Python that runs it. */
export type Python = {
  readonly command: string;
  readonly script: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** A line that Python or a library printed. */
  readonly err: (line: string) => void;
};

const HELP = "name another with --python or Q3C_PYTHON; it needs the packages torch and transformers";

/** The prompts' logits, one after the other; one is held at a time. */
export async function* transformersLogits(
  request: TransformersRequest,
  python: Python,
): AsyncGenerator<PromptLogits, void> {
  const { command, script, env, cwd } = python;
  const child = spawn(command, [script], { env: { ...env }, cwd });
  const started = once(child, "spawn").catch((error: unknown) => failStart(command, error));
  const ended = once(child, "close");
  // One that did not start has not ended; `started` says so.
  ended.catch(() => {});
  const words = lastWords(python.err);
  child.stderr.on("data", words.take);
  // A Python that dies does not read its request; how it ended says more.
  child.stdin.on("error", () => {});
  try {
    await started;
    child.stdin.end(JSON.stringify(request));
    const input = openInput(child.stdout);
    let count = 0;
    for (let line = await input.line(); line !== undefined; line = await input.line()) {
      yield await readRecord(line, input, command);
      count++;
    }
    const [code, signal] = await ended;
    words.flush();
    if (code === 0 && count === request.prompts.length) return;
    const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;
    fail({
      code: "python-failed",
      message: `\`${command}\` ${how} after ${count} of ${request.prompts.length} prompts${words.said()}`,
    });
  } finally {
    child.kill();
  }
}

/** The same as golden records. */
export async function* goldenFromTransformers(
  request: TransformersRequest,
  python: Python,
): AsyncGenerator<GoldenRecord, void> {
  let index = 0;
  for await (const { prompt, tokens, attentionMask, logits, vocab } of transformersLogits(request, python)) {
    const place = { file: request.model, part: `record ${index}` };
    yield { kind: "logits", index: index++, prompt, tokens, attentionMask, logits, vocab, place };
  }
}

function failStart(command: string, error: unknown): never {
  const why = errno(error) === "ENOENT" ? "there is no such program" : reason(error);
  return fail({ code: "python-missing", message: `cannot start \`${command}\`: ${why}`, help: HELP });
}

/** Passes lines on and keeps the last, which says why Python gave up. */
function lastWords(err: (line: string) => void) {
  let rest = "";
  let last = "";
  const put = (line: string): void => {
    // A progress bar rewrites its line; its last state is enough.
    const text = line.slice(line.trimEnd().lastIndexOf("\r") + 1).trimEnd();
    if (text === "") return;
    err(text);
    last = text;
  };
  return {
    take(data: Buffer): void {
      const lines = (rest + data.toString("utf8")).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) put(line);
    },
    flush(): void {
      put(rest);
      rest = "";
    },
    said: () => (last === "" ? "" : `: ${last}`),
  };
}

type Input = {
  /** The next line, without its end; nothing at the end of the stream. */
  line(): Promise<string | undefined>;
  /** That many bytes; nothing when the stream ends before. */
  bytes(count: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
};

function openInput(stream: AsyncIterable<Buffer>): Input {
  const chunks = stream[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const more = async (): Promise<Buffer | undefined> => {
    const { done, value } = await chunks.next();
    return done ? undefined : value;
  };
  return {
    async line() {
      for (;;) {
        const end = held.indexOf(0x0a);
        if (end >= 0) {
          const line = held.toString("utf8", 0, end);
          held = held.subarray(end + 1);
          return line;
        }
        const chunk = await more();
        if (!chunk) return undefined;
        held = Buffer.concat([held, chunk]);
      }
    },
    async bytes(count) {
      const out = new Uint8Array(count);
      let at = 0;
      for (;;) {
        const part = held.subarray(0, count - at);
        out.set(part, at);
        at += part.length;
        held = held.subarray(part.length);
        if (at === count) return out;
        const chunk = await more();
        if (!chunk) return undefined;
        held = chunk;
      }
    },
  };
}

type Said = {
  readonly prompt: string;
  readonly formatted_prompt?: string;
  readonly tokens: readonly number[];
  readonly attention_mask: readonly number[];
  readonly shape: readonly [rows: number, vocab: number];
};
type Missing = { readonly missing: string; readonly python: string; readonly version: string };

function parseLine(line: string, command: string): Said | Missing {
  try {
    return JSON.parse(line) as Said | Missing;
  } catch {
    const shown = line.length > 60 ? `${line.slice(0, 60)}…` : line;
    const message = `\`${command}\` printed \`${shown}\`, which is not a record of logits`;
    return fail({ code: "python-failed", message });
  }
}

async function readRecord(line: string, input: Input, command: string): Promise<PromptLogits> {
  const said = parseLine(line, command);
  if ("missing" in said)
    return fail({
      code: "python-package",
      message: `\`${command}\` (Python ${said.version}, ${said.python}) has no package \`${said.missing}\``,
      help: HELP,
    });
  const { prompt, formatted_prompt, tokens, attention_mask, shape } = said;
  const [rows, vocab] = shape;
  if (rows !== tokens.length)
    fail({
      code: "python-failed",
      message: `\`${command}\` gave ${rows} rows of logits for ${tokens.length} tokens`,
    });
  const raw = await input.bytes(rows * vocab * 4);
  if (!raw) return fail({ code: "python-failed", message: `\`${command}\` ended within a prompt's logits` });
  return {
    prompt,
    formattedPrompt: formatted_prompt,
    tokens,
    attentionMask: attention_mask,
    logits: new Float32Array(raw.buffer),
    vocab,
  };
}
