// The ids of end-of-text that files beside a model name.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fail } from "../../compiler/diag.ts";
import { isRecord, parseJson } from "../../compiler/json.ts";
import { readText } from "../files.ts";

export const isId = (id: unknown): id is number =>
  Number.isInteger(id) && Number(id) >= 0 && Number(id) < 2 ** 31;

/** `eos_token_id` of the first Hugging Face JSON file in folders, an id or a list; none if there is no such file or key. */
export function endOfTextIn(
  folders: readonly string[],
  name: "generation_config.json" | "config.json",
): readonly number[] {
  const file = folders.map((folder) => join(folder, name)).find(existsSync);
  if (file === undefined) return [];
  const fields = parseJson({ file, text: readText(file) });
  const ids = isRecord(fields) ? [fields["eos_token_id"] ?? []].flat() : [fields];
  if (ids.every(isId)) return ids;
  return fail({
    code: "tokenizer-special-token",
    message: "expected eos_token_id to be an id or a list of ids",
    at: { file },
  });
}
