// What a command of q3c is: a record from which its help, its flags and its place in the table are read.

/** How one `--flag` is written; without `value` it is a switch. `strings` may be given several times. */
export type FlagSpec = {
  readonly value?: "number" | "string" | "strings";
  /** A sentence without its full stop, for the help. */
  readonly doc: string;
  readonly default?: number | string;
};

/** Flags by name as the help spells them; dashes and underscores are the same to the reader. */
export type FlagSpecs = Readonly<Record<string, FlagSpec>>;

/** What every command takes besides its own flags. */
export const commonFlags = {
  help: { doc: "print this help (also -h)" },
  json: {
    doc: 'print JSON, errors too: each a line on stderr, {"error": {code, message, file, line, column, help, notes}}',
  },
  debug: { doc: "print stack traces with errors, in JSON as their field stack" },
  version: { doc: "print the version of q3c" },
} as const satisfies FlagSpecs;

type ValueOf<S extends FlagSpec> = S extends { readonly value: "number" }
  ? number
  : S extends { readonly value: "string" }
    ? string
    : S extends { readonly value: "strings" }
      ? readonly string[]
      : boolean;

type AbsentOf<S extends FlagSpec> = S extends { readonly default: number | string }
  ? never
  : S extends { readonly value: "number" | "string" }
    ? undefined
    : never;

/** The value of each flag: a number or text if given or defaulted, a list (empty if not given), or whether it is on. */
export type FlagValues<F extends FlagSpecs> = { readonly [N in keyof F]: ValueOf<F[N]> | AbsentOf<F[N]> };

/** Where a command prints and what it may know of its surroundings; tests pass their own. */
export type Io = {
  /** Prints a line of the result. */
  out(line: string): void;
  /** Prints a part of the result that may not be a whole line. */
  write(text: string): void;
  /** Prints a line about the result: progress, warnings, errors. */
  err(line: string): void;
  /** Shows a line below all others until it is replaced; the empty one removes it. Only for a terminal. */
  status(line: string): void;
  /** Whether a status line can be shown. */
  readonly isTerminal: boolean;
  /** Sets what is said, besides that it was, when Ctrl-C interrupts the program; nothing where it is empty. */
  whenInterrupted(say: () => string): void;
  /** Resolves when the user or the system asks the program to end, which is then left to the command. */
  untilStopped(): Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** How wide a line may be. */
  readonly columns: number;
};

/** One call of a command: what is neither flag nor flag's value, in order, and the flags. */
export type Call<F extends FlagSpecs = FlagSpecs> = {
  readonly args: readonly string[];
  readonly flags: FlagValues<F & typeof commonFlags>;
  readonly io: Io;
};

/** A command. What is heavy to load, it imports inside `run`, so that help comes at once. */
export type Command<F extends FlagSpecs = FlagSpecs> = {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** One line for the table of commands. */
  readonly summary: string;
  /** What follows `q3c`. */
  readonly usage: string;
  /** Paragraphs for the command's own help. */
  readonly details: readonly string[];
  /** Lines for a shell, that run as they are: on this package's models, or on what the line before or another command's makes. */
  readonly examples?: readonly string[];
  readonly flags: F;
  /** The Python modules of MaxText whose command lines this command takes. */
  readonly maxTextModules?: readonly string[];
  /**
   * Does the work and gives the exit code. Long work awaits a timer (`setImmediate` of node:timers/promises) now
   * and then, because Ctrl-C is only heard there.
   */
  run(call: Call<F>): Promise<number>;
};

/** Declares a command; the types of its flags' values follow from how they are written. */
export const command = <const F extends FlagSpecs>(record: Command<F>): Command<F> => record;
