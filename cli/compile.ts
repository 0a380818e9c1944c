// q3c compile: prints what a configuration becomes; no weights are made.
import type { Config } from "../compiler/config/load.ts";
import { didYouMean, fail } from "../compiler/diag.ts";
import type { Command, Io } from "./command.ts";
import { printWarnings, readConfig } from "./config.ts";
import { type Emitted, type PassChoices, passFlags, type Show, throughPasses } from "./passes.ts";

const grouped = (n: number): string => n.toLocaleString("en-US");

async function stats(config: Config): Promise<Emitted> {
  const { forwardModel, modelFlops, moduleStats } = await import("../compiler/model.ts");
  const { parameters, parameterBytes, nodes } = moduleStats(forwardModel(config).module);
  const {
    model_name,
    weight_dtype,
    micro_batch_size_to_train_on: batch,
    max_target_length: sequence,
  } = config.values;
  const { selectedExperts } = await import("../compiler/config/moe.ts");
  const experts = selectedExperts(config.values, sequence);
  const forward = modelFlops(config);
  const lines = [
    `model: ${model_name}`,
    `parameters: ${grouped(parameters)} (${grouped(parameterBytes)} bytes in ${weight_dtype})`,
    ...(experts === undefined ? [] : [`experts: ${experts}`]),
    `forward program: ${grouped(nodes)} nodes at batch ${batch}, sequence ${sequence}`,
    `model FLOPs: ${forward.toExponential(4)} forward, ${(3 * forward).toExponential(4)} training, ${grouped(Math.round(forward / (batch * sequence)))} a token forward`,
  ];
  const json = {
    model_name,
    parameters,
    parameter_bytes: parameterBytes,
    experts: experts ?? null,
    nodes,
    batch,
    sequence,
    forward_flops: forward,
    training_flops: 3 * forward,
  };
  return { text: `${lines.join("\n")}\n`, json };
}

async function rematReport(config: Config): Promise<Emitted> {
  const { lossProgram } = await import("../compiler/training.ts");
  const { rematRows } = await import("../passes/remat.ts");
  const { rematTable } = await import("./remat-table.ts");
  const { tensors_on_device: save, tensors_to_offload: offload } = config.values;
  const rows = rematRows(lossProgram(config).module, { name: "custom", save, offload });
  return { text: rematTable(rows), json: { policies: rows } };
}

async function forward(config: Config, flags: PassChoices, json: boolean, io: Io): Promise<Emitted> {
  const { forwardModel } = await import("../compiler/model.ts");
  const { forwardPipeline } = await import("../passes/forward.ts");
  const passes = forwardPipeline({ scanLayers: config.values.scan_layers });
  return throughPasses(
    { name: "elaborate", make: () => forwardModel(config).module },
    passes,
    flags,
    json,
    io,
  );
}

async function joint(
  config: Config,
  flags: PassChoices,
  json: boolean,
  io: Io,
  show?: Show,
): Promise<Emitted> {
  const { lossProgram, rematPolicyOf } = await import("../compiler/training.ts");
  const { trainingPipeline } = await import("../passes/index.ts");
  const { remat } = await import("../passes/remat.ts");
  const passes = trainingPipeline({
    scanLayers: config.values.scan_layers,
    remat: remat(rematPolicyOf(config)),
  });
  return throughPasses(
    { name: "elaborate", make: () => lossProgram(config).module },
    passes,
    flags,
    json,
    io,
    show,
  );
}

const graph: typeof forward = (...given) =>
  joint(...given, async (module) => (await import("./graph-report.ts")).graphReport(module));

/** A report of something else than passes, which has no use for their flags. */
const report =
  (make: (config: Config) => Promise<Emitted>) =>
  (
    config: Config,
    { until, "print-after": after, "time-passes": isTimed }: PassChoices,
  ): Promise<Emitted> => {
    if (until !== undefined || after.length > 0 || isTimed)
      fail(
        {
          code: "bad-flag-value",
          message: "this --emit runs no passes",
          help: "--emit=ir and --emit=joint do",
        },
        2,
      );
    return make(config);
  };

const emitters: Readonly<Record<string, typeof forward>> = {
  ir: forward,
  joint,
  graph,
  stats: report(stats),
  remat: report(rematReport),
};

const flags = {
  emit: { value: "string", doc: "what to print: ir, joint, graph, stats or remat", default: "ir" },
  ...passFlags,
} as const;

export const compile: Command<typeof flags> = {
  name: "compile",
  summary: "Print the program a configuration becomes, without making weights.",
  usage: "compile <config.yml | base> [key=value ...] [--emit ir|joint|graph|stats|remat]",
  details: [
    "ir is the forward program: tokens and positions to logits. joint is the training program: the loss, and the gradient of every parameter. graph says how the training program's ops wait for one another; with --json it is the whole graph, as graphology writes graphs: a node for each op and parameter, an edge for each use of a value. stats counts parameters, nodes and floating point operations. remat says what each remat_policy keeps of a layer for the backward pass and computes again; custom is as the configuration has it.",
    "The architecture is models/<decoder_block>.arch, or a file of yours: decoder_block=path/to/my.arch.",
    "A program goes through passes (`q3c explain` lists them), chosen by scan_layers and remat_policy. What they say goes to stderr.",
    "The printed program is a language of its own: it parses back to the same program, and `q3c opt` runs passes on it.",
  ],
  examples: [
    "q3c compile base model_name=qwen3-next-80b-a3b per_device_batch_size=1 max_target_length=1024 --emit=stats",
    "q3c compile base model_name=qwen3-next-tiny --until=scan-layers > tiny.q3",
  ],
  flags,
  async run({ args, flags: { emit, json, ...choices }, io }) {
    const emitter = Object.hasOwn(emitters, emit) ? emitters[emit] : undefined;
    if (!emitter) {
      const names = Object.keys(emitters);
      fail(
        {
          code: "bad-flag-value",
          message: `--emit is one of ${names.join(", ")}, got ${emit}`,
          help: didYouMean(emit, names),
        },
        2,
      );
    }
    const config = await readConfig(args, io);
    printWarnings(config, io, json, false);
    const emitted = await emitter(config, choices, json, io);
    io.out(json ? JSON.stringify(emitted.json) : emitted.text.trimEnd());
    return 0;
  },
};
