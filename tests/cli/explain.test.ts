import { expect, test } from "@jest/globals";
import { derivedNames } from "../../compiler/config/derived.ts";
import { keyNames } from "../../compiler/config/keys.ts";
import { opNames } from "../../compiler/ops/index.ts";
import { passes } from "../../passes/index.ts";
import { expectGolden, q3c } from "./support.ts";

const passNames = passes.map(({ name }) => name);
const qwen = ["base", "model_name=qwen3-next-80b-a3b"];

async function explained(...line: string[]): Promise<string> {
  const { code, out, err } = await q3c(["explain", ...line]);
  expect([code, err]).toEqual([0, ""]);
  return out;
}

test("words are explained", async () => {
  const words = [
    ["attention"],
    ["base_emb_dim", ...qwen],
    ["emb_dim", ...qwen],
    ["scan"],
    ["add"],
    ["iota"],
    ["matmul_precision"],
    ["reduce_max"],
    ["scan-layers"],
    ["remat"],
    ["moe", "base", "model_name=qwen3-next-tiny", "sparse_matmul=false", "capacity_factor=1.25"],
    ["sparse_matmul", ...qwen, "use_tokamax_gmm=true"],
    ["capacity_factor", "base", "model_name=qwen3-0.6b"],
    ["dropping"],
    ["mtp", ...qwen],
    ["draft", "base", "model_name=qwen3-0.6b"],
    ["num_speculative_tokens", ...qwen, "num_speculative_tokens=3"],
    ["speculative", ...qwen],
  ];
  const texts: string[] = [];
  for (const word of words) texts.push(`$ q3c explain ${word.join(" ")}\n${await explained(...word)}`);
  expectGolden("explain.txt", texts.join("\n\n"));
});

test("every word in the list has an explanation", async () => {
  const { keys, computed, topics, ops, passes } = JSON.parse(await explained("--json"));
  expect([keys, computed, topics, ops, passes]).toEqual([
    keyNames,
    derivedNames,
    ["moe", "dropless", "dropping", "dense", "draft", "mtp", "speculative-decoding", "speculative"],
    opNames,
    passNames,
  ]);
  const listed = await explained();
  for (const word of [...keys, ...computed, ...topics, ...ops, ...passes]) {
    expect(listed).toMatch(new RegExp(`(^|\\s)${word}(\\s|$)`));
    expect(await explained(word)).toMatch(new RegExp(`^${word}: .*\n.+`));
  }
});

test("a value on the command line is known by its place", async () => {
  expect(await explained("steps", "model_name=qwen3-next-tiny", "steps=12")).toMatch(
    /Now 12 \(command line, command line:1:7\)\.$/,
  );
  const { subjects } = JSON.parse(await explained("steps", ...qwen, "steps=12", "--json"));
  expect(subjects).toEqual([
    expect.objectContaining({
      kind: "key",
      name: "steps",
      value: 12,
      from: "command line",
      at: { file: "command line", line: 1, column: 7 },
    }),
  ]);
});

test("a word with two meanings has both in JSON", async () => {
  const { word, subjects } = JSON.parse(await explained("attention", "--json"));
  expect(word).toBe("attention");
  expect(subjects).toMatchObject([
    { kind: "key", name: "attention", default: "autoselected", effect: { kind: "no-effect" } },
    { kind: "op", name: "attention", attrs: { scale: "float" }, composite: true, gradient: "decomposition" },
  ]);
});

test("unknown words and values that cannot be are exit 2", async () => {
  expect(await q3c(["explain", "base_embd_dim"])).toMatchObject({
    code: 2,
    out: "",
    err: "unknown-word: `base_embd_dim` is not a configuration key, computed value, topic, op or pass\nhelp: did you mean `base_emb_dim`?",
  });
  expect((await q3c(["explain", "qqqqqqqqqqqqqqqqqq"])).err).toMatch(/help: `q3c explain` lists all words$/);
  expect(await q3c(["explain", "scan", "steps=5"])).toMatchObject({
    code: 2,
    out: "",
    err: expect.stringMatching(/^no-value: /),
  });
  expect(await q3c(["explain", "steps", "stepz=5"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("did you mean `steps`?"),
  });
});
