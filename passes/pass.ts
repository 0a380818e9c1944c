// A pass is a name, a sentence and a pure function; a pipeline is a list of passes, verified after each.
import { didYouMean, fail } from "../compiler/diag.ts";
import type { Module } from "../compiler/ir/types.ts";
import { verifyModule } from "../compiler/ir/verify.ts";

/** Tells the user what a pass decided and why: what was rolled up, what was not, what it costs. */
export type Remark = (line: string) => void;

/** A function from module to module with a name, which `q3c opt --pass` takes. */
export type Pass = {
  /** A verb phrase in kebab-case. */
  readonly name: string;
  /** One sentence; `q3c explain` prints it. */
  readonly doc: string;
  /** What else there is to say in `q3c explain`, a line each. */
  readonly details?: readonly string[];
  /** The pass as a text in brackets after its name has it: `remat(minimal)`. Absent: it takes none. */
  told?(text: string): Pass;
  /** The module afterwards; the one given is never changed. */
  run(module: Module, remark: Remark): Module;
};

/** Where a pipeline stops, and who watches it. */
export type PipelineOptions = {
  /** Stops after the pass of this name. */
  readonly until?: string | undefined;
  /** Sees the module after each pass, and how many milliseconds the pass took without its verification. */
  after?(pass: Pass, module: Module, milliseconds: number): void;
  remark?(pass: Pass, line: string): void;
};

/** Runs passes in order and verifies the module after each. */
export function runPipeline(module: Module, passes: readonly Pass[], options: PipelineOptions = {}): Module {
  const { until } = options;
  if (until !== undefined && !passes.some(({ name }) => name === until)) unknownPass(until, passes);
  let current = module;
  for (const pass of passes) {
    const started = performance.now();
    current = pass.run(current, (line) => options.remark?.(pass, line));
    const milliseconds = performance.now() - started;
    verifyModule(current, pass.name);
    options.after?.(pass, current, milliseconds);
    if (pass.name === until) break;
  }
  return current;
}

/** Refuses a pass name nobody has. */
export function unknownPass(name: string, passes: readonly Pass[]): never {
  const names = passes.map((pass) => pass.name);
  return fail(
    {
      code: "unknown-pass",
      message: `there is no pass ${name}; there are ${names.join(", ")}`,
      help: didYouMean(name, names),
    },
    2,
  );
}
