// biome-ignore-all lint/suspicious/noTemplateCurlyInString: expressions are part of the subject.
// What is said about configurations that cannot be read, whole.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Q3Error } from "../../compiler/diag.ts";
import { fixture, tellsErrors, tiny } from "./fixture.ts";

tellsErrors([
  {
    claim: "an unknown key",
    args: [...tiny, "stepz=5"],
    says: [
      "command line:1:1: unknown-key: there is no key `stepz`",
      "  stepz=5",
      "  ^^^^^",
      "help: did you mean `steps`?",
    ],
  },
  {
    claim: "an unknown key in a YAML",
    files: { "a.yml": "base_config: base.yml\nmodel_name: qwen3-next-tiny\nlearning_rte: 1\n" },
    args: ["a.yml"],
    says: [
      "a.yml:3:1: unknown-key: there is no key `learning_rte`",
      "  learning_rte: 1",
      "  ^^^^^^^^^^^^",
      "help: did you mean `learning_rate`?",
    ],
  },
  {
    claim: "a computed value",
    args: [...tiny, "emb_dim=5"],
    says: [
      "command line:1:1: unknown-key: `emb_dim` is computed and cannot be set: base_emb_dim, grown by its share of global_parameter_scale",
      "  emb_dim=5",
      "  ^^^^^^^",
    ],
  },
  {
    claim: "no equals sign",
    args: ["base", "steps"],
    says: [
      "command line:1:1: not-an-override: expected key=value, found `steps`",
      "  steps",
      "  ^^^^^",
      "help: say steps=VALUE",
    ],
  },
  {
    claim: "an option that is not a key",
    args: ["base", "--steps=3"],
    says: [
      "command line:1:1: unknown-option: there is no option `--steps=3` here",
      "  --steps=3",
      "  ^^^^^^^^^",
    ],
  },
  {
    claim: "several wrong types at once, with the spelling that was meant",
    args: [
      ...tiny,
      "steps=many",
      "dtype=bfloat",
      "packing=maybe",
      "base_emb_dim=0",
      "head_dim=1.5",
      "adamw_mask=norm",
    ],
    says: [
      'command line:1:7: wrong-type: `dtype` takes one of bfloat16, float32, float16, found the text "bfloat"',
      "  dtype=bfloat",
      "        ^^^^^^",
      "help: did you mean `bfloat16`?",
      "command line:1:14: wrong-type: `base_emb_dim` takes an integer of at least 1, found the number 0",
      "  base_emb_dim=0",
      "               ^",
      "command line:1:10: wrong-type: `head_dim` takes an integer of at least 1, found the number 1.5",
      "  head_dim=1.5",
      "           ^^^",
      'command line:1:9: wrong-type: `packing` takes true or false, found the text "maybe"',
      "  packing=maybe",
      "          ^^^^^",
      'command line:1:7: wrong-type: `steps` takes an integer, found the text "many"',
      "  steps=many",
      "        ^^^^",
      'command line:1:12: wrong-type: `adamw_mask` takes a list of texts, found the text "norm"',
      "  adamw_mask=norm",
      "             ^^^^",
    ],
  },
  {
    claim: "a wrong type in a YAML",
    files: {
      "a.yml": "base_config: base.yml\nmodel_name: qwen3-next-tiny\nsteps: [1, 2]\nmlp_only_layers: [0, x]\n",
    },
    args: ["a.yml"],
    says: [
      'a.yml:4:18: wrong-type: `mlp_only_layers` takes a list of integers of at least 0, found the list [0, "x"]',
      "  mlp_only_layers: [0, x]",
      "                   ^^^^^^",
      "a.yml:3:8: wrong-type: `steps` takes an integer, found the list [1, 2]",
      "  steps: [1, 2]",
      "         ^^^^^^",
    ],
  },
  {
    claim: "an expression of a wrong type",
    files: {
      "a.yml":
        "base_config: base.yml\nmodel_name: qwen3-next-tiny\nsteps: ${log_period / 3}\nrun_name: ${steps\n",
    },
    args: ["a.yml"],
    says: [
      "a.yml:4:11: expression-syntax: this expression is not closed by a `}`",
      "  run_name: ${steps",
      "            ^^",
    ],
  },
  {
    claim: "an expression that does not parse",
    files: {
      "a.yml":
        'base_config: base.yml\nmodel_name: qwen3-next-tiny\nsteps: ${log_period * }\nlog_period: "${1 +* 2}"\n',
    },
    args: ["a.yml"],
    says: [
      "a.yml:3:22: expression-syntax: expected a value, found the end",
      "  steps: ${log_period * }",
      "                       ^",
      "a.yml:4:19: expression-syntax: expected a value, found `*`",
      '  log_period: "${1 +* 2}"',
      "                    ^",
    ],
  },
  {
    claim: "an expression over a key that does not exist",
    args: [...tiny, "steps=${2 * log_perod}"],
    says: [
      "command line:1:13: unknown-key: there is no key `log_perod`",
      "  steps=${2 * log_perod}",
      "              ^^^^^^^^^",
      "help: did you mean `log_period`?",
    ],
  },
  {
    claim: "an expression that needs a text to be a number",
    args: [...tiny, "steps=${2 * dtype}"],
    says: [
      'command line:1:13: expression-type: `*` takes numbers, found the text "bfloat16"',
      "  steps=${2 * dtype}",
      "              ^^^^^",
    ],
  },
  {
    claim: "expressions in a circle",
    files: {
      "a.yml":
        "base_config: base.yml\ndecoder_block: qwen3_next\nbase_emb_dim: ${2 * base_mlp_dim}\nbase_mlp_dim: ${base_moe_mlp_dim + 1}\nbase_moe_mlp_dim: ${emb_dim}\n",
    },
    args: ["a.yml"],
    says: [
      "a.yml:5:21: expression-cycle: these keys need each other: `base_emb_dim` → `base_mlp_dim` → `base_moe_mlp_dim` → `emb_dim` → `base_emb_dim`",
      "  base_moe_mlp_dim: ${emb_dim}",
      "                      ^^^^^^^",
      "a.yml:3:21: note: `base_emb_dim` needs `base_mlp_dim` here",
      "  base_emb_dim: ${2 * base_mlp_dim}",
      "                      ^^^^^^^^^^^^",
      "a.yml:4:17: note: `base_mlp_dim` needs `base_moe_mlp_dim` here",
      "  base_mlp_dim: ${base_moe_mlp_dim + 1}",
      "                  ^^^^^^^^^^^^^^^^",
    ],
  },
  {
    claim: "an expression in a flow list without quotes",
    files: { "a.yml": "base_config: base.yml\nmlp_only_layers: [0, ${num_experts}]\n" },
    args: ["a.yml"],
    says: [
      "a.yml:2:23: yaml-syntax: missing , or : between flow sequence items",
      "  mlp_only_layers: [0, ${num_experts}]",
      "                        ^",
      'help: within [ ] or { } an expression needs quotes: "${…}"',
    ],
  },
  {
    claim: "a list inside text",
    args: [...tiny, "run_name=run-${mlp_activations}"],
    says: [
      'command line:1:16: expression-type: only a text, number or boolean can stand within text, found the list ["silu", "linear"]',
      "  run_name=run-${mlp_activations}",
      "                 ^^^^^^^^^^^^^^^",
    ],
  },
]);

