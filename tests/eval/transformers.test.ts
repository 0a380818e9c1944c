// Running transformers in Python, with a stand-in for Python: what it says is taken, and how it fails is told.
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { Q3Error } from "../../compiler/diag.ts";
import { goldenFromTransformers, transformersLogits } from "../../runtime/eval/transformers-logits.ts";
import { scratch } from "../support/scratch.ts";

const directory = scratch();
const request = {
  model: "m",
  tokenizer: "t",
  prompts: ["a", "b"],
  dtype: "float32",
  trust_remote_code: false,
  apply_chat_template: false,
};

/** A program that Python's place is taken by: `say` writes a record, `asked` is the request. */
function python(body: string) {
  const command = join(directory, `python-${fs.readdirSync(directory).length}`);
  const program = `
    const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    const say = (record, ...logits) => {
      process.stdout.write(JSON.stringify(record) + "\\n");
      process.stdout.write(Buffer.from(Float32Array.from(logits).buffer));
    };
    ${body}`;
  fs.writeFileSync(`${command}.cjs`, program);
  fs.writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${command}.cjs" "$@"\n`, { mode: 0o755 });
  const lines: string[] = [];
  const err = (line: string): void => void lines.push(line);
  return { command, script: "script.py", env: process.env, cwd: directory, err, lines };
}

const record = "{ prompt: asked.prompts[0], tokens: [4, 5], attention_mask: [1, 1], shape: [2, 3] }";

async function problem(body: string): Promise<string> {
  const stand = python(body);
  try {
    for await (const _ of transformersLogits(request, stand));
  } catch (error) {
    if (error instanceof Q3Error) return error.message.replaceAll(stand.command, "python");
    throw error;
  }
  throw new Error("expected an error, and there was none");
}

test("each prompt's logits come as they are computed, in pieces of any size", async () => {
  const stand = python(`
    console.error("loading\\r 50%\\r100%");
    say(${record}, 1, 2, 3, 4, 5, 0.5);
    say({ prompt: process.argv[2], formatted_prompt: "<b>", tokens: Array(20000).fill(1),
      attention_mask: Array(20000).fill(1), shape: [20000, 4] }, ...Array(80000).fill(0.25));`);
  const all = [];
  for await (const each of transformersLogits(request, stand)) all.push(each);
  expect(all).toMatchObject([
    {
      prompt: "a",
      tokens: [4, 5],
      attentionMask: [1, 1],
      logits: Float32Array.of(1, 2, 3, 4, 5, 0.5),
      vocab: 3,
    },
    { prompt: "script.py", formattedPrompt: "<b>", logits: new Float32Array(80000).fill(0.25), vocab: 4 },
  ]);
  expect(stand.lines).toEqual(["100%"]);
});

test("golden records of it are counted and placed", async () => {
  const stand = python(`for (const _ of asked.prompts) say(${record}, 1, 2, 3, 4, 5, 6);`);
  const places = [];
  for await (const { kind, index, place } of goldenFromTransformers(request, stand))
    places.push([kind, index, place]);
  expect(places).toEqual([
    ["logits", 0, { file: "m", part: "record 0" }],
    ["logits", 1, { file: "m", part: "record 1" }],
  ]);
});

test.each<[claim: string, body: string, message: string]>([
  [
    "a missing package",
    'say({ missing: "torch", python: "/bin/python", version: "3.9.1" });',
    "python-package: `python` (Python 3.9.1, /bin/python) has no package `torch`\nhelp: name another with --python or Q3C_PYTHON; it needs the packages torch and transformers",
  ],
  [
    "an exception, by its last line",
    'console.error("Traceback\\nOSError: no such model\\n"); process.exit(1);',
    "python-failed: `python` ended with exit code 1 after 0 of 2 prompts: OSError: no such model",
  ],
  [
    "a kill",
    `say(${record}, 1, 2, 3, 4, 5, 6); setTimeout(() => process.kill(process.pid, "SIGKILL"), 100);`,
    "python-failed: `python` was ended by SIGKILL after 1 of 2 prompts",
  ],
  [
    "too few prompts",
    `say(${record}, 1, 2, 3, 4, 5, 6);`,
    "python-failed: `python` ended with exit code 0 after 1 of 2 prompts",
  ],
  ["an end within logits", `say(${record}, 1, 2);`, "python-failed: `python` ended within a prompt's logits"],
  [
    "something else than records",
    'console.log("Hello");',
    "python-failed: `python` printed `Hello`, which is not a record of logits",
  ],
  [
    "a shape that is not the tokens'",
    'say({ prompt: "a", tokens: [1], attention_mask: [1], shape: [2, 3] }, 1, 2, 3, 4, 5, 6);',
    "python-failed: `python` gave 2 rows of logits for 1 tokens",
  ],
])("%s is told", async (_claim, body, message) => {
  expect(await problem(body)).toBe(message);
});

test("a Python that is not there is told", async () => {
  const run = transformersLogits(request, { ...python(""), command: join(directory, "none") });
  await expect(run.next()).rejects.toThrow(
    /^python-missing: cannot start `.*none`: there is no such program\nhelp: /,
  );
});
