// `model.safetensors.index.json`: which shard holds which tensor, checked against the shards themselves.

import { didYouMean, fail } from "../../compiler/diag.ts";
import { isRecord, parseJson, scanJson } from "../../compiler/json.ts";
import { readText } from "../files.ts";
import type { Header } from "./safetensors-header.ts";

/** A checked index: `weights` maps tensors to shards, all of which exist beside it. */
export type ShardIndex = {
  readonly file: string;
  readonly weights: ReadonlyMap<string, string>;
  readonly shards: readonly string[];
};

/** Reads an index; `beside` are the names of the files in its directory. */
export function readIndex(file: string, beside: readonly string[]): ShardIndex {
  const text = readText(file);
  const value = parseJson({ file, text });
  const [again] = scanJson(text).repeated;
  if (again) {
    const at = { source: { file, text }, start: again.offset, end: again.offset + again.key.length + 2 };
    fail({ code: "safetensors-duplicate", message: `duplicate key \`${again.key}\``, at });
  }
  const map = isRecord(value) ? value["weight_map"] : undefined;
  if (!isRecord(map)) {
    fail({
      code: "safetensors-index",
      message: `${file}: expected \`weight_map\` to map tensors to shard files`,
    });
  }
  const weights = new Map(
    Object.entries(map).map(([name, shard]) => [name, checkShard(file, name, shard, beside)]),
  );
  return { file, weights, shards: [...new Set(weights.values())].toSorted() };
}

function checkShard(file: string, name: string, shard: unknown, beside: readonly string[]): string {
  // Shards lie beside the index: a path elsewhere is refused rather than followed.
  if (typeof shard !== "string" || /[/\\]/.test(shard)) {
    fail({
      code: "safetensors-index",
      message: `${file}: tensor \`${name}\`: expected the name of a file beside the index, found ${JSON.stringify(shard)}`,
    });
  }
  if (!beside.includes(shard)) {
    fail({
      code: "safetensors-shard-missing",
      message: `${file}: shard \`${shard}\`, which should hold tensor \`${name}\`, is missing`,
      help: didYouMean(shard, beside) ?? "copy or download the checkpoint again",
    });
  }
  return shard;
}

/** Every tensor of the index must be in the shard it names. `headers` follow the order of `index.shards`. */
export function checkIndex(index: ShardIndex, headers: readonly Header[]): void {
  const held = new Map(
    index.shards.map((shard, i) => [shard, new Set(headers[i]?.entries.map(({ name }) => name))] as const),
  );
  for (const [name, shard] of index.weights) {
    if (held.get(shard)?.has(name)) continue;
    const elsewhere = index.shards.find((other) => held.get(other)?.has(name));
    fail({
      code: "safetensors-not-in-shard",
      message: `${index.file}: tensor \`${name}\` is not in its shard \`${shard}\`${elsewhere ? ` but in \`${elsewhere}\`` : ""}`,
    });
  }
}
