// The names of the files that Orbax knows, and finding the item that a path leads to.
import * as fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { isStep } from "../../../compiler/config/beside.ts";
import { fail } from "../../../compiler/diag.ts";
import { isRecord } from "../../../compiler/json.ts";
import { namesIn } from "../../files.ts";
import { attempt, type OnDamage, refuse } from "../damage.ts";
import { MANIFEST } from "../ocdbt/manifest.ts";
import { readObject } from "./tree.ts";

/** The item's tree. */
export const TREE = "_METADATA";
/** What concerns the step as a whole. */
export const STEP_METADATA = "_CHECKPOINT_METADATA";
/** A file whose being there says that the save was finished. */
export const COMMITTED = "commit_success.txt";
/** Leaves that are strings. */
export const STRINGS = "_strings.json";
/** What a directory's name ends with until its save is finished. */
export const ASIDE = ".orbax-checkpoint-tmp";
/** The item that MaxText saves. */
export const ITEM = "items";

/** The item that says where the data stood, a file for each host. */
export const DATA = "iter";

/** The directory of a run's steps in the run's own. */
export const STEPS = "checkpoints";

/** Where an item lies. */
export type Place = {
  readonly item: string;
  /** The directory that `_CHECKPOINT_METADATA` is in: the step's, or the item's own if it was saved without steps. */
  readonly home: string;
  readonly step: number | undefined;
};

/** The directories of numbered steps at a path, the latest first. */
export const stepsIn = (path: string): readonly string[] =>
  namesIn(path)
    .filter(isStep)
    .toSorted((a, b) => Number(b) - Number(a))
    .map((name) => join(path, name))
    .filter((step) => fs.statSync(step, { throwIfNoEntry: false })?.isDirectory());

const has = (directory: string, name: string): boolean => fs.existsSync(join(directory, name));

/** The item at a path, which may be the item's directory, a step's, the one that holds the steps, or the run's. */
export function findItem(path: string, onDamage: OnDamage = refuse): Place {
  const names = namesIn(path);
  for (const directory of [resolve(path), dirname(resolve(path))])
    if (basename(directory).includes(ASIDE)) failUnfinished(directory);
  if (names.includes(TREE)) return placeOf(resolve(path), onDamage);
  const items = itemsIn(path);
  if (items.length > 0) return placeOf(join(resolve(path), chooseItem(path, items)), onDamage);
  const [latest] = finishedSteps(path);
  if (latest !== undefined) return findItem(latest, onDamage);
  if (names.includes(STEPS)) return findItem(join(path, STEPS), onDamage);
  return failNotFound(path, names);
}

/** The directories of finished steps at a path, the latest first; none where there is no such path. */
export const finishedSteps = (path: string): readonly string[] =>
  fs.existsSync(path) ? stepsIn(path).filter((step) => isFinished(step) && itemsIn(step).length > 0) : [];

/** Whether a directory looks as if Orbax had written it, or was writing it. */
export function looksLikeOrbax(path: string): boolean {
  const names = namesIn(path);
  return (
    [TREE, STEP_METADATA, MANIFEST, COMMITTED].some((name) => names.includes(name)) ||
    names.some((name) => name.includes(ASIDE)) ||
    [path, ...stepsIn(path)].some((place) => has(place, ITEM) || itemsIn(place).length > 0) ||
    (names.includes(STEPS) && looksLikeOrbax(join(path, STEPS)))
  );
}

const itemsIn = (path: string): readonly string[] =>
  namesIn(path).filter((name) => has(join(path, name), TREE));

function chooseItem(path: string, items: readonly string[]): string {
  const [only] = items;
  if (items.includes(ITEM)) return ITEM;
  if (only !== undefined && items.length === 1) return only;
  return fail({
    code: "orbax-items",
    message: `holds several items: ${items.join(", ")}`,
    at: { file: path },
    help: "name one of their directories",
  });
}

function placeOf(item: string, onDamage: OnDamage): Place {
  const parent = dirname(item);
  const isInStep = !has(item, STEP_METADATA) && (has(parent, STEP_METADATA) || isStep(basename(parent)));
  const home = isInStep ? parent : item;
  if (attempt(onDamage, () => isFinished(home)) === false) failUnfinished(home);
  const number = [item, parent].map((directory) => basename(directory)).find(isStep);
  return { item, home, step: number === undefined ? undefined : Number(number) };
}

/**
 * Orbax writes under another name and renames at the end. Where renaming is no single act it writes in place, notes
 * the time it began, and at the end the time it finished and a marker file; older versions know neither.
 */
function isFinished(directory: string): boolean {
  if (basename(directory).includes(ASIDE)) return false;
  if (has(directory, COMMITTED) || !has(directory, STEP_METADATA)) return true;
  const { init_timestamp_nsecs: began, commit_timestamp_nsecs: finished } = readObject(
    join(directory, STEP_METADATA),
  );
  return !Number.isFinite(began) || Number.isFinite(finished);
}

const failUnfinished = (path: string): never =>
  fail({
    code: "orbax-unfinished",
    message: "this save was never finished",
    at: { file: path },
    help: "use an earlier step; the directory may be removed once nothing is saving there",
  });

function failNotFound(path: string, names: readonly string[]): never {
  const unfinished = names.filter(
    (name) => name.includes(ASIDE) || (isStep(name) && !isFinished(join(path, name))),
  );
  const [first] = unfinished;
  if (first !== undefined)
    return fail({
      code: "orbax-unfinished",
      message: `no save was ever finished here; begun but not finished: ${unfinished.join(", ")}`,
      at: { file: path },
    });
  const item = [path, ...stepsIn(path)]
    .map((place) => join(place, ITEM))
    .find((place) => fs.existsSync(place));
  if (item !== undefined) return failNotFound(item, namesIn(item));
  if (names.includes("checkpoint"))
    return fail({
      code: "orbax-old",
      message: `an Orbax checkpoint without ${TREE}, from before version 0.5.16`,
      at: { file: path },
      help: "restore and save it with a newer Orbax",
    });
  if (names.includes(MANIFEST) || basename(path) === ITEM)
    return fail({
      code: "orbax-incomplete",
      message: `${TREE} is missing, which says what tensors there are`,
      at: { file: path },
      help: "copy the checkpoint again, or use another step",
    });
  const found = names.slice(0, 8).join(", ");
  return fail({
    code: "orbax-missing",
    message: `no Orbax checkpoint: expected ${TREE}, an item with it, or numbered steps; found ${found || "nothing"}`,
    at: { file: path },
  });
}

/** What `_CHECKPOINT_METADATA` holds for the user, such as MaxText's `scan_layers`. */
export function readCustomMetadata({ home }: Place): Readonly<Record<string, unknown>> {
  if (!has(home, STEP_METADATA)) return {};
  const { custom_metadata: custom } = readObject(join(home, STEP_METADATA));
  return isRecord(custom) ? custom : {};
}

const HANDLER = "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler";

/** Prints `_CHECKPOINT_METADATA`; times are in nanoseconds, beyond what a double counts. */
export function printStepMetadata(
  hasSteps: boolean,
  times: { readonly began: bigint; readonly finished: bigint },
  custom: Readonly<Record<string, unknown>>,
): string {
  const fields = {
    item_handlers: hasSteps ? { [ITEM]: HANDLER } : HANDLER,
    metrics: {},
    performance_metrics: {},
    custom_metadata: custom,
  };
  const clock = `"init_timestamp_nsecs":${times.began},"commit_timestamp_nsecs":${times.finished}`;
  return `{${clock},${JSON.stringify(fields).slice(1)}`;
}
