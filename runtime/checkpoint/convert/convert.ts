// Conversions between checkpoints: Hugging Face ⇄ MaxText, and MaxText's layers stacked ⇄ single. What is in memory at
// any time is a few blocks, whatever the model's size; what is finished outlives a run that is cut off.
import * as fs from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fail, Q3Error } from "../../../compiler/diag.ts";
import { formatBytes } from "../../../compiler/plan/report.ts";
import { nearest } from "../../files.ts";
import type { Contents, ModelParams } from "../contents.ts";
import { refuseOccupied } from "../create-safetensors.ts";
import type { TreeOptions } from "../layout.ts";
import { type Checkpoint, openCheckpoint } from "../open.ts";
import type { OrbaxOptions } from "../orbax/write.ts";
import type { StoredDType, StoredTensor, TensorReader } from "../tensors.ts";
import { contentsOf } from "../weights.ts";
import { BATCH_BYTES, batchesOf, bytesOfPlanned } from "./blocks.ts";
import { clearFor, fingerprint, openJournal, readJournal, removeJournal } from "./journal.ts";
import { type Output, orbaxOutput, type SideFiles, safetensorsOutput } from "./output.ts";
import { doTasks } from "./pool.ts";
import {
  dataFiles,
  indexFile,
  keptIndex,
  readPlacement,
  readSideFiles,
  sideOf,
  withDType,
} from "./side-files.ts";
import { wantHuggingFace, wantTree } from "./wanted.ts";
import { type DonePart, isIntact } from "./work.ts";

/** The formats there are, by who reads them. */
export type Format = "huggingface" | "maxtext";

/** What to convert into what. */
export type Conversion = {
  readonly source: string;
  /** The other format than the source's unless given. */
  readonly to: Format | undefined;
  /** A directory: of the model for transformers, or the one that holds MaxText's steps. */
  readonly output: string;
  readonly params: ModelParams;
  /** How MaxText's tree is read and written. A tree that is read says itself whether its layers are stacked. */
  readonly tree: TreeOptions;
  /** How MaxText's arrays are stored, where they are written. */
  readonly storage?: Pick<OrbaxOptions, "ocdbt" | "zarr3">;
  /** The dtype of the parameters; nothing to keep the source's. */
  readonly dtype: { readonly stored: StoredDType; readonly name: string } | undefined;
  /** A Hugging Face folder whose configuration and tokenizer go along, instead of the source's own. */
  readonly files: string | undefined;
  /** What config.json says when the source has none. */
  config(): object;
  /** Bytes that are made durable at a time. */
  readonly batchBytes?: number;
};

/** What will be done. */
export type Prepared = {
  readonly from: Format;
  readonly to: Format;
  /** Whether the source's layers are stacked. */
  readonly scanned: boolean;
  /** What it will hold. */
  readonly tensors: readonly StoredTensor[];
  readonly bytes: number;
  /** The source itself: of a directory of steps, the item of the one that was taken. */
  readonly source: string;
  /** What to load afterwards. */
  readonly path: string;
  /** What is said when it is cut off. */
  readonly whenCutOff: string;
  /** How many tensors of the source have no place in the output, by the first key of their path. */
  readonly leftOut: ReadonlyMap<string, number>;
  /** Does it, in so many threads. `wrote` hears how many bytes are done of all, those of an earlier run included. */
  run(threads: number, wrote: (done: number, total: number) => void): Promise<void>;
  close(): void;
};

