// The checkpoints of a run: saving its state, in the loop or in a thread beside it, keeping the latest ones, and finding
// where a run left off.
import { once } from "node:events";
import * as fs from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { ParamDecl } from "../../compiler/arch/param.ts";
import type { Config } from "../../compiler/config/load.ts";
import { type Diagnostic, fail, Q3Error } from "../../compiler/diag.ts";
import { isRecord, scanJson } from "../../compiler/json.ts";
import { ASIDE, DATA, finishedSteps, stepsIn } from "../checkpoint/orbax/files.ts";
import { openOrbax } from "../checkpoint/orbax/read.ts";
import { createOrbax, type OrbaxOptions, type OrbaxTensor } from "../checkpoint/orbax/write.ts";
import type { DatasetState } from "../data/dataset.ts";
import { readText } from "../files.ts";
import type { Answer } from "./save-worker.ts";
import { bytesOfPart, readState, type StatePart, stateTree, type TrainState } from "./state.ts";

/** The file of a step that says where the data stood. */
const DATA_OF_HOST = join(DATA, "process_0-of-1.json");

/** A checkpoint to be written: plain data, which can be posted to a thread. */
export type StateSave = {
  /** The directory of all steps. */
  readonly root: string;
  /** The last step that was taken, which names the checkpoint. */
  readonly step: number;
  readonly tensors: readonly OrbaxTensor[];
  readonly parts: readonly StatePart[];
  readonly options: OrbaxOptions;
  /** How many checkpoints stay, this one included. */
  readonly keep: number | null;
};

/** The save of a state after a step, and of where the data stands. */
export function planSave(
  root: string,
  config: Config,
  params: readonly ParamDecl[],
  state: TrainState,
  data: DatasetState,
): StateSave {
  const { values } = config;
  const { tensors, leaves, parts, isScanned } = stateTree(params, config, state);
  const step = state.step - 1;
  const options: OrbaxOptions = {
    step,
    ocdbt: values.checkpoint_storage_use_ocdbt,
    zarr3: values.checkpoint_storage_use_zarr3,
    customMetadata: { scan_layers: isScanned },
    leaves,
    beside: new Map([[DATA_OF_HOST, new TextEncoder().encode(`${JSON.stringify(data)}\n`)]]),
    leftover: "replace",
  };
  return { root, step, tensors, parts, options, keep: values.max_num_checkpoints_to_keep };
}

/** Writes a checkpoint, and removes those that are too many once it is there. */
export function writeSave({ root, tensors, parts, options, keep }: StateSave): void {
  const writer = createOrbax(root, tensors, options);
  try {
    for (const part of parts) writer.write(part.name, part.box, bytesOfPart(part));
    writer.commit();
  } catch (error) {
    writer.abandon();
    throw error;
  }
  if (keep !== null) for (const step of finishedSteps(root).slice(keep)) removeStep(step);
}

// A directory that is being removed must not be taken for a checkpoint, so it loses its name first.
function removeStep(step: string): void {
  const aside = `${step}${ASIDE}`;
  fs.renameSync(step, aside);
  fs.rmSync(aside, { recursive: true, force: true });
}

/** Removes what saves and removals left that were cut off. Nothing else may be writing to the run's directory. */
export function removeLeftovers(root: string): void {
  if (!fs.existsSync(root)) return;
  for (const name of fs.readdirSync(root).filter((name) => name.endsWith(ASIDE)))
    fs.rmSync(join(root, name), { recursive: true, force: true });
}

/** Where a run goes on. */
export type Resumed = {
  readonly state: TrainState;
  /** Where its data stood; nothing where the checkpoint does not say. */
  readonly data: DatasetState | undefined;
  /** The directory of the step, or what was named. */
  readonly from: string;
};

/**
 * The latest checkpoint in the directory of a run's steps; nothing when there is none. When it is damaged that is an
 * error: the run would come to the same step and find its place taken.
 */
