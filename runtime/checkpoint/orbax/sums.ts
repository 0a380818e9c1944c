// Check sums of those files of an item that no format puts under one: the trees, the strings, the arrays' metadata,
// what is noted of the step. q3c writes them beside the item's files, and Orbax passes over them.
import * as fs from "node:fs";
import { join, relative } from "node:path";
import { fail } from "../../../compiler/diag.ts";
import { readBytes, writeAside } from "../../files.ts";
import { crc32c } from "../crc32c.ts";
import { attempt, type OnDamage } from "../damage.ts";
import { readObject } from "./tree.ts";

const SUMS = "q3c_checksums.json";

/** Writes the sums of these files; those that are not there have none. */
export function writeSums(item: string, files: readonly string[]): void {
  const sums = files
    .filter((file) => fs.existsSync(file))
    .map((file) => [relative(item, file), crc32c(readBytes(file))] as const);
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(sums)));
  writeAside(join(item, SUMS), (append) => append(text), { overwrite: true });
}

/** A file that is not as it was written is damage. Checkpoints that q3c did not write have no sums. */
export function checkSums(item: string, onDamage: OnDamage): void {
  const file = join(item, SUMS);
  if (!fs.existsSync(file)) return;
  const sums = attempt(onDamage, () => readObject(file)) ?? {};
  for (const [name, stored] of Object.entries(sums))
    attempt(onDamage, () => requireSum(file, join(item, name), stored));
}

function requireSum(file: string, path: string, stored: unknown): void {
  const found = fs.existsSync(path) ? `its CRC-32C is ${crc32c(readBytes(path))}` : "it is missing";
  const wanted = `its CRC-32C is ${JSON.stringify(stored)}`;
  if (found !== wanted)
    fail({
      code: "orbax-damaged",
      message: `${found}; ${file} says that ${wanted}`,
      at: { file: path },
      help: `the checkpoint is damaged: copy it again, or use an earlier one; if the file was changed on purpose, remove ${SUMS}`,
    });
}
