// q3c opt: runs passes on a program that is there as text.
import { resolve } from "node:path";
import { fail } from "../compiler/diag.ts";
import { command } from "./command.ts";
import { passFlags, throughPasses } from "./passes.ts";

/** `a,remat(custom, out_proj=device),b`: commas between brackets are a policy's. */
const listed = (text: string): readonly string[] => text.split(/,(?![^(]*\))/).map((part) => part.trim());

export const opt = command({
  name: "opt",
  summary: "Run passes on a program in IR text and print what becomes of it.",
  usage: "opt --pass <name,...> <program.q3>",
  details: [
    "Takes what `q3c compile` prints. remat takes its policy in brackets. `q3c explain` lists the passes and says what each does.",
  ],
  examples: [
    "q3c compile base model_name=qwen3-next-tiny --until=elaborate > tiny.q3",
    "q3c opt --pass=scan-layers,canonicalize tiny.q3",
    "q3c opt --pass='remat(minimal)' tiny.q3",
  ],
  flags: { pass: { value: "strings", doc: "passes to run, in order; may be repeated" }, ...passFlags },
  async run({ args, flags: { pass, json, ...choices }, io }) {
    const [file, ...more] = args;
    if (file === undefined || more.length > 0)
      fail(
        {
          code: "unexpected-argument",
          message: `\`q3c opt\` takes one file, got ${args.length}`,
          help: "q3c help opt",
        },
        2,
      );
    const { parseModule } = await import("../compiler/ir/parse.ts");
    const { readText } = await import("../runtime/files.ts");
    const { readPass } = await import("../passes/index.ts");
    const passes = pass.flatMap(listed).map(readPass);
    const text = readText(resolve(io.cwd, file));
    const emitted = await throughPasses(
      { name: "parse", make: () => parseModule(text, file) },
      passes,
      choices,
      json,
      io,
    );
    io.out(json ? JSON.stringify(emitted.json) : emitted.text.trimEnd());
    return 0;
  },
});