export function findLatest(root: string, config: Config, params: readonly ParamDecl[]): Resumed | undefined {
  const [latest] = fs.existsSync(root) ? stepsIn(root) : [];
  if (latest === undefined) return undefined;
  try {
    return readResumed(latest, config, params);
  } catch (error) {
    if (!(error instanceof Q3Error) || isWhole(latest)) throw error;
    return failDamaged(root, error.diagnostics);
  }
}

function failDamaged(root: string, problems: readonly Diagnostic[]): never {
  const steps = stepsIn(root);
  const whole = steps.findIndex(isWhole);
  const damaged = (whole < 0 ? steps : steps.slice(0, whole)).map((step) => basename(step)).join(", ");
  return fail({
    code: "checkpoint-damaged",
    message: `the run cannot go on from ${damaged}, damaged or unfinished; ${whole < 0 ? "no step is whole" : `the last whole step is ${basename(steps[whole] ?? "")}`}`,
    at: { file: root },
    notes: problems.map(({ message, at }) => ({ message, at })),
    help: `remove ${damaged} there and run again, to ${whole < 0 ? "start anew" : "go on from the last whole step"}`,
  });
}

/** Whether every chunk of a step can be read. */
function isWhole(step: string): boolean {
  try {
    const reader = openOrbax(step);
    try {
      for (const name of reader.tensors.keys())
        for (const box of reader.chunksOf(name)) reader.read(name, box);
      return true;
    } finally {
      reader.close();
    }
  } catch (error) {
    if (error instanceof Q3Error) return false;
    throw error;
  }
}

/** The state in an Orbax checkpoint: the directory of an item, of a step, or of all steps, of which the latest. */
export function readResumed(path: string, config: Config, params: readonly ParamDecl[]): Resumed {
  const reader = openOrbax(path);
  try {
    return { state: readState(reader, params, config), data: readData(join(path, DATA_OF_HOST)), from: path };
  } finally {
    reader.close();
  }
}

function readData(file: string): DatasetState | undefined {
  if (!fs.existsSync(file)) return undefined;
  const text = readText(file);
  const { source, epoch, position } = scanJson(text).fault ? {} : fieldsOf(JSON.parse(text));
  if (typeof source === "string" && typeof epoch === "number" && typeof position === "number")
    return { source, epoch, position };
  return fail({
    code: "dataset-state",
    message: "expected the source, epoch and position of the data as q3c notes them",
    at: { file },
    help: "to go on from the same state with data from its beginning, name the step in load_full_state_path of another run",
  });
}

const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {});

/** Writes checkpoints one after another. */
export type Saver = {
  /** Waits for the save before; then `make` copies the state, and the save begins. */
  save(make: () => StateSave): Promise<void>;
  /** Waits for the last save. */
  finish(): Promise<void>;
};

/** Saves within the loop. */
export const savingInLoop = (saved: (step: number) => void): Saver => ({
  async save(make) {
    const save = make();
    writeSave(save);
    saved(save.step);
  },
  async finish() {},
});

// Threads run compiled files: from sources, as tests are, there is none to run.
const THREAD = new URL("./save-worker.js", import.meta.url);

/** Saves in a thread while the loop goes on, where threads can be had. A save that failed fails the next call. */
export function savingBeside(saved: (step: number) => void): Saver {
  if (!fs.existsSync(fileURLToPath(THREAD))) return savingInLoop(saved);
  const thread = new Worker(THREAD);
  let pending: Promise<void> = Promise.resolve();
  const write = async (save: StateSave): Promise<void> => {
    const answered = once(thread, "message");
    thread.postMessage(
      save,
      save.parts.map(({ values }) => values.buffer as ArrayBuffer),
    );
    const [answer] = (await answered) as [Answer];
    if (answer.kind === "failed") throw new Q3Error(answer.diagnostics);
    if (answer.kind === "bug") throw answer.error;
    saved(save.step);
  };
  return {
    async save(make) {
      await pending;
      pending = write(make());
      // Whoever waits next hears of a failure; until then it must not end the process.
      pending.catch(() => {});
    },
    async finish() {
      try {
        await pending;
      } finally {
        await thread.terminate();
      }
    },
  };
}
