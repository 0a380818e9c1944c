// q3c inspect: what a checkpoint holds, and whether all of it can be read.
import { resolve } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { fail, Q3Error } from "../compiler/diag.ts";
import type { OnDamage } from "../runtime/checkpoint/damage.ts";
import type { Inspection } from "../runtime/checkpoint/inspect.ts";
import type { Checkpoint } from "../runtime/checkpoint/open.ts";
import type { Command, Io } from "./command.ts";
import { showProgress } from "./progress.ts";

const flags = {
  verify: { doc: "read every chunk and check every sum" },
} as const;

const MIB = 2 ** 20;

/** Reads all that can be read. */
async function verify(checkpoint: Checkpoint, found: Inspection, onDamage: OnDamage, io: Io): Promise<void> {
  const { readAll } = await import("../runtime/checkpoint/verify.ts");
  const progress = showProgress(io, { label: "read, in MiB:", elsewhere: "quiet" });
  const total = Math.ceil(found.bytes / MIB);
  let done = 0;
  for (const { tensor, bytes } of readAll(checkpoint, onDamage)) {
    done += bytes;
    // The last chunk is shown as not quite the end, which takes the line away.
    progress(Math.min(Math.floor(done / MIB), total - 1), total, tensor);
    await breathe();
  }
  progress(total, total);
}

/** The command that looks into checkpoints. */
export const inspect: Command<typeof flags> = {
  name: "inspect",
  summary: "Say what a checkpoint holds, of any format, and whether it is whole.",
  usage: "inspect <path> [--verify]",
  details: [
    "Takes a safetensors file, a folder of them, or an Orbax checkpoint: the folder of an item, of a step, of a run's steps, of which the latest finished one is taken, or of the run.",
    "With --verify every chunk is read and every check sum of the format is checked. Exit code 1 when the checkpoint is damaged or incomplete; every file and chunk that cannot be read is named, of hundreds the first. The example takes what the one of `q3c run` saves.",
  ],
  examples: ["q3c inspect out/tiny/checkpoints --verify"],
  flags,
  async run({ args, flags: given, io }) {
    const [path, extra] = args;
    if (path === undefined)
      fail({ code: "path-missing", message: "no checkpoint is named: q3c inspect <path>" }, 2);
    if (extra !== undefined)
      fail({ code: "unexpected-argument", message: `inspect takes one path, found \`${extra}\` too` }, 2);
    const { requireLocalPath } = await import("../compiler/config/remote.ts");
    requireLocalPath(path);
    const { openCheckpoint } = await import("../runtime/checkpoint/open.ts");
    const { attempt, collectDamage, refuse } = await import("../runtime/checkpoint/damage.ts");
    const { inspect: describe } = await import("../runtime/checkpoint/inspect.ts");
    const { inspectionLines, verdictLines } = await import("./inspect-lines.ts");
    const damage = collectDamage();
    const onDamage = given.verify ? damage.note : refuse;
    const checkpoint = attempt(onDamage, () => openCheckpoint(resolve(io.cwd, path), onDamage));
    if (!checkpoint) throw new Q3Error(damage.problems());
    try {
      const found = describe(checkpoint);
      if (!given.json) for (const line of inspectionLines(found)) io.out(line);
      if (given.verify) await verify(checkpoint, found, onDamage, io);
      const problems = damage.problems();
      if (problems.length > 0) throw new Q3Error(problems);
      if (given.json) io.out(JSON.stringify({ ...found, verified: given.verify }));
      else if (given.verify) for (const line of ["", ...verdictLines(found)]) io.out(line);
      return 0;
    } finally {
      checkpoint.tensors.close();
    }
  },
};
