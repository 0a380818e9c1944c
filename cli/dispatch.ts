// From the arguments of q3c to the command they call.
import { didYouMean, fail } from "../compiler/diag.ts";
import type { Command, Io } from "./command.ts";
import { reportFailure } from "./failure.ts";
import { readFlags } from "./flags.ts";
import { commandHelp, generalHelp } from "./help.ts";
import { version } from "./package.ts";
import { commandForModule, readPasted } from "./pasted.ts";

function findCommand(name: string, commands: readonly Command[]): Command {
  const found = commands.find((one) => one.name === name || one.aliases?.includes(name));
  if (found) return found;
  const known = commands.flatMap((one) => [one.name, ...(one.aliases ?? [])]);
  const help = didYouMean(name, [...known, "help"]) ?? "`q3c --help` lists the commands";
  return fail({ code: "unknown-command", message: `there is no command \`${name}\``, help }, 2);
}

const print = (lines: readonly string[], io: Io): number => {
  for (const line of lines) io.out(line);
  return 0;
};

const printVersion = (json: boolean, io: Io): number =>
  print([json ? JSON.stringify({ version }) : `q3c ${version}`], io);

function runCommand(command: Command, given: readonly string[], io: Io): Promise<number> | number {
  const { args, flags } = readFlags(command.flags, given);
  if (flags.help) return print(commandHelp(command, io.columns), io);
  if (flags.version) return printVersion(flags.json, io);
  return command.run({ args, flags, io });
}

function runWithout(commands: readonly Command[], given: readonly string[], io: Io): number {
  const { flags } = readFlags({}, given);
  return flags.version ? printVersion(flags.json, io) : print(generalHelp(commands, io.columns), io);
}

function dispatch(commands: readonly Command[], line: readonly string[], io: Io): Promise<number> | number {
  const pasted = readPasted(line);
  if (pasted) {
    const env = { ...io.env, ...pasted.env };
    return runCommand(commandForModule(pasted.module, commands), pasted.args, { ...io, env });
  }
  // Flags of every command may also stand in front of it.
  const start = line.findIndex((arg) => !arg.startsWith("-"));
  const name = line[start];
  if (name === undefined) return runWithout(commands, line, io);
  const rest = [...line.slice(0, start), ...line.slice(start + 1)];
  if (name !== "help") return runCommand(findCommand(name, commands), rest, io);
  const [topic] = readFlags({}, rest).args;
  if (topic === undefined) return print(generalHelp(commands, io.columns), io);
  return print(commandHelp(findCommand(topic, commands), io.columns), io);
}

/** Runs a command line and gives its exit code; whatever is thrown is printed. */
export async function runLine(
  commands: readonly Command[],
  line: readonly string[],
  io: Io,
): Promise<number> {
  const flagged = line.includes("--") ? line.slice(0, line.indexOf("--")) : line;
  try {
    return await dispatch(commands, line, io);
  } catch (error) {
    io.status("");
    return reportFailure(error, io, { json: flagged.includes("--json"), debug: flagged.includes("--debug") });
  }
}
