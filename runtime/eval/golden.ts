// Opens golden logits as MaxText keeps them: JSON Lines, or a pickle of a list of records.

import * as fs from "node:fs";
import { extname } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { failRead } from "../files.ts";
import { parseGolden } from "./golden-json.ts";
import { goldenInPickle } from "./golden-pickle.ts";
import type { GoldenRecord } from "./golden-record.ts";

const CHUNK = 1 << 20;

type Reader = (path: string, file: number) => Generator<GoldenRecord, void>;

const jsonLines: Reader = (path, file) =>
  parseGolden(path, () => {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const count = fs.readSync(file, chunk);
    return count > 0 ? chunk.subarray(0, count) : undefined;
  });

/** How a golden file is read, by the end of its name. */
const readers: ReadonlyMap<string, Reader> = new Map([
  [".jsonl", jsonLines],
  [".pickle", goldenInPickle],
  [".pkl", goldenInPickle],
]);

/** The records of a golden file, one after the other. */
export function* readGolden(path: string): Generator<GoldenRecord, void> {
  let file: number | undefined;
  try {
    file = fs.openSync(path, "r");
    const read =
      readers.get(extname(path)) ??
      fail({
        code: "golden-format",
        message: `golden logits are in a file that ends with ${[...readers.keys()].join(", ")}`,
        at: { file: path },
        help: "write one record per line of JSON, each with `prompt`, `tokens` and `logits`",
      });
    yield* read(path, file);
  } catch (error) {
    failRead(path, error);
  } finally {
    if (file !== undefined) fs.closeSync(file);
  }
}