/** Looks through the source and plans every block; nothing is written yet. */
export function prepareConversion(conversion: Conversion): Prepared {
  const opened = look(conversion);
  const { format, tensors: source } = opened.checkpoint;
  try {
    requireApart(conversion, source.path);
    const from = format === "orbax" ? "maxtext" : "huggingface";
    const to = conversion.to ?? (from === "maxtext" ? "huggingface" : "maxtext");
    const { output, leftOut } = plan(conversion, to, opened);
    const bytes = output.tensors.reduce((sum, tensor) => sum + bytesOfPlanned(tensor), 0);
    return {
      from,
      to,
      scanned: opened.contents.scanned,
      tensors: output.tensors.map(({ plan: { name, shape }, dtype }) => ({ name, shape, dtype })),
      bytes,
      source: source.path,
      path: output.path,
      whenCutOff: whenCutOff(output),
      leftOut: countByKey(leftOut),
      run: (threads, wrote) => run(conversion, source, output, bytes, threads, wrote),
      close: () => source.close(),
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

/** A checkpoint is not written into the one it is made of, whose files stay as they are. */
function requireApart({ source, output }: Conversion, opened: string): void {
  const place = realPath(output);
  if (place === realPath(source) || `${place}${sep}`.startsWith(`${realPath(opened)}${sep}`))
    fail({
      code: "output-in-source",
      message: `lies in ${source}, which is to be converted`,
      at: { file: output },
      help: "name a directory beside it",
    });
}

/** The path without links, of which not all need be there. */
function realPath(path: string): string {
  const there = nearest(resolve(path));
  return join(fs.realpathSync(there), relative(there, resolve(path)));
}

function countByKey(names: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) {
    const [key = ""] = name.split(".");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** A source that was looked through. */
type Opened = { readonly checkpoint: Checkpoint; readonly contents: Contents };

function look({ source, params, tree }: Conversion): Opened {
  const checkpoint = openCheckpoint(source);
  try {
    return { checkpoint, contents: contentsOf(checkpoint, params, tree.scanAxis) };
  } catch (error) {
    checkpoint.tensors.close();
    throw error;
  }
}

function plan(
  { output, tree, storage, dtype, files, config }: Conversion,
  to: Format,
  { checkpoint, contents }: Opened,
): { readonly output: Output; readonly leftOut: readonly string[] } {
  const { format, tensors: source } = checkpoint;
  const folder = files ?? (format === "orbax" ? sideOf(source.path) : source.path);
  const found: SideFiles = folder === undefined ? new Map() : readSideFiles(folder);
  const beside = dtype ? withDType(found, dtype.name) : found;
  if (to === "maxtext") {
    const wanted = wantTree(source, contents, { ...tree, dtype: dtype?.stored });
    const index = format === "orbax" ? keptIndex(folder) : [indexFile(checkpoint.file, source.path)];
    const kept = new Map([...beside, ...index]);
    const { step = 0, customMetadata = {} } = format === "orbax" ? checkpoint.tensors : {};
    const options = {
      ...storage,
      step,
      customMetadata: { ...customMetadata, scan_layers: tree.scanned },
      beside: format === "orbax" ? dataFiles(checkpoint.tensors) : new Map(),
    };
    return { output: orbaxOutput(output, options, wanted, kept), leftOut: wanted.leftOut };
  }
  const placement = format === "orbax" && folder !== undefined ? readPlacement(folder) : undefined;
  const has = (name: string): boolean => placement?.files.has(name) ?? false;
  const wanted = wantHuggingFace(source, contents, has, dtype?.stored);
  const own = new TextEncoder().encode(`${JSON.stringify(config(), null, 2)}\n`);
  const all: SideFiles = new Map([["config.json", own], ...beside]);
  return { output: safetensorsOutput(output, wanted, all, source, placement), leftOut: wanted.leftOut };
}

async function run(
  { source: path, storage, batchBytes = BATCH_BYTES }: Conversion,
  source: TensorReader,
  output: Output,
  total: number,
  threads: number,
  wrote: (done: number, total: number) => void,
): Promise<void> {
  refuseOccupied(output.home);
  requireRoom(output, total);
  const blocks = output.blocks();
  const tasks = batchesOf(blocks, source, batchBytes).map((batch, i) => ({
    ...batch,
    task: { part: i + 1, blocks: batch.blocks },
  }));
  const work = fingerprint([output.path, storage, filesOf(path), blocks, batchBytes]);
  const earlier = readJournal(output.aside, work);
  if (!earlier) clearFor(output.aside, work);
  const journal = openJournal(output.aside);
  try {
    const { target, commit } = output.begin();
    let done = 0;
    const intact: DonePart[] = [];
    for (const part of earlier ?? []) {
      const weighed = tasks[part.part - 1];
      if (!weighed || !isIntact(target, weighed.task, part.sum)) continue;
      intact.push(part);
      done += weighed.bytes;
      wrote(done, total);
    }
    const finished = new Set(intact.map(({ part }) => part));
    await doTasks(
      tasks.filter(({ task }) => !finished.has(task.part)),
      {
        source,
        target,
        threads,
        wrote(bytes) {
          done += bytes;
          wrote(done, total);
        },
        done: journal.add,
      },
    );
    commit();
  } catch (error) {
    if (!(error instanceof Q3Error)) throw error;
    const stays = whenCutOff(output);
    throw new Q3Error(
      error.diagnostics.map((one) => ({ ...one, help: one.help ? `${one.help}; ${stays}` : stays })),
      error.exitCode,
    );
  } finally {
    journal.close();
  }
  removeJournal(output.home);
}

const whenCutOff = ({ aside }: Output): string =>
  `what is finished stays in ${aside}; the same line goes on from there, unless the source was changed`;

/** The files of a checkpoint with their sizes and times: what an unfinished output was made of. */
function filesOf(path: string): unknown {
  const stat = fs.statSync(path);
  if (!stat.isDirectory()) return [path, stat.size, stat.mtimeMs];
  return fs
    .readdirSync(path, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      // A link may lead nowhere.
      const stat = fs.statSync(join(path, name), { throwIfNoEntry: false });
      return [name, stat?.size, stat?.mtimeMs];
    });
}

/** The output must fit on its disk beside what is there. */
function requireRoom({ aside }: Output, bytes: number): void {
  const disk = nearest(dirname(aside));
  const { bavail, bsize } = fs.statfsSync(disk);
  const taken = fs.existsSync(aside) ? bytesIn(aside) : 0;
  const free = bavail * bsize + taken;
  if (free < bytes)
    fail({
      code: "disk-full",
      message: `the conversion writes ${formatBytes(bytes)}, but only ${formatBytes(free)} are free`,
      at: { file: disk },
      help: "make room, or choose another base_output_directory",
    });
}

/** Bytes on disk of all files in a directory. */
const bytesIn = (path: string): number =>
  fs
    .readdirSync(path, { recursive: true, encoding: "utf8" })
    .reduce((sum, name) => sum + fs.statSync(join(path, name)).blocks * 512, 0);
