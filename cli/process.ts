// The command line as a process: streams, signals, and the exit code.
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Io } from "./command.ts";
import { reportFailure } from "./failure.ts";
import { shownText } from "./terminal-text.ts";

const eraseLine = "\r\x1b[K";
const stopSignals = ["SIGINT", "SIGTERM"] as const;
const interruptedExit = 130;
// What a shell says of a program whose reader went away.
const brokenPipeExit = 141;

/** The surroundings of this process, and what its command wants said when it is interrupted. */
function processIo(): Io & { readonly interrupted: () => string } {
  const { stdout, stderr, env } = process;
  const isTerminal = stderr.isTTY === true && env["TERM"] !== "dumb";
  // A model may write anything; what goes to a file or a pipe stays as it is.
  const textFor = (stream: NodeJS.WriteStream, text: string): string =>
    stream.isTTY === true ? shownText(text) : text;
  let shown = "";
  let saying = (): string => "";
  const above = (write: () => void): void => {
    if (shown !== "") stderr.write(eraseLine);
    write();
    if (shown !== "") stderr.write(shown);
  };
  return {
    out: (line) => above(() => stdout.write(textFor(stdout, `${line}\n`))),
    write: (text) => above(() => stdout.write(textFor(stdout, text))),
    err: (line) => above(() => stderr.write(textFor(stderr, `${line}\n`))),
    status(line) {
      if (!isTerminal || line === shown) return;
      stderr.write(`${eraseLine}${line}`);
      shown = line;
    },
    isTerminal,
    whenInterrupted(say) {
      saying = say;
    },
    interrupted: () => saying(),
    untilStopped: () =>
      new Promise((resolve) => {
        for (const signal of stopSignals) {
          process.removeAllListeners(signal);
          // Once: a second signal ends the process as any other.
          process.once(signal, () => resolve());
        }
      }),
    env,
    cwd: process.cwd(),
    columns: stdout.columns || stderr.columns || 80,
  };
}

function exitWhenUnread(stream: NodeJS.WriteStream): void {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(brokenPipeExit);
    throw error;
  });
}

/** Whether a module is what this process was started with, also through a link. */
export function isEntry(moduleUrl: string): boolean {
  const [, started] = process.argv;
  return started !== undefined && realpathSync(started) === fileURLToPath(moduleUrl);
}

/** Runs the process's arguments. The process ends when its streams have taken everything. */
export async function startProcess(
  main: (args: readonly string[], io: Io) => Promise<number>,
): Promise<void> {
  const io = processIo();
  const args = process.argv.slice(2);
  exitWhenUnread(process.stdout);
  exitWhenUnread(process.stderr);
  process.on("SIGINT", () => {
    io.status("");
    const more = io.interrupted();
    io.err(more === "" ? "interrupted" : `interrupted; ${more}`);
    process.exit(interruptedExit);
  });
  process.on("uncaughtException", (error) => {
    process.exit(
      reportFailure(error, io, { json: args.includes("--json"), debug: args.includes("--debug") }),
    );
  });
  process.exitCode = await main(args, io);
  io.status("");
}
