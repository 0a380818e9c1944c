// Programs through passes, as commands print them: the last one, those after some passes, or how long each took.
import type { Module } from "../compiler/ir/types.ts";
import type { Pass } from "../passes/pass.ts";
import type { Io } from "./command.ts";
import { numberTable } from "./layout.ts";

export type Emitted = { readonly text: string; readonly json: object };
/** How a program is shown. */
export type Show = (module: Module) => Promise<Emitted>;

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

/** The program in its own language. */
async function asText(module: Module): Promise<Emitted> {
  const { printModule } = await import("../compiler/ir/print.ts");
  const { moduleStats } = await import("../compiler/model.ts");
  const text = printModule(module);
  const { parameters, parameterBytes, nodes, flops } = moduleStats(module);
  return { text, json: { parameters, parameter_bytes: parameterBytes, nodes, flops, module: text } };
}

/** Runs a program through passes and shows what the flags ask for; remarks go to stderr, or into the JSON. */
export async function throughPasses(
  start: Start,
  passes: readonly Pass[],
  choices: PassChoices,
  json: boolean,
  io: Io,
  show: Show = asText,
): Promise<Emitted> {
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
  const shown: { pass: string; emitted: Emitted }[] = [];
  for (const { name, module: left } of stages)
    if (wanted.includes(name)) shown.push({ pass: name, emitted: await show(left) });
  if (shown.length > 0)
    return {
      text: shown
        .map(({ pass, emitted: { text } }) => (shown.length > 1 ? `# after ${pass}\n${text}` : text))
        .join("\n"),
      json: { after: shown.map(({ pass, emitted }) => ({ pass, ...emitted.json })), remarks },
    };
  const { text, json: whole } = await show(last);
  return { text, json: { ...whole, remarks } };
}