test.each([
  "steps=x",
  "steps=${1 +}",
  "model_name=${1 / 0}",
  "steps=${1 / 0}",
  "steps=${mix(1)}",
  "custom_mesh_and_rule=${a}",
])("%s ends with status 2, as configuration errors do in MaxText", (override) => {
  try {
    fixture().load(["base", override]);
  } catch (error) {
    expect((error as Q3Error).exitCode).toBe(2);
    expect(error).toBeInstanceOf(Q3Error);
  }
  expect.assertions(2);
});

// Pieces that YAML, expressions and overrides are made of, in any order.
const piece = fc.constantFrom(
  ...[
    "steps",
    "layer_types",
    "lora",
    "base_config",
    "model_name",
    "run_name",
    "a.yml",
    "tiny",
    "null",
    "true",
    "~",
  ],
  ...[
    ":",
    ": ",
    "=",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "${",
    "}",
    "$${",
    "'",
    '"',
    "\\",
    "|",
    ">",
    "*x",
    "&x",
    "#",
    "\t",
    "!!set",
    "?",
  ],
  ...[
    "\n",
    "\n  ",
    " ",
    ",",
    "1",
    "1e999",
    "-",
    "0x",
    "**",
    "//",
    "if",
    "else",
    "not",
    "in",
    "é",
    "\u0000",
    "<<",
    "%",
  ],
);
const scrap = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));

test("whatever is written, the error is one of ours", () => {
  const f = fixture();
  fc.assert(
    fc.property(scrap, scrap, scrap, (yaml, override, word) => {
      writeFileSync(join(f.cwd, "a.yml"), yaml);
      try {
        f.load(["a.yml", override, "model_name=qwen3-next-tiny", `log_period=${word}`], { M_RUN_NAME: word });
      } catch (error) {
        if (!(error instanceof Q3Error)) throw error;
      }
    }),
    { numRuns: 150 },
  );
});
