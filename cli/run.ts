// q3c run: trains what a configuration describes.
import { setImmediate as breathe } from "node:timers/promises";
import type { Command } from "./command.ts";
import { printWarnings, readConfig } from "./config.ts";
import { startEngine } from "./engine.ts";
import { showProgress } from "./progress.ts";

export const run: Command = {
  name: "run",
  aliases: ["train"],
  summary: "Train: pre-training or fine-tuning as a configuration says.",
  usage: "run <config.yml | base> [key=value ...]",
  details: [
    "Takes MaxText's configuration files and overrides. Data: dataset_type=text with dataset_path (files, folders or patterns), or dataset_type=synthetic.",
    "Starts from load_parameters_path, from the folder that model_name names, or from new weights. At the end the model is saved under base_output_directory/run_name/hugging_face/<steps> as transformers opens it (a multi-token prediction head that the model came with is saved as it was), and sample_prompt is continued greedily.",
    "Every checkpoint_period steps and at the end the whole state is saved under base_output_directory/run_name/checkpoints/<step>, as MaxText and Orbax read it; the same command then goes on from the latest one. enable_checkpointing=false saves nothing.",
    "metrics_file gets one JSON object a step. load_full_state_path goes on from another run's state.",
    "With --json each line is a JSON object, whose kind is start, step, checkpoint, saved or sample.",
  ],
  examples: [
    "q3c run base model_name=qwen3-next-tiny dataset_type=synthetic steps=3 per_device_batch_size=1 max_target_length=64 base_output_directory=out run_name=tiny",
  ],
  flags: {},
  maxTextModules: ["maxtext.trainers.pre_train.train", "MaxText.train"],
  async run({ args, flags, io }) {
    const config = await readConfig(args, io);
    const { requireLocalRun, train } = await import("../runtime/train/train.ts");
    // First, because what is refused is no warning.
    requireLocalRun(config);
    printWarnings(config, io, flags.json, true);
    const { factLines, stepLine } = await import("../runtime/train/report.ts");
    const engine = await startEngine(config);
    const progress = showProgress(io, { label: "step", elsewhere: "quiet" });
    const print = (kind: string, body: object, lines: readonly string[]): void => {
      if (flags.json) io.out(JSON.stringify({ kind, ...body }));
      else for (const line of lines) io.out(line);
    };
    let next: number | undefined;
    io.whenInterrupted(() => {
      if (next === undefined) return "";
      if (!config.values.enable_checkpointing) return "nothing is saved (enable_checkpointing=false)";
      if (next === 0) return "no checkpoint was saved: the same command begins anew";
      return `the same command goes on at step ${next}`;
    });
    await train(config, engine, {
      cwd: io.cwd,
      breathe: () => breathe(),
      on(event) {
        const { kind, ...body } = event;
        switch (event.kind) {
          case "start":
            next = event.facts.first_step;
            print(kind, event.facts, factLines(event.facts));
            return;
          case "step":
            print(kind, { step: event.step, ...event.scalars, ...event.tables }, [
              stepLine(event.step, event.scalars),
            ]);
            progress(
              event.step + 1,
              event.of,
              `loss ${(event.scalars["learning/loss"] ?? Number.NaN).toFixed(3)}`,
            );
            return;
          case "checkpoint":
            next = event.step + 1;
            print(kind, body, [`Saved a checkpoint at step ${event.step}.`]);
            return;
          case "saved":
            print(kind, body, [`saved: ${event.directory}`]);
            return;
          case "sample":
            print(kind, body, [`Input \`${event.prompt}\` -> \`${event.text}\``]);
            return;
        }
      },
    });
    return 0;
  },
};
