// A MaxText command line pasted after `q3c`: the Python module says which command is meant.
import { didYouMean, fail } from "../compiler/diag.ts";
import type { Command } from "./command.ts";

/** A pasted line: its module, what follows it, and the variables set in front of it. */
export type Pasted = {
  readonly module: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
};

const assignment = /^[A-Za-z_]\w*=/;
// In `key=value \ # a comment`, as MaxText's guide has it, the backslash keeps the space, and the shell takes no comment.
const commentStart = /^\s+#/;
const python = /^(?:.*\/)?python(?:3(?:\.\d+)?)?$/;

/** Reads `NAME=value… python3 -m module arguments…`, or nothing if the line does not begin like that. */
export function readPasted(line: readonly string[]): Pasted | undefined {
  const start = line.findIndex((arg) => !assignment.test(arg));
  if (start < 0 || !python.test(line[start] ?? "")) return undefined;
  const at = line.indexOf("-m", start + 1);
  const module = at < 0 ? undefined : line[at + 1];
  const isOption = line.slice(start + 1, at).every((arg) => arg.startsWith("-"));
  if (module === undefined || !isOption) {
    const message =
      "a pasted Python command is read as `python3 -m <module> <arguments>`; there is no module here";
    return fail({ code: "no-module", message }, 2);
  }
  const env = line.slice(0, start).map((arg) => {
    const equals = arg.indexOf("=");
    return [arg.slice(0, equals), arg.slice(equals + 1)];
  });
  const args = line.slice(at + 2);
  const comment = args.findIndex((arg) => commentStart.test(arg));
  return { module, args: comment < 0 ? args : args.slice(0, comment), env: Object.fromEntries(env) };
}

/** The command that stands for a module of MaxText. */
export function commandForModule(module: string, commands: readonly Command[]): Command {
  const found = commands.find(({ maxTextModules }) => maxTextModules?.includes(module));
  if (found) return found;
  const known = commands.flatMap(({ maxTextModules = [] }) => maxTextModules);
  const message = `there is no command for the module \`${module}\`; the known ones are ${known.join(", ") || "none"}`;
  return fail({ code: "unknown-module", message, help: didYouMean(module, known) }, 2);
}
