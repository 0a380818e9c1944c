#!/usr/bin/env node
// The table of commands. Adding one: write its record in a file of its own, name it here.
import { checkLogits } from "./check-logits.ts";
import type { Command, Io } from "./command.ts";
import { compile } from "./compile.ts";
import { convert } from "./convert.ts";
import { decode } from "./decode.ts";
import { runLine } from "./dispatch.ts";
import { doctor } from "./doctor.ts";
import { explain } from "./explain.ts";
import { goldenLogits } from "./golden-logits.ts";
import { inspect } from "./inspect.ts";
import { mmlu } from "./mmlu.ts";
import { opt } from "./opt.ts";
import { isEntry, startProcess } from "./process.ts";
import { run } from "./run.ts";
import { serve } from "./serve.ts";

/** Every command, in the order of the help. */
export const commands: readonly Command[] = [
  run,
  decode,
  serve,
  compile,
  opt,
  checkLogits,
  goldenLogits,
  mmlu,
  convert,
  inspect,
  explain,
  doctor,
];

/** Runs a command line and gives its exit code. */
export const main = (args: readonly string[], io: Io): Promise<number> => runLine(commands, args, io);

if (isEntry(import.meta.url)) await startProcess(main);
