// Programs through passes, as commands print them: the last one, those after some passes, or how long each took.
import type { Module } from "../compiler/ir/types.ts";
import type { Pass } from "../passes/pass.ts";
import type { Io } from "./command.ts";
import { numberTable } from "./layout.ts";

export type Emitted = { readonly text: string; readonly json: object };

/** What a command may ask of the passes. */
export type PassChoices = {
  readonly until: string | undefined;
  readonly "print-after": readonly string[];
  readonly "time-passes": boolean;
};

export const passFlags = {
  "print-after": {
    value: "strings",
    doc: "print the program after this pass instead of the last; may be repeated",
  },
  until: { value: "string", doc: "stop after this pass; elaborate or parse stops before the first" },
  "time-passes": { doc: "print what each pass took and left instead of the program" },
} as const;

type Stage = {
  readonly name: string;
  readonly milliseconds: number;
  readonly nodes: number;
  readonly module: Module;
};

function timeTable(stages: readonly Stage[]): string {
  const rows = stages.map(({ name, milliseconds, nodes }) => [name, milliseconds.toFixed(1), String(nodes)]);
  const total = stages.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const lines = numberTable([["pass", "ms", "nodes"], ...rows, ["all", total.toFixed(1), ""]]);
  return `${lines.join("\n")}\n`;
}

/** The step before all passes: how the program comes about. */
export type Start = { readonly name: string; make(): Module };

/** Runs a program through passes and says what the flags ask for; remarks go to stderr, or into the JSON. */
export async function throughPasses(
  start: Start,
  passes: readonly Pass[],
  choices: PassChoices,
  json: boolean,
  io: Io,
): Promise<Emitted> {
  const { printModule } = await import("../compiler/ir/print.ts");
  const { moduleStats } = await import("../compiler/model.ts");
  const { runPipeline, unknownPass } = await import("../passes/pass.ts");
  const { until, "print-after": wanted, "time-passes": isTimed } = choices;
  const list: readonly Pass[] = [{ name: start.name, doc: "", run: (module) => module }, ...passes];
  for (const name of wanted) if (!list.some((pass) => pass.name === name)) unknownPass(name, list);
  const started = performance.now();
  const module = start.make();
  const made = performance.now() - started;
  const stages: Stage[] = [];
  const remarks: { pass: string; remark: string }[] = [];
  const last = runPipeline(module, list, {
    until,
    after: ({ name }, left, milliseconds) =>
      stages.push({
        name,
        milliseconds: name === start.name ? made : milliseconds,
        nodes: moduleStats(left).nodes,
        module: left,
      }),
    remark({ name }, line) {
      remarks.push({ pass: name, remark: line });
      if (!json) io.err(`remark: ${name}: ${line}`);
    },
  });
  const timed = stages.map(({ name, milliseconds, nodes }) => ({ name, milliseconds, nodes }));
  if (isTimed) return { text: timeTable(stages), json: { passes: timed, remarks } };
  const shown = wanted.length > 0 ? stages.filter(({ name }) => wanted.includes(name)) : [];
  const texts = shown.map((stage) => ({ name: stage.name, text: printModule(stage.module) }));
  if (texts.length > 0)
    return {
      text: texts.map(({ name, text }) => (texts.length > 1 ? `# after ${name}\n${text}` : text)).join("\n"),
      json: { after: texts.map(({ name, text }) => ({ pass: name, module: text })), remarks },
    };
  const text = printModule(last);
  const { parameters, parameterBytes, nodes, flops } = moduleStats(last);
  return { text, json: { parameters, parameter_bytes: parameterBytes, nodes, flops, module: text, remarks } };
}
