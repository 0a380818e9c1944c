// q3c compile: prints what a configuration becomes; no weights are made.
import type { Config } from "../compiler/config/load.ts";
import { didYouMean, fail } from "../compiler/diag.ts";
import type { Module } from "../compiler/ir/types.ts";
import type { Command } from "./command.ts";
import { printWarnings, readConfig } from "./config.ts";

type Emitted = { readonly text: string; readonly json: object };

const grouped = (n: number): string => n.toLocaleString("en-US");

async function program(module: Module): Promise<Emitted> {
  const { printModule } = await import("../compiler/ir/print.ts");
  const { moduleStats } = await import("../compiler/model.ts");
  const text = printModule(module);
  const { parameters, parameterBytes, nodes, flops } = moduleStats(module);
  return { text, json: { parameters, parameter_bytes: parameterBytes, nodes, flops, module: text } };
}

async function stats(config: Config): Promise<Emitted> {
  const { forwardModel, modelFlops, moduleStats } = await import("../compiler/model.ts");
  const { parameters, parameterBytes, nodes } = moduleStats(forwardModel(config).module);
  const {
    model_name,
    weight_dtype,
    micro_batch_size_to_train_on: batch,
    max_target_length: sequence,
  } = config.values;
  const forward = modelFlops(config);
  const lines = [
    `model: ${model_name}`,
    `parameters: ${grouped(parameters)} (${grouped(parameterBytes)} bytes in ${weight_dtype})`,
    `forward program: ${grouped(nodes)} nodes at batch ${batch}, sequence ${sequence}`,
    `model FLOPs: ${forward.toExponential(4)} forward, ${(3 * forward).toExponential(4)} training, ${grouped(Math.round(forward / (batch * sequence)))} a token forward`,
  ];
  const json = {
    model_name,
    parameters,
    parameter_bytes: parameterBytes,
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
  const { rematRows, rematTable } = await import("../passes/remat.ts");
  const { tensors_on_device: save, tensors_to_offload: offload } = config.values;
  const rows = rematRows(lossProgram(config).module, { name: "custom", save, offload });
  return { text: rematTable(rows), json: { policies: rows } };
}

const emitters: Readonly<Record<string, (config: Config) => Promise<Emitted>>> = {
  ir: async (config) => program((await import("../compiler/model.ts")).forwardModel(config).module),
  joint: async (config) => program((await import("../compiler/training.ts")).gradientProgram(config).module),
  stats,
  remat: rematReport,
};

const flags = {
  emit: { value: "string", doc: "what to print: ir, joint, stats or remat", default: "ir" },
} as const;

export const compile: Command<typeof flags> = {
  name: "compile",
  summary: "Print the program a configuration becomes, without making weights.",
  usage: "compile <config.yml | base> [key=value ...] [--emit ir|joint|stats|remat]",
  details: [
    "ir is the forward program: tokens and positions to logits. joint is the training program: the loss, and the gradient of every parameter. stats counts parameters, nodes and floating point operations. remat says what each remat_policy keeps of a layer for the backward pass and computes again; custom is as the configuration has it.",
    "The architecture is models/<decoder_block>.arch, or a file of yours: decoder_block=path/to/my.arch.",
    "The printed program is a language of its own: it parses back to the same program.",
  ],
  flags,
  async run({ args, flags: { emit, json }, io }) {
    const emitter = Object.hasOwn(emitters, emit) ? emitters[emit] : undefined;
    if (!emitter) {
      const names = Object.keys(emitters);
      fail(
        {
          code: "flag-value",
          message: `--emit is one of ${names.join(", ")}, got ${emit}`,
          help: didYouMean(emit, names),
        },
        2,
      );
    }
    const config = await readConfig(args, io);
    printWarnings(config, io, json, false);
    const emitted = await emitter(config);
    io.out(json ? JSON.stringify(emitted.json) : emitted.text.trimEnd());
    return 0;
  },
};
