// Help, generated from the records of the commands.
import { type Command, commonFlags, type FlagSpec, type FlagSpecs } from "./command.ts";
import { table, wrap, wrapShell } from "./layout.ts";
import { version } from "./package.ts";

const widest = 100;
const widthOf = (columns: number): number => Math.min(widest, columns);

const placeholders = { number: "=<number>", string: "=<text>", strings: "=<text> …" };

function flagRow([name, { value, doc, default: usual }]: readonly [string, FlagSpec]): readonly string[] {
  const written = `--${name}${value ? placeholders[value] : ""}`;
  return [written, usual === undefined ? doc : `${doc} (default ${usual})`];
}

function flagLines(title: string, flags: FlagSpecs, width: number): readonly string[] {
  const rows = Object.entries(flags).map(flagRow);
  return rows.length === 0 ? [] : ["", title, ...table(rows, width)];
}

/** What `q3c --help` prints. */
export function generalHelp(commands: readonly Command[], columns: number): readonly string[] {
  const width = widthOf(columns);
  const modules = commands.flatMap(({ name, maxTextModules = [] }) =>
    maxTextModules.map((one) => [one, name]),
  );
  const pasted = "A MaxText command line can be pasted after `q3c` as it is; its module names the command:";
  return [
    ...wrap(
      `q3c ${version}: compiles and runs Qwen3-Next and its relatives from MaxText command lines`,
      width,
    ),
    "",
    "usage: q3c <command> [arguments] [--flags]",
    "",
    "commands:",
    ...table(
      commands.map(({ name, summary }) => [name, summary]),
      width,
    ),
    ...(modules.length === 0
      ? []
      : [
          "",
          ...wrap(pasted, width),
          ...table(
            modules.map(([one = "", name = ""]) => [`python3 -m ${one}`, name]),
            width,
          ),
        ]),
    ...flagLines("flags of every command:", commonFlags, width),
    "",
    ...wrap(
      "`q3c help <command>` says more about a command, `q3c explain <key>` about a configuration key. A key may also be set in the environment: M_STEPS=20.",
      width,
    ),
  ];
}

/** What `q3c <command> --help` prints. */
export function commandHelp(command: Command, columns: number): readonly string[] {
  const width = widthOf(columns);
  const { usage, summary, details, examples = [], flags, aliases = [], maxTextModules = [] } = command;
  return [
    `usage: q3c ${usage}`,
    "",
    ...wrap(summary, width),
    ...details.flatMap((paragraph) => ["", ...wrap(paragraph, width)]),
    ...(examples.length === 0
      ? []
      : [
          "",
          "examples:",
          ...examples.flatMap((line) => wrapShell(line, width - 2)).map((line) => `  ${line}`),
        ]),
    ...(aliases.length === 0 ? [] : ["", `also called: ${aliases.join(", ")}`]),
    ...(maxTextModules.length === 0
      ? []
      : ["", "takes the command lines of:", ...maxTextModules.map((one) => `  python3 -m ${one}`)]),
    ...flagLines("flags:", flags, width),
    ...flagLines("flags of every command:", commonFlags, width),
  ];
}
