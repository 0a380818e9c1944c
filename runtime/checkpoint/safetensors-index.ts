// `model.safetensors.index.json`: which shard holds which tensor, checked against the shards themselves.

import { didYouMean, fail } from "../../compiler/diag.ts";
import { isRecord, parseJson, scanJson } from "../../compiler/json.ts";
import { readText } from "../files.ts";
import { attempt, type OnDamage } from "./damage.ts";
import type { Header } from "./safetensors-header.ts";

/** A checked index: `weights` maps tensors to shards that exist beside it, `shards` those to their tensors. */
export type ShardIndex = {
  readonly file: string;
  readonly weights: ReadonlyMap<string, string>;
  readonly shards: ReadonlyMap<string, readonly string[]>;
};

/** Reads an index; `beside` are the names of the files in its directory. Shards that are not there are damage. */
export function readIndex(file: string, beside: readonly string[], onDamage: OnDamage): ShardIndex {
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
      message: "expected `weight_map` to map tensors to shard files",
      at: { file },
    });
  }
  const shards = new Map<string, [string, ...string[]]>();
  for (const [name, value] of Object.entries(map)) {
    const shard = attempt(onDamage, () => checkShard(file, name, value));
    if (shard === undefined) continue;
    const others = shards.get(shard);
    if (others) others.push(name);
    else shards.set(shard, [name]);
  }
  const found = [...shards].filter(([shard, names]) => {
    if (beside.includes(shard)) return true;
    attempt(onDamage, () => failMissing(file, names[0], shard, beside), names);
    return false;
  });
  return {
    file,
    weights: new Map(found.flatMap(([shard, names]) => names.map((name) => [name, shard]))),
    shards: new Map(found.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
}

function checkShard(file: string, name: string, shard: unknown): string {
  // Shards lie beside the index: a path elsewhere is refused rather than followed.
  if (typeof shard !== "string" || /[/\\]/.test(shard)) {
    fail({
      code: "safetensors-index",
      message: `tensor \`${name}\`: expected the name of a file beside the index, found ${JSON.stringify(shard)}`,
      at: { file },
    });
  }
  return shard;
}

const failMissing = (file: string, name: string, shard: string, beside: readonly string[]): never =>
  fail({
    code: "safetensors-shard-missing",
    message: `shard \`${shard}\`, which should hold tensor \`${name}\`, is missing`,
    at: { file },
    help: didYouMean(shard, beside) ?? "copy or download the checkpoint again",
  });

/** Every tensor of the index must be in the shard it names, of those shards whose header could be read. */
export function checkIndex(
  { file, weights }: ShardIndex,
  headers: ReadonlyMap<string, Header>,
  onDamage: OnDamage,
): void {
  const held = new Map(
    Array.from(headers, ([shard, { entries }]) => [shard, new Set(entries.map(({ name }) => name))]),
  );
  for (const [name, shard] of weights) {
    if (!held.has(shard) || held.get(shard)?.has(name)) continue;
    const [elsewhere] = [...held].find(([, names]) => names.has(name)) ?? [];
    const found = elsewhere === undefined ? "" : ` but in \`${elsewhere}\``;
    attempt(onDamage, () =>
      fail({
        code: "safetensors-not-in-shard",
        message: `tensor \`${name}\` is not in its shard \`${shard}\`${found}`,
        at: { file },
      }),
    );
  }
}
