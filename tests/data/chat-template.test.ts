// Conversations as text: where the template comes from, and what is said when it does not work.
import { copyFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "@jest/globals";
import { byteTokenizer } from "../../runtime/tokenizer/byte.ts";
import { openChatTemplate } from "../../runtime/tokenizer/chat-template.ts";
import { openTokenizer } from "../../runtime/tokenizer/tokenizer.ts";
import { failure } from "../checkpoint/support.ts";
import { scratch } from "../support/scratch.ts";

const here = join(dirname(fileURLToPath(import.meta.url)), "tiny-tokenizer");
const messages = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hi <b>&</b>" },
];
const none = { text: "", path: "", cwd: here };

/** ChatML as Qwen's tokenizers have it, without tools. */
const chatml =
  "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + eos_token + '\\n' }}{%- endfor %}\n{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}";
const rendered =
  "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b>&</b><|im_end|>\n<|im_start|>assistant\n";

/** A tokenizer whose files are these. */
function tokenizerWith(files: Readonly<Record<string, string>>) {
  const directory = scratch();
  copyFileSync(join(here, "tokenizer.json"), join(directory, "tokenizer.json"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return openTokenizer({ type: "huggingface", path: directory, cwd: here });
}
const config = (fields: object) => JSON.stringify({ eos_token: "<|im_end|>", ...fields });

test.each<[string, Readonly<Record<string, string>>]>([
  ["the tokenizer's configuration", { "tokenizer_config.json": config({ chat_template: chatml }) }],
  [
    "one of several, by name",
    {
      "tokenizer_config.json": config({
        chat_template: [
          { name: "tool_use", template: "no" },
          { name: "default", template: chatml },
        ],
      }),
    },
  ],
  [
    "a file beside it, which comes first",
    { "tokenizer_config.json": config({ chat_template: "no" }), "chat_template.jinja": chatml },
  ],
])("the template is from %s", (_name, files) => {
  expect(openChatTemplate(tokenizerWith(files), none).render(messages)).toBe(rendered);
});

test("another template takes its place: a text, a file, or a file in JSON", () => {
  const tokenizer = tokenizerWith({ "tokenizer_config.json": config({ chat_template: "no" }) });
  const cwd = scratch();
  writeFileSync(join(cwd, "own.jinja"), chatml);
  writeFileSync(join(cwd, "own.json"), JSON.stringify({ chat_template: chatml }));
  for (const other of [
    { text: chatml, path: "" },
    { text: "", path: "own.jinja" },
    { text: "", path: "own.json" },
  ])
    expect(openChatTemplate(tokenizer, { ...other, cwd }).render(messages)).toBe(rendered);
});

const messageOf = (run: () => unknown): string => failure(run).message;

test("what is missing or does not work is said with its place", () => {
  const own = (text: string) => openChatTemplate(byteTokenizer, { ...none, text });
  expect(messageOf(() => openChatTemplate(byteTokenizer, none))).toContain("has no chat template");
  expect(messageOf(() => own("{% if %}"))).toContain("chat_template: ");
  expect(messageOf(() => own("{{ raise_exception('two turns are wanted') }}").render(messages))).toContain(
    "two turns are wanted",
  );
  const cwd = scratch();
  writeFileSync(join(cwd, "own.json"), "{}");
  expect(messageOf(() => openChatTemplate(byteTokenizer, { text: "", path: "own.json", cwd }))).toContain(
    "expected chat_template, a text",
  );
  expect(messageOf(() => openChatTemplate(byteTokenizer, { text: "", path: "gone.jinja", cwd }))).toContain(
    "gone.jinja",
  );
  expect(messageOf(() => tokenizerWith({ "tokenizer_config.json": config({ chat_template: 3 }) }))).toContain(
    "expected chat_template to be a text or a list",
  );
});
